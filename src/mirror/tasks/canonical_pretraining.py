"""Pretraining of the canonical model: its objective, term by term, and the readout that is fitted when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mirror.config import CanonicalModelConfig, ObjectiveWeights
from mirror.losses.alignment import patient_alignment_loss
from mirror.losses.retention import retention_loss
from mirror.losses.style import balanced_agreement
from mirror.nn.canonical import CanonicalMirror, CanonicalOutput, CanonicalSizes
from mirror.nn.readout import fit_readout
from mirror.types import PairedBatch

Objective = Callable[[CanonicalOutput, Tensor, Tensor], Tensor]
"""One term: from the output, which rows are pairs (B,), and the patient of each row as a number (B,)."""

OBJECTIVES: Mapping[str, Objective] = {
    "alignment": lambda out, pair_B, patient_B: patient_alignment_loss(
        out.logits_BB[pair_B][:, pair_B], patient_B[pair_B]
    ),
    "slide_retention": lambda out, *_: retention_loss(*out.slide_retention),
    "expression_retention": lambda out, pair_B, _: retention_loss(*(part[pair_B] for part in out.expression_retention)),
    "cluster": lambda out, pair_B, _: balanced_agreement(out.slide_scores_BP, out.expression_scores_BP, pair_B),
}
"""`ObjectiveWeights` has a weight of the same name for each; its `style` has no term here: there is no prior."""


class CanonicalPretraining:
    """The task that the loop trains."""

    def __init__(self, model: CanonicalMirror, weights: ObjectiveWeights) -> None:
        self.model = model
        self._weights: dict[str, float] = weights.model_dump()

    def terms(self, batch: PairedBatch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """The unweighted terms of one batch and their weighted `total`, scalars on the model's device.

        A slide whose patient has no expression (a row of NaN) takes part in slide retention and in the style of slides.
        """
        device = generator.device
        tiles_BTD = batch.tiles_BTD.to(device, non_blocking=True)
        expression_BG = batch.expression_BG.to(device, non_blocking=True)
        pair_B = ~expression_BG.isnan().any(dim=1)
        number = {patient: place for place, patient in enumerate(dict.fromkeys(batch.patients))}
        patient_B = torch.tensor([number[patient] for patient in batch.patients], device=device)
        self.model.before_forward()
        draws = self.model.draw(tiles_BTD.shape[0], tiles_BTD.shape[1], generator=generator, device=device)
        output = self.model(tiles_BTD, expression_BG.nan_to_num(nan=0.0), draws)
        terms = {name: objective(output, pair_B, patient_B) for name, objective in OBJECTIVES.items()}
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
