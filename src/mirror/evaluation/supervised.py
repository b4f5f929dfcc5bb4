"""What supervised models left, ready to be judged beside everything else: the logits of each patient of a fold."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from mirror.config import EvaluationConfig
from mirror.errors import DataError, raise_together
from mirror.evaluation.fitted import Fitted, Half
from mirror.evaluation.hazards import HazardCurves, Hazards
from mirror.evaluation.metrics import Flags, Floats
from mirror.evaluation.representations import PatientTable
from mirror.evaluation.survival import SurvivalFit
from mirror.types import Fold


class Supervised(NamedTuple):
    """One model trained on the training half of a fold for one task.

    `logits` (N, C) of its `patients` in both halves: of C classes, or of the hazards of C intervals cut at `edges`
    (C - 1,), `end` being the longest time of the training patients. `strength` is the inverse penalty of an elastic
    net, NaN of networks.
    """

    name: str
    task: Literal["subtyping", "survival"]
    patients: tuple[str, ...]
    logits: Floats
    edges: Floats
    end: float
    strength: float
    trained_on: tuple[str, ...] = ()
    """The training patients it saw, scalers and watched patients included."""

    def survival_fit(self) -> SurvivalFit:
        """The hazards as a head whose columns are the logits themselves."""
        outputs = self.logits.shape[1]
        model = Hazards(self.edges, np.eye(outputs), np.zeros(outputs))
        return SurvivalFit(model, self.strength, HazardCurves(model, self.end))

    def fitted(self, table: PatientTable, fold: Fold, config: EvaluationConfig, seed: int) -> Fitted:
        """The logits in place of a representation; patients without any lack the modality that the model reads.

        Raises `DataError` with the names of patients whom the table does not know.
        """
        known = set(table.patients)
        strangers = [name for name in self.patients if name not in known]
        raise_together(DataError, f"{self.name} was trained on another cohort; train it again:", strangers)
        all_logits = np.full((len(table.patients), self.logits.shape[1]), np.nan)
        all_logits[table.rows(self.patients)] = self.logits

        def half(patients: tuple[str, ...]) -> Half:
            rows = table.rows(sorted(patients))
            has: Flags = ~np.isnan(all_logits[rows, 0])
            return Half(rows, all_logits[rows], has)

        return Fitted(self.name, table, fold, config, seed, half(fold.train), half(fold.test), [], self.trained_on)


class SupervisedFold(NamedTuple):
    """Every supervised model of one fold and seed, and why others were not trained."""

    models: tuple[Supervised, ...] = ()
    notes: tuple[str, ...] = ()
