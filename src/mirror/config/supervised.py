"""`supervised`: models trained on the labels themselves, as opponents."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from mirror.config.section import Fraction, Positive, Section, Weight

SupervisedName = Literal[
    "mean_pool",
    "abmil",
    "transmil",
    "mlp",
    "elastic_net",
    "finetuned_slide",
    "finetuned_expression",
    "finetuned_fused",
]


class SupervisedConfig(Section):
    """Supervised models on the same features and folds, trained on the labels and the survival of training patients.

    Slides: the mean tile (`mean_pool`), gated attention (`abmil`), `transmil`. Expression: `mlp`, `elastic_net`.
    `finetuned_...`: the pretrained encoders, trained on. Minutes a fold on a CPU.
    """

    models: Annotated[tuple[SupervisedName, ...], Field(min_length=1)] = get_args(SupervisedName)
    width: Annotated[int, Field(gt=0, multiple_of=4)] = 64
    """Of the networks that start from random weights."""
    dropout: Fraction = 0.25
    tiles: Positive = 64
    """Tiles drawn a patient, afresh each epoch; all of them are read when patients are judged."""
    batch: Annotated[int, Field(ge=2)] = 32
    epochs: Positive = 50
    patience: Positive = 8
    """Epochs without a lower loss of the watched patients after which training ends."""
    parts: Annotated[int, Field(ge=2)] = 5
    """One part in so many of the training patients is watched and not trained on: it says when to stop."""
    learning_rate: Annotated[float, Field(gt=0)] = 1.0e-3
    fine_tuning_rate: Annotated[float, Field(gt=0)] = 1.0e-4
    """Learning rate of pretrained weights; their linear layer learns at `learning_rate`."""
    weight_decay: Weight = 1.0e-2
    l1_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the L1 penalty in the elastic net."""
    strengths: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (0.003, 0.01, 0.03, 0.1)
    """Inverse penalties (scikit-learn's C) of the elastic net among which inner folds choose, from strong to weak."""
