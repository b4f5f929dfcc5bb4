"""Pretraining of the canonical model: its objective, term by term, and the readout that is fitted when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mirror.config import CanonicalModelConfig, ObjectiveWeights
from mirror.losses.alignment import patient_alignment_loss
from mirror.losses.retention import HiddenErrors, hidden_errors
from mirror.losses.style import balanced_agreement
from mirror.nn.canonical import CanonicalDraws, CanonicalMirror, CanonicalOutput, CanonicalSizes
from mirror.nn.readout import fit_readout
from mirror.tasks.pretraining import weighted
from mirror.training.distributed import Ranks
from mirror.training.rows import RowModel
from mirror.types import PairedBatch


class PatientRows(NamedTuple):
    """What the terms need of each row: its directions (B, K), its scores against the prototypes (B, P), its errors
    where something was hidden, and whether a slide and a profile are there (B,)."""

    slide_BK: Tensor
    expression_BK: Tensor
    slide_scores_BP: Tensor
    expression_scores_BP: Tensor
    slide_retention: HiddenErrors
    expression_retention: HiddenErrors
    has_slide_B: Tensor
    has_expression_B: Tensor


class JointRows(NamedTuple):
    """The rows of the whole batch, the patient of each as a number (B,), and the switches that terms read."""

    rows: PatientRows
    patient_B: Tensor
    sizes: CanonicalSizes


Objective = Callable[[JointRows], Tensor]
"""One term: a scalar of those rows of the whole batch that have what it needs."""


def alignment(joint: JointRows) -> Tensor:
    """The alignment of every pair with those of other patients, or with every other one (`same_patient`)."""
    rows = joint.rows
    pair_B = rows.has_slide_B & rows.has_expression_B
    logits_BB = rows.slide_BK[pair_B] @ rows.expression_BK[pair_B].mT / joint.sizes.temperature
    patient_B = joint.patient_B[pair_B]
    if joint.sizes.same_patient == "negatives":
        patient_B = torch.arange(len(patient_B), device=patient_B.device)
    return patient_alignment_loss(logits_BB, patient_B)


def cluster(joint: JointRows) -> Tensor:
    """Agreement with assignments that are balanced over the batch."""
    rows = joint.rows
    return balanced_agreement(
        rows.slide_scores_BP,
        rows.expression_scores_BP,
        has_slide_B=rows.has_slide_B,
        has_expression_B=rows.has_expression_B,
    )


OBJECTIVES: Mapping[str, Objective] = {
    "alignment": alignment,
    "slide_retention": lambda joint: joint.rows.slide_retention.where(joint.rows.has_slide_B).mean,
    "expression_retention": lambda joint: joint.rows.expression_retention.where(joint.rows.has_expression_B).mean,
    "cluster": cluster,
}
"""`ObjectiveWeights` has a weight of the same name for each; its `style` has no term here: there is no prior."""


class CanonicalPretraining:
    """The task that the loop trains, shared among `ranks`.

    `rows_at_once`: rows that are encoded together, see `training/rows.py`.
    """

    def __init__(
        self,
        model: CanonicalMirror,
        weights: ObjectiveWeights,
        *,
        ranks: Ranks | None = None,
        rows_at_once: int | None = None,
    ) -> None:
        self.model = model
        self._weights: dict[str, float] = weights.model_dump()
        self._ranks = ranks or Ranks()
        self._rows = self._ranks.wrap(RowModel(model, encoded_rows, at_once=rows_at_once))

    def terms(self, batch: PairedBatch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """The unweighted terms of one batch and their weighted `total`, scalars on the model's device.

        A row without one modality (NaN there) takes part in the retention and the style of the other.
        """
        device = generator.device
        joint = self._ranks.joint(len(batch.patients))
        number = {patient: place for place, patient in enumerate(dict.fromkeys(batch.patients))}
        patient_B = torch.tensor([number[patient] for patient in batch.patients], device=device)
        self.model.before_forward()
        tiles = batch.tiles_BTD.shape[1]
        draws = self.model.draw(len(batch.patients), tiles, generator=generator, device=device)
        own = (drawn[joint.computed] for drawn in draws)
        rows: PatientRows = joint.every(self._rows(batch.tiles_BTD, batch.expression_BG, *own))
        return weighted(OBJECTIVES, self._weights, JointRows(rows, patient_B, self.model.sizes))

    def after_update(self) -> None:
        """Nothing has to be kept in range."""


def encoded_rows(model: nn.Module, tiles_BTD: Tensor, expression_BG: Tensor, *draws: Tensor) -> PatientRows:
    """A forward of the model on the device of its draws, and what the terms need of it."""
    device = draws[0].device
    tiles_BTD, expression_BG = (part.to(device, non_blocking=True) for part in (tiles_BTD, expression_BG))
    has_slide_B, has_expression_B = ~tiles_BTD.isnan().any(dim=(1, 2)), ~expression_BG.isnan().any(dim=1)
    output: CanonicalOutput = model(
        tiles_BTD.nan_to_num(nan=0.0), expression_BG.nan_to_num(nan=0.0), CanonicalDraws(*draws)
    )
    return PatientRows(
        output.slide_BK,
        output.expression_BK,
        output.slide_scores_BP,
        output.expression_scores_BP,
        hidden_errors(*output.slide_retention),
        hidden_errors(*output.expression_retention),
        has_slide_B,
        has_expression_B,
    )


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
