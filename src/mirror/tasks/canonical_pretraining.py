"""Pretraining of the canonical model: its objective, term by term, and the readout that is fitted when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mirror.config import CanonicalModelConfig, ObjectiveWeights
from mirror.losses.alignment import patient_alignment_loss
from mirror.losses.retention import retention_loss
from mirror.losses.style import balanced_agreement
from mirror.nn.canonical import CanonicalDraws, CanonicalMirror, CanonicalOutput, CanonicalSizes
from mirror.nn.readout import fit_readout
from mirror.training.distributed import Joint, Ranks
from mirror.types import PairedBatch


class JointRows(NamedTuple):
    """The joint batch: how its rows are gathered, which are pairs (B,), and the patient of each as a number (B,)."""

    joint: Joint
    pair_B: Tensor
    patient_B: Tensor

    def own_pairs(self, rows_B: Tensor) -> Tensor:
        """The pairs among the rows that this rank computed."""
        own = self.joint.own
        return rows_B[:own][self.pair_B[self.joint.computed][:own]]


Objective = Callable[[CanonicalOutput, JointRows], Tensor]
"""One term: a scalar of the joint batch, from the output for the rows of one rank."""


def joint_alignment(out: CanonicalOutput, rows: JointRows) -> Tensor:
    """The alignment of every pair of the joint batch with those of other patients."""
    joint, pair_B, patient_B = rows
    every = out._replace(slide_BK=joint.rows(out.slide_BK), expression_BK=joint.rows(out.expression_BK))
    return patient_alignment_loss(every.logits_BB[pair_B][:, pair_B], patient_B[pair_B])


def joint_slide_retention(out: CanonicalOutput, rows: JointRows) -> Tensor:
    """The mean over the hidden tiles of all slides of the joint batch."""
    rebuilt = out.slide_retention
    return rows.joint.mean(retention_loss(*rebuilt), rebuilt.mask[: rows.joint.own].sum())


def joint_expression_retention(out: CanonicalOutput, rows: JointRows) -> Tensor:
    """The mean over the hidden genes of all pairs of the joint batch."""
    prediction, target, mask = map(rows.own_pairs, out.expression_retention)
    return rows.joint.mean(retention_loss(prediction, target, mask), mask.sum())


def joint_cluster(out: CanonicalOutput, rows: JointRows) -> Tensor:
    """Agreement with assignments that are balanced over the joint batch."""
    slide_BP, expression_BP = rows.joint.rows(out.slide_scores_BP), rows.joint.rows(out.expression_scores_BP)
    return balanced_agreement(slide_BP, expression_BP, rows.pair_B)


OBJECTIVES: Mapping[str, Objective] = {
    "alignment": joint_alignment,
    "slide_retention": joint_slide_retention,
    "expression_retention": joint_expression_retention,
    "cluster": joint_cluster,
}
"""`ObjectiveWeights` has a weight of the same name for each; its `style` has no term here: there is no prior."""


class CanonicalPretraining:
    """The task that the loop trains, shared among `ranks`."""

    def __init__(self, model: CanonicalMirror, weights: ObjectiveWeights, *, ranks: Ranks | None = None) -> None:
        self.model = model
        self._weights: dict[str, float] = weights.model_dump()
        self._ranks = ranks or Ranks()
        self._encode = self._ranks.wrap(model)

    def terms(self, batch: PairedBatch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """The unweighted terms of one batch and their weighted `total`, scalars on the model's device.

        A slide whose patient has no expression (a row of NaN) takes part in slide retention and in the style of slides.
        """
        device = generator.device
        tiles_BTD = batch.tiles_BTD.to(device, non_blocking=True)
        expression_BG = batch.expression_BG.to(device, non_blocking=True)
        joint = self._ranks.joint(len(batch.patients))
        pair_B = joint.rows(~expression_BG.isnan().any(dim=1))
        number = {patient: place for place, patient in enumerate(dict.fromkeys(batch.patients))}
        patient_B = torch.tensor([number[patient] for patient in batch.patients], device=device)
        self.model.before_forward()
        draws = self.model.draw(len(batch.patients), tiles_BTD.shape[1], generator=generator, device=device)
        own = CanonicalDraws(*(drawn[joint.computed] for drawn in draws))
        output = self._encode(tiles_BTD, expression_BG.nan_to_num(nan=0.0), own)
        rows = JointRows(joint, pair_B, patient_B)
        terms = {name: objective(output, rows) for name, objective in OBJECTIVES.items()}
        return {**terms, "total": torch.stack([self._weights[name] * term for name, term in terms.items()]).sum()}

    def after_update(self) -> None:
        """Nothing has to be kept in range."""


@torch.no_grad()
def fit_readouts(model: CanonicalMirror, slide_NK: Tensor, expression_NK: Tensor) -> None:
    """Fit the rotations before the probes on the trained components of training patients, NaN where one is missing."""
    rho = model.correlations
    fit_readout(model.slide_readout, rho * slide_NK)
    fit_readout(model.expression_readout, rho * expression_NK)
    fit_readout(model.fused_readout, model.fused(slide_NK, expression_NK))


def canonical_sizes(config: CanonicalModelConfig, *, tile_dim: int, genes: int) -> CanonicalSizes:
    """The sizes of a model from its configuration and from what the data decides."""
    return CanonicalSizes(tile_dim=tile_dim, genes=genes, **config.model_dump(exclude={"kind"}))
