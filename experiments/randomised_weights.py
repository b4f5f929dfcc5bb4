"""What is left of relevance when a model's weights are drawn anew, layer by layer from the output down.

The sanity check of Adebayo et al. (2018): a method that does not look at the weights keeps its relevance.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from planted_slides import Slide
from scipy.stats import spearmanr
from torch import nn

from mirror.data.feature_store import FeatureStore
from mirror.evaluation.metrics import Floats
from mirror.explain.pattern import Seen
from mirror.explain.relevance import Method, Model, relevance
from mirror.explain.targets import Embedding, Target
from mirror.nn.canonical import CanonicalMirror
from mirror.seeding import generator_for
from mirror.workflow.explained import ExplainedRun


def layers(model: Model) -> tuple[str, ...]:
    """What makes a slide's number, from the output down, by name."""
    if isinstance(model, CanonicalMirror):
        network = "slide_network"
        inner = (f"{network}.{name}" for name in ("out", "score", "gate", "embed"))
        return ("slide_readout", "correlations", "slide_axes", *inner)
    encoder = "slide_encoder"
    return ("alignment.slide", *(f"{encoder}.{name}" for name in ("norm", "attention2", "grid", "attention1", "embed")))


@torch.no_grad()
def redraw(model: nn.Module, name: str, generator: torch.Generator) -> None:
    """Replace every tensor of a layer by normal numbers of its own mean and deviation."""
    owner: Any = model
    for part in name.split("."):
        owner = getattr(owner, part)
    tensors = [owner] if isinstance(owner, torch.Tensor) else [*owner.parameters(), *owner.buffers()]
    for tensor in tensors:
        spread = tensor.std(correction=0) if tensor.numel() > 1 else tensor.abs().mean()
        spread = torch.where(spread > 0, spread, torch.ones_like(spread))
        tensor.copy_(tensor.mean() + spread * torch.randn(tensor.shape, generator=generator))


class Cascade:
    """The model of a run, its layers drawn anew one after the other; they are the same for every target and method.

    What it says of the training patients `seen` after each layer is kept from one target to the next.
    """

    def __init__(self, run: ExplainedRun, seen: Seen) -> None:
        self._run, self._seen = run, seen
        self._said: dict[int, Seen] = {}

    def left_of(
        self, found: Sequence[Floats], slides: Sequence[Slide], target: Target | None, method: Method
    ) -> Floats:
        """Mean absolute rank correlation with `found`, the relevance of each slide, after each further layer."""
        model, seen = copy.deepcopy(self._run.trained.model), self._seen
        left: list[float] = []
        for number, name in enumerate(layers(model)):
            redraw(model, name, generator_for(0, "cascade", number))
            if method == "pattern":
                if number not in self._said:
                    self._said[number] = self._seen_by(model)
                seen = self._said[number]
            if isinstance(target, Embedding):
                target = Embedding.of(seen.views["X_slide"].double().numpy(), target.fitted_on)
            again = [relevance(model, slide.subject, target, method, seen=seen).values for slide in slides]
            left.append(float(np.mean([rank_correlation(*pair) for pair in zip(found, again, strict=True)])))
        return np.array(left)

    @torch.no_grad()
    def _seen_by(self, model: Model) -> Seen:
        """The training patients as a model says them, the mean over slides of each."""
        run, patients = self._run, self._seen.fitted_on
        store, owners = FeatureStore(run.cohort.paths), run.cohort.owners
        rows: list[torch.Tensor] = []
        for patient in patients:
            own = [store.bag(slide).read() for slide, owner in owners.items() if owner == patient]
            rows.append(torch.cat([model.embed_slide(torch.from_numpy(tiles)[None]) for tiles in own]).mean(dim=0))
        expression = run._replace(trained=replace(run.trained, model=model)).expression_of(patients)
        return replace(self._seen, views=model.views(torch.stack(rows), expression), expression=expression)


def rank_correlation(one: Floats, other: Floats) -> float:
    """The size of Spearman's; 0 where either is constant."""
    return 0.0 if np.ptp(other) == 0 or np.ptp(one) == 0 else abs(float(spearmanr(one, other).statistic))
