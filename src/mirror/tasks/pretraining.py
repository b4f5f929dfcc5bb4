"""Pretraining: the networks and the losses wired into one objective (METHOD section 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mirror.config import ObjectiveWeights, PublishedModelConfig
from mirror.losses.alignment import alignment_loss
from mirror.losses.retention import retention_loss
from mirror.losses.style import cluster_divergence, prior_divergence
from mirror.nn.mirror import Mirror, MirrorOutput, MirrorSizes
from mirror.types import PairedBatch

Objective = Callable[[MirrorOutput], Tensor]
"""One term of the total: a scalar computed from what the model put out."""

OBJECTIVES: Mapping[str, Objective] = {
    "alignment": lambda out: alignment_loss(out.alignment.logits_BB),
    "slide_retention": lambda out: retention_loss(*out.slide_retention),
    "expression_retention": lambda out: retention_loss(*out.expression_retention),
    "style": lambda out: (
        prior_divergence(out.slide_style.mean_BZ, out.slide_style.log_variance_BZ)
        + prior_divergence(out.expression_style.mean_BZ, out.expression_style.log_variance_BZ)
    ),
    "cluster": lambda out: cluster_divergence(out.slide_style.scores_BK, out.expression_style.scores_BK),
}
"""The published objective, term by term; `ObjectiveWeights` has a weight of the same name for each."""


class Pretraining:
    """The task that the loop trains: `model` with the weighted sum of `OBJECTIVES`."""

    def __init__(self, model: Mirror, weights: ObjectiveWeights) -> None:
        self.model = model
        self._weights: dict[str, float] = weights.model_dump()

    def terms(self, batch: PairedBatch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """The unweighted terms of one batch and their weighted `total`, scalars on the model's device."""
        device = generator.device
        tiles_BTD = batch.tiles_BTD.to(device, non_blocking=True)
        expression_BG = batch.expression_BG.to(device, non_blocking=True)
        self.model.before_forward()
        draws = self.model.draw(tiles_BTD.shape[0], tiles_BTD.shape[1], generator=generator, device=device)
        return total_loss(self.model(tiles_BTD, expression_BG, draws), self._weights)

    def after_update(self) -> None:
        """Keep the scale of the logits in its range."""
        self.model.after_update()


def total_loss(output: MirrorOutput, weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Every term of `OBJECTIVES`, unweighted, and `total`, their sum weighted by `weights`."""
    terms = {name: objective(output) for name, objective in OBJECTIVES.items()}
    return {**terms, "total": torch.stack([weights[name] * term for name, term in terms.items()]).sum()}


def mirror_sizes(config: PublishedModelConfig, *, tile_dim: int, genes: int, tiles: int) -> MirrorSizes:
    """The sizes of a model from its configuration and from what the data decides."""
    return MirrorSizes(tile_dim=tile_dim, genes=genes, tiles=tiles, **config.model_dump())
