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
from mirror.nn.canonical import CanonicalMirror, CanonicalOutput, CanonicalSizes
from mirror.nn.readout import fit_readout
from mirror.types import PairedBatch


class Rows(NamedTuple):
    """Of each row of a batch, all (B,): whether a slide and a profile are there, and its patient as a number."""

    has_slide_B: Tensor
    has_expression_B: Tensor
    patient_B: Tensor

    @property
    def pair_B(self) -> Tensor:
        """Rows with both modalities."""
        return self.has_slide_B & self.has_expression_B


Objective = Callable[[CanonicalOutput, Rows], Tensor]
"""One term, of the rows that have what it needs."""

OBJECTIVES: Mapping[str, Objective] = {
    "alignment": lambda out, rows: patient_alignment_loss(
        out.logits_BB[rows.pair_B][:, rows.pair_B], rows.patient_B[rows.pair_B]
    ),
    "slide_retention": lambda out, rows: retention_loss(*(part[rows.has_slide_B] for part in out.slide_retention)),
    "expression_retention": lambda out, rows: retention_loss(
        *(part[rows.has_expression_B] for part in out.expression_retention)
    ),
    "cluster": lambda out, rows: balanced_agreement(
        out.slide_scores_BP,
        out.expression_scores_BP,
        has_slide_B=rows.has_slide_B,
        has_expression_B=rows.has_expression_B,
    ),
}
"""`ObjectiveWeights` has a weight of the same name for each; its `style` has no term here: there is no prior."""


class CanonicalPretraining:
    """The task that the loop trains."""

    def __init__(self, model: CanonicalMirror, weights: ObjectiveWeights) -> None:
        self.model = model
        self._weights: dict[str, float] = weights.model_dump()

    def terms(self, batch: PairedBatch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """The unweighted terms of one batch and their weighted `total`, scalars on the model's device.

        A row without one modality (NaN there) takes part in the retention and the style of the other.
        """
        device = generator.device
        tiles_BTD = batch.tiles_BTD.to(device, non_blocking=True)
        expression_BG = batch.expression_BG.to(device, non_blocking=True)
        number = {patient: place for place, patient in enumerate(dict.fromkeys(batch.patients))}
        patient_B = torch.tensor([number[patient] for patient in batch.patients], device=device)
        rows = Rows(~tiles_BTD.isnan().any(dim=(1, 2)), ~expression_BG.isnan().any(dim=1), patient_B)
        self.model.before_forward()
        draws = self.model.draw(tiles_BTD.shape[0], tiles_BTD.shape[1], generator=generator, device=device)
        output = self.model(tiles_BTD.nan_to_num(nan=0.0), expression_BG.nan_to_num(nan=0.0), draws)
        terms = {name: objective(output, rows) for name, objective in OBJECTIVES.items()}
        return {**terms, "total": torch.stack([self._weights[name] * term for name, term in terms.items()]).sum()}

    def after_update(self) -> None:
        """Nothing has to be kept in range."""


@torch.no_grad()
def fit_readouts(model: CanonicalMirror, slide_NU: Tensor, expression_NE: Tensor) -> None:
    """Fit the rotations before the probes on the trained embeddings of training patients, NaN where one is missing."""
    slide_NK, expression_NV = model.for_probes(slide_NU, expression_NE)
    fit_readout(model.slide_readout, model.correlations * slide_NK)
    fit_readout(model.expression_readout, model.alone(expression_NV))
    fit_readout(model.fused_readout, model.fused(slide_NK, expression_NV))


def canonical_sizes(config: CanonicalModelConfig, *, tile_dim: int, genes: int) -> CanonicalSizes:
    """The sizes of a model from its configuration and from what the data decides."""
    return CanonicalSizes(tile_dim=tile_dim, genes=genes, **config.model_dump(exclude={"kind"}))
