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
from mirror.nn.canonical import CanonicalDraws, CanonicalMirror, CanonicalOutput, CanonicalSizes, Rebuilt
from mirror.nn.readout import fit_readout
from mirror.training.distributed import Joint, Ranks
from mirror.types import PairedBatch


class JointRows(NamedTuple):
    """The joint batch: how its rows are gathered, and of each row, all (B,), whether a slide and a profile are there,
    and its patient as a number."""

    joint: Joint
    has_slide_B: Tensor
    has_expression_B: Tensor
    patient_B: Tensor

    @property
    def pair_B(self) -> Tensor:
        """Rows with both modalities."""
        return self.has_slide_B & self.has_expression_B

    def own(self, rows_B: Tensor, wanted_B: Tensor) -> Tensor:
        """Those of the rows that this rank computed which are `wanted_B` of the joint batch."""
        count = self.joint.own
        return rows_B[:count][wanted_B[self.joint.computed][:count]]

    def retention(self, rebuilt: Rebuilt, wanted_B: Tensor) -> Tensor:
        """The mean over what is hidden of all wanted rows of the joint batch."""
        prediction, target, mask = (self.own(part, wanted_B) for part in rebuilt)
        return self.joint.mean(retention_loss(prediction, target, mask), mask.sum())


Objective = Callable[[CanonicalOutput, JointRows], Tensor]
"""One term: a scalar of the rows of the joint batch that have what it needs, from the output for those of one rank."""


def joint_alignment(out: CanonicalOutput, rows: JointRows) -> Tensor:
    """The alignment of every pair of the joint batch with those of other patients."""
    joint, pair_B = rows.joint, rows.pair_B
    every = out._replace(slide_BK=joint.rows(out.slide_BK), expression_BK=joint.rows(out.expression_BK))
    return patient_alignment_loss(every.logits_BB[pair_B][:, pair_B], rows.patient_B[pair_B])


def joint_cluster(out: CanonicalOutput, rows: JointRows) -> Tensor:
    """Agreement with assignments that are balanced over the joint batch."""
    return balanced_agreement(
        rows.joint.rows(out.slide_scores_BP),
        rows.joint.rows(out.expression_scores_BP),
        has_slide_B=rows.has_slide_B,
        has_expression_B=rows.has_expression_B,
    )


OBJECTIVES: Mapping[str, Objective] = {
    "alignment": joint_alignment,
    "slide_retention": lambda out, rows: rows.retention(out.slide_retention, rows.has_slide_B),
    "expression_retention": lambda out, rows: rows.retention(out.expression_retention, rows.has_expression_B),
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

        A row without one modality (NaN there) takes part in the retention and the style of the other.
        """
        device = generator.device
        tiles_BTD = batch.tiles_BTD.to(device, non_blocking=True)
        expression_BG = batch.expression_BG.to(device, non_blocking=True)
        joint = self._ranks.joint(len(batch.patients))
        number = {patient: place for place, patient in enumerate(dict.fromkeys(batch.patients))}
        patient_B = torch.tensor([number[patient] for patient in batch.patients], device=device)
        has_slide_B = joint.rows(~tiles_BTD.isnan().any(dim=(1, 2)))
        has_expression_B = joint.rows(~expression_BG.isnan().any(dim=1))
        rows = JointRows(joint, has_slide_B, has_expression_B, patient_B)
        self.model.before_forward()
        draws = self.model.draw(len(batch.patients), tiles_BTD.shape[1], generator=generator, device=device)
        own = CanonicalDraws(*(drawn[joint.computed] for drawn in draws))
        output = self._encode(tiles_BTD.nan_to_num(nan=0.0), expression_BG.nan_to_num(nan=0.0), own)
        terms = {name: objective(output, rows) for name, objective in OBJECTIVES.items()}
        return {**terms, "total": torch.stack([self._weights[name] * term for name, term in terms.items()]).sum()}

    def after_update(self) -> None:
        """Nothing has to be kept in range."""


@torch.no_grad()
def fit_readouts(model: CanonicalMirror, slide_NU: Tensor, expression_NE: Tensor) -> None:
    """Fit the rotations before the probes on the trained embeddings of training patients, NaN where one is missing."""
    slide_NK, expression_NV = model.for_probes(slide_NU, expression_NE)
    fit_readout(model.slide_readout, model.slide_alone(slide_NK))
    fit_readout(model.expression_readout, model.expression_alone(expression_NV))
    fit_readout(model.fused_readout, model.fused(slide_NK, expression_NV))


def canonical_sizes(config: CanonicalModelConfig, *, tile_dim: int, genes: int) -> CanonicalSizes:
    """The sizes of a model from its configuration and from what the data decides."""
    return CanonicalSizes(tile_dim=tile_dim, genes=genes, **config.model_dump(exclude={"kind"}))
