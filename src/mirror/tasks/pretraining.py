"""Pretraining: the networks and the losses wired into one objective (METHOD section 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mirror.config import ObjectiveWeights, PublishedModelConfig
from mirror.losses.alignment import alignment_loss
from mirror.losses.retention import retention_loss
from mirror.losses.style import cluster_divergence, prior_divergence
from mirror.nn.draws import Draws
from mirror.nn.mirror import Mirror, MirrorOutput, MirrorSizes
from mirror.nn.retention import RetentionOutput
from mirror.training.distributed import Joint, Ranks
from mirror.types import PairedBatch

Objective = Callable[[MirrorOutput, Joint], Tensor]
"""One term of the total: a scalar of the joint batch, from what the model put out for the rows of one rank."""


def joint_alignment(out: MirrorOutput, joint: Joint) -> Tensor:
    """The alignment of every pair of the joint batch with every other."""
    own = out.alignment
    every = own._replace(slide_BE=joint.rows(own.slide_BE), expression_BE=joint.rows(own.expression_BE))
    return alignment_loss(every.logits_BB)


OBJECTIVES: Mapping[str, Objective] = {
    "alignment": joint_alignment,
    "slide_retention": lambda out, joint: joint_retention(out.slide_retention, joint),
    "expression_retention": lambda out, joint: joint_retention(out.expression_retention, joint),
    "style": lambda out, joint: joint.mean(
        prior_divergence(out.slide_style.mean_BZ, out.slide_style.log_variance_BZ)
        + prior_divergence(out.expression_style.mean_BZ, out.expression_style.log_variance_BZ),
        joint.own,
    ),
    "cluster": lambda out, joint: joint.mean(
        cluster_divergence(out.slide_style.scores_BK, out.expression_style.scores_BK), joint.own
    ),
}
"""The published objective, term by term; `ObjectiveWeights` has a weight of the same name for each."""


class Pretraining:
    """The task that the loop trains: `model` with the weighted sum of `OBJECTIVES`, shared among `ranks`."""

    def __init__(self, model: Mirror, weights: ObjectiveWeights, *, ranks: Ranks | None = None) -> None:
        self.model = model
        self._weights: dict[str, float] = weights.model_dump()
        self._ranks = ranks or Ranks()
        self._encode = self._ranks.wrap(model)

    def terms(self, batch: PairedBatch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """The unweighted terms of one batch and their weighted `total`, scalars on the model's device."""
        device = generator.device
        tiles_BTD = batch.tiles_BTD.to(device, non_blocking=True)
        expression_BG = batch.expression_BG.to(device, non_blocking=True)
        joint = self._ranks.joint(len(batch.patients))
        self.model.before_forward()
        draws = self.model.draw(len(batch.patients), tiles_BTD.shape[1], generator=generator, device=device)
        own = Draws(*(drawn[joint.computed] for drawn in draws))
        return total_loss(self._encode(tiles_BTD, expression_BG, own), joint, self._weights)

    def after_update(self) -> None:
        """Keep the scale of the logits in its range."""
        self.model.after_update()


def total_loss(output: MirrorOutput, joint: Joint, weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Every term of `OBJECTIVES`, unweighted, and `total`, their sum weighted by `weights`."""
    terms = {name: objective(output, joint) for name, objective in OBJECTIVES.items()}
    return {**terms, "total": torch.stack([weights[name] * term for name, term in terms.items()]).sum()}


def joint_retention(rebuilt: RetentionOutput, joint: Joint) -> Tensor:
    """The mean over all hidden positions of the joint batch."""
    return joint.mean(retention_loss(*rebuilt), rebuilt.mask[: joint.own].sum())


def mirror_sizes(config: PublishedModelConfig, *, tile_dim: int, genes: int, tiles: int) -> MirrorSizes:
    """The sizes of a model from its configuration and from what the data decides."""
    return MirrorSizes(tile_dim=tile_dim, genes=genes, tiles=tiles, **config.model_dump())
