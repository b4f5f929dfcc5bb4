"""`pretraining`: how a run is trained, and what its terms weigh."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mirror.config.section import Positive, Section, Weight


class ObjectiveWeights(Section):
    """Weight of each term of the total loss (METHOD section 6)."""

    alignment: Weight
    slide_retention: Weight
    expression_retention: Weight
    style: Weight
    cluster: Weight


class PretrainingConfig(Section):
    """How a run is trained."""

    weights: ObjectiveWeights
    expression_transform: Literal["none", "standardise", "squash"]
    """`none`: values as they are, missing ones 0 (published). `standardise`: by the training patients' moments.
    `squash`: by their median and quartiles, then asinh, which keeps the order and tames the tails."""
    tiles: Positive
    """Tiles drawn a slide, afresh each epoch."""
    batch: Annotated[int, Field(ge=2)]
    epochs: Annotated[int, Field(ge=0)]
    """0 leaves a canonical model as its closed form starts it."""
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Weight
    precision: Literal["auto", "fp32", "bf16"]
    """`auto`: bf16 on GPUs that have it, fp32 elsewhere."""
    workers: Annotated[int, Field(ge=0)]
    recompute: Literal["auto", "on", "off"] = "auto"
    """What the layers over tiles hold for the backward pass: `off` all of it, `on` each layer's input alone, computing
    the rest again (the same numbers, in more time and less memory: docs/scale.md). `auto`: on above 8,192 tiles."""
    compile: bool = False
    """Compile the model (torch.compile): half a minute to minutes before the first step, for at most a quarter of each
    step on a CPU (docs/scale.md). Where it fails, training goes on without and says so."""
    rows_at_once: Positive | None = None
    """Pairs that are encoded together; all of a batch when not given. With fewer, a contrastive batch of any size fits
    in the memory of that many: the same terms and gradients (but for dropout's draws), for about a third more time
    (docs/scale.md)."""
    optimiser: Literal["adam", "adamw"] = "adam"
    """`adamw` keeps weight decay apart from the gradient's moments."""
    one_modality: Literal["leave_out", "train"] = "leave_out"
    """Training patients who have one modality, slides without expression and expression without a slide
    (`cohort.expression.without_slide: keep`): left out, or feeding that modality's standardisation and own terms."""
    pool_weight: Weight = 1.0
    """How much a patient of a pooled cohort counts in the canonical directions, against one of the own cohort."""
    checkpoint_seconds: Weight
    """At most one resumable state is written in this many seconds (and always one at the end)."""
