"""Survival from a representation: two penalised heads, the penalty chosen inside the training patients.

Cox's model (`mirror.evaluation.cox`) and discrete-time hazards (METHOD section 7, `mirror.evaluation.hazards`) see the
standardised representation at its full width. The penalty is the one of `PENALTIES` with the best mean c-index over
inner folds stratified by event, the strongest of equals; then the head is fitted anew on all training patients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from mirror.data.endpoints import interval_edges
from mirror.evaluation.cox import Cox, cox_curves, fit_cox
from mirror.evaluation.hazards import HazardCurves, Hazards, fit_hazards
from mirror.evaluation.metrics import Flags, Floats, c_index

PENALTIES = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""From strong to weak, so that each fit starts where the one before ended and ties go to the strong."""


class SurvivalModel(Protocol):
    """What has been fitted and can say who is at risk."""

    def risk(self, x: Floats) -> Floats: ...


class SurvivalCurves(Protocol):
    """What has been fitted and can say who is without event by when."""

    def survival(self, x: Floats, months: Floats) -> Floats: ...


class SurvivalData(NamedTuple):
    """Patients with known survival: `x` (N, D), `time` (N,) months, `event` (N,) True = happened."""

    x: Floats
    time: Floats
    event: Flags

    def rows(self, chosen: np.ndarray) -> SurvivalData:
        """The patients at positions `chosen`."""
        return SurvivalData(self.x[chosen], self.time[chosen], self.event[chosen])


class SurvivalFit(NamedTuple):
    """A head fitted on all training patients, the penalty that inner folds chose for it, and its survival curves."""

    model: SurvivalModel
    penalty: float
    curves: SurvivalCurves


INNER_TOLERANCE, FINAL_TOLERANCE = 1e-5, 1e-8
"""Held-out fits need the order of risks only; the fit that is kept goes to the end."""

M = TypeVar("M", bound=SurvivalModel)


class _Chosen(NamedTuple, Generic[M]):
    model: M
    penalty: float


def fit_cox_head(train: SurvivalData, *, inner_folds: int, seed: int) -> SurvivalFit:
    """Ridge Cox on `train` at the penalty its inner folds choose."""

    def fit(data: SurvivalData, penalty: float, start: Cox | None, tolerance: float) -> Cox:
        return fit_cox(*data, penalty=penalty, start=start, tolerance=tolerance)

    chosen = _choose_and_fit(fit, train, inner_folds=inner_folds, seed=seed)
    return SurvivalFit(*chosen, cox_curves(chosen.model, *train))


def fit_discrete_head(train: SurvivalData, *, intervals: int, inner_folds: int, seed: int) -> SurvivalFit:
    """Discrete-time hazards on `train` at the penalty its inner folds choose; `intervals` cut at its event times."""
    edges = interval_edges(train.time, train.event, intervals)

    def fit(data: SurvivalData, penalty: float, start: Hazards | None, tolerance: float) -> Hazards:
        return fit_hazards(*data, edges=edges, penalty=penalty, start=start, tolerance=tolerance)

    chosen = _choose_and_fit(fit, train, inner_folds=inner_folds, seed=seed)
    return SurvivalFit(*chosen, HazardCurves(chosen.model, float(train.time.max())))


def why_not(train: SurvivalData) -> str | None:
    """The reason why no head can be fitted on `train`, or None when one can."""
    events = int(train.event.sum())
    return f"{events} training patients with an event; 2 are needed" if events < 2 else None


def _choose_and_fit(
    fit: Callable[[SurvivalData, float, M | None, float], M], train: SurvivalData, *, inner_folds: int, seed: int
) -> _Chosen[M]:
    """`fit` takes patients, penalty, the model to start from and the tolerance."""
    concordance: list[list[float]] = []
    for fitted_on, held in _inner_halves(train.event, folds=inner_folds, seed=seed):
        rest, held_out = train.rows(fitted_on), train.rows(held)
        model, measured = None, list[float]()
        for penalty in PENALTIES:
            model = fit(rest, penalty, model, INNER_TOLERANCE)
            measured.append(c_index(held_out.time, held_out.event, model.risk(held_out.x)))
        # A held-out part in which nobody can be ordered says nothing about any penalty.
        if not math.isnan(measured[0]):
            concordance.append(measured)
    penalty = PENALTIES[int(np.mean(concordance, axis=0).argmax())] if concordance else PENALTIES[0]
    return _Chosen(fit(train, penalty, None, FINAL_TOLERANCE), penalty)


def _inner_halves(event: Flags, *, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified by event, in as many folds (at least 2) as the rarer outcome fills."""
    counts = [int(n) for n in (event.sum(), (~event).sum()) if n]
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(max(2, min(folds, *counts)), shuffle=True, random_state=seed)
    return list(splitter.split(event, event))
