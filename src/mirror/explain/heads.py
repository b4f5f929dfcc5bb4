"""Heads that a class's log-odds and the log hazard are read from.

They are those that `mirror evaluate` judges, fitted by the same functions with the same seeds on the same training
patients. Such a head is affine in the view: its standardisation is undone.

Legend: D columns of a view, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mirror.config import EvaluationConfig
from mirror.evaluation.cox import Cox
from mirror.evaluation.fitted import Fitted, class_codes, count, fit_on_fold
from mirror.evaluation.judged import cox_head, linear_probe
from mirror.evaluation.metrics import Flags, Floats
from mirror.evaluation.representations import PatientTable
from mirror.explain.targets import CLASS, RISK, Head
from mirror.types import Fold


def fit_heads(
    names: Iterable[str], representation: str, table: PatientTable, fold: Fold, config: EvaluationConfig, *, seed: int
) -> dict[str, Head]:
    """The heads of all classes where `names` has one, and that of the risk, by target, on `representation` of the
    fold's training patients.

    Raises `DataError` where the fold has too few patients to fit one on.
    """
    wanted = set(names)
    found: dict[str, Head] = {}
    with threadpool_limits(1):  # as in `evaluate_fold`: the same sums in the same order
        fitted = fit_on_fold(representation, table, fold, config, seed)
        if any(name.startswith(CLASS) for name in wanted):
            found |= {head.name: head for head in _class_heads(fitted)}
        if RISK in wanted:
            found[RISK] = _risk_head(fitted)
    return found


def _class_heads(fitted: Fitted) -> list[Head]:
    """The log-odds of each class: of two classes against the other, of more against the geometric mean of the others,
    which unlike the odds against their sum is affine."""
    model = linear_probe(fitted).model
    # The last column is the offset.
    scores = _both_signs(np.hstack([model.coef_, np.reshape(model.intercept_, (-1, 1))]))
    rest = len(fitted.table.classes) - 1
    # z_k less the mean of the others, where those are all less z_k.
    against = scores - (scores.sum(axis=0) - scores) / rest
    on = _fitted_on(fitted, "subtyping", class_codes(fitted.table) >= 0)
    unit = "log-odds" if rest == 1 else "log-odds against the geometric mean of the other classes"
    return [
        _head(fitted, f"{CLASS}{name}", unit, against[code, :-1], float(against[code, -1]), on)
        for code, name in enumerate(fitted.table.classes)
    ]


def _both_signs(rows: NDArray[np.float64]) -> Floats:
    """(K, ...) scores a class; of two classes a probe has one row, the log-odds of the second, shared between them."""
    return np.concatenate([-rows, rows]) / 2 if len(rows) == 1 else rows


def _risk_head(fitted: Fitted) -> Head:
    model = cox_head(fitted).model
    assert isinstance(model, Cox)
    on = _fitted_on(fitted, "survival", ~np.isnan(fitted.table.time))
    return _head(fitted, RISK, "log hazard", model.coefficients, 0.0, on)


def _fitted_on(fitted: Fitted, task: str, known: Flags) -> tuple[str, ...]:
    return count(fitted, task, known).fitted_on


def _head(fitted: Fitted, name: str, unit: str, coefficients: Floats, offset: float, on: tuple[str, ...]) -> Head:
    weights, shift = fitted.on_view(coefficients)
    return Head(name, unit, fitted.name, weights, offset + shift, on)
