"""Pretraining: the networks and the losses wired into one objective (METHOD section 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from mirror.config import ObjectiveWeights, PublishedModelConfig
from mirror.losses.alignment import alignment_loss
from mirror.losses.retention import HiddenErrors, hidden_errors
from mirror.losses.style import cluster_divergence, prior_divergence
from mirror.nn.alignment import AlignmentOutput
from mirror.nn.draws import Draws
from mirror.nn.mirror import Mirror, MirrorOutput, MirrorSizes
from mirror.training.distributed import Ranks
from mirror.training.rows import RowModel
from mirror.types import PairedBatch

R = TypeVar("R")


class PairRows(NamedTuple):
    """What the terms need of each pair: projections, errors where something was hidden, divergences (B,)."""

    alignment: AlignmentOutput
    slide_retention: HiddenErrors
    expression_retention: HiddenErrors
    style_B: Tensor
    cluster_B: Tensor


Objective = Callable[[PairRows], Tensor]
"""One term of the total: a scalar of the rows of the whole batch."""

OBJECTIVES: Mapping[str, Objective] = {
    "alignment": lambda rows: alignment_loss(rows.alignment.logits_BB),
    "slide_retention": lambda rows: rows.slide_retention.mean,
    "expression_retention": lambda rows: rows.expression_retention.mean,
    "style": lambda rows: rows.style_B.mean(),
    "cluster": lambda rows: rows.cluster_B.mean(),
}
"""The published objective, term by term; `ObjectiveWeights` has a weight of the same name for each."""


class Pretraining:
    """The task that the loop trains: `model` with the weighted sum of `OBJECTIVES`, shared among `ranks`.

    `rows_at_once`: pairs that are encoded together, see `training/rows.py`.
    """

    def __init__(
        self, model: Mirror, weights: ObjectiveWeights, *, ranks: Ranks | None = None, rows_at_once: int | None = None
    ) -> None:
        self.model = model
        self._weights: dict[str, float] = weights.model_dump()
        self._ranks = ranks or Ranks()
        self._rows = self._ranks.wrap(RowModel(model, encoded_rows, at_once=rows_at_once))

    def terms(self, batch: PairedBatch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """The unweighted terms of one batch and their weighted `total`, scalars on the model's device."""
        joint = self._ranks.joint(len(batch.patients))
        self.model.before_forward()
        tiles = batch.tiles_BTD.shape[1]
        draws = self.model.draw(len(batch.patients), tiles, generator=generator, device=generator.device)
        own = (drawn[joint.computed] for drawn in draws)
        rows: PairRows = joint.every(self._rows(batch.tiles_BTD, batch.expression_BG, *own))
        return weighted(OBJECTIVES, self._weights, rows)

    def after_update(self) -> None:
        """Keep the scale of the logits in its range."""
        self.model.after_update()


def encoded_rows(model: Mirror, tiles_BTD: Tensor, expression_BG: Tensor, *draws: Tensor) -> PairRows:
    """A forward of the model on the device of its draws, and what the terms need of it."""
    device = draws[0].device
    inputs = (inputs.to(device, non_blocking=True) for inputs in (tiles_BTD, expression_BG))
    return pair_rows(model(*inputs, Draws(*draws)))


def pair_rows(output: MirrorOutput) -> PairRows:
    """What the terms need of a forward."""
    slide, expression = output.slide_style, output.expression_style
    return PairRows(
        output.alignment,
        hidden_errors(*output.slide_retention),
        hidden_errors(*output.expression_retention),
        prior_divergence(slide.mean_BZ, slide.log_variance_BZ)
        + prior_divergence(expression.mean_BZ, expression.log_variance_BZ),
        cluster_divergence(slide.scores_BK, expression.scores_BK),
    )


def weighted(
    objectives: Mapping[str, Callable[[R], Tensor]], weights: Mapping[str, float], rows: R
) -> dict[str, Tensor]:
    """Every term, unweighted, and `total`, their sum weighted by `weights`."""
    terms = {name: objective(rows) for name, objective in objectives.items()}
    return {**terms, "total": torch.stack([weights[name] * term for name, term in terms.items()]).sum()}


def mirror_sizes(config: PublishedModelConfig, *, tile_dim: int, genes: int, tiles: int) -> MirrorSizes:
    """The sizes of a model from its configuration and from what the data decides."""
    return MirrorSizes(tile_dim=tile_dim, genes=genes, tiles=tiles, **config.model_dump())
