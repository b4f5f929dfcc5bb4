"""Elastic net on the expression profile: classes, or the hazards of intervals of time. The penalty is chosen inside.

A likelihood of discrete-time hazards falls apart by interval (`mirror.evaluation.hazards`), so survival is a logistic
regression an interval, among the patients who reached it. N patients, G genes, C outputs (classes or intervals).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from mirror.evaluation.convex import minimise
from mirror.evaluation.metrics import Codes, Flags, Floats, auroc, c_index

TOLERANCE, MOST_STEPS = 1e-2, 200
"""Of scikit-learn's saga: on BRCA a tenth of the tolerance moves no held-out AUROC by more than 0.01 and takes twice as
long. It looks at coefficients alone, so intercepts are taken to their end afterwards."""


class Asked(NamedTuple):
    """Inverse penalties to choose among, the share of L1 in them, how many inner folds choose, and their seed."""

    strengths: Sequence[float]
    l1_ratio: float
    inner_folds: int
    seed: int


class ElasticNet(NamedTuple):
    """Coefficients (G, C), intercepts (C,), and the inverse penalty that inner folds chose."""

    coefficients: Floats
    intercepts: Floats
    strength: float

    def logits(self, x: Floats) -> Floats:
        """(N, C) for `x` (N, G)."""
        return x @ self.coefficients + self.intercepts


def fit_classes(x: Floats, codes: Codes, asked: Asked) -> ElasticNet:
    """Balanced classes `codes` (N,), 0 ... C - 1, from `x` (N, G); the strength of the best mean AUROC."""

    def fit(rows: NDArray[np.intp], strength: float) -> ElasticNet:
        weights, intercepts = _logistic(x[rows], codes[rows], strength, asked, balanced=True)
        if weights.shape[1] == 1:  # of two classes scikit-learn has the logit of the second
            weights, intercepts = np.hstack([np.zeros_like(weights), weights]), np.append(0.0, intercepts)
        return ElasticNet(weights, intercepts, strength)

    def measure(net: ElasticNet, rows: NDArray[np.intp]) -> float:
        logits = net.logits(x[rows])
        return auroc(codes[rows], logits if logits.shape[1] > 2 else expit(logits - logits[:, ::-1]))

    return _choose(fit, measure, codes, asked)


def fit_hazards(x: Floats, time: Floats, event: Flags, interval: Codes, asked: Asked, *, intervals: int) -> ElasticNet:
    """Hazards of `intervals` from `x` (N, G), each patient being in `interval` (N,); the strength of the best c-index.

    An interval in which all or none of those who reached it have the event gives everybody the same hazard.
    """

    def fit(rows: NDArray[np.intp], strength: float) -> ElasticNet:
        weights, intercepts = np.zeros((x.shape[1], intervals)), np.zeros(intervals)
        for k in range(intervals):
            there = rows[interval[rows] >= k]
            happened = (interval[there] == k) & event[there]
            if 0 < happened.sum() < len(there):
                own, free = _logistic(x[there], happened, strength, asked, balanced=False)
                weights[:, k], intercepts[k] = own[:, 0], free[0]
            else:
                rate = (happened.sum() + 0.5) / (len(there) + 1.0)
                intercepts[k] = np.log(rate) - np.log1p(-rate)
        return ElasticNet(weights, intercepts, strength)

    def measure(net: ElasticNet, rows: NDArray[np.intp]) -> float:
        survival = np.cumprod(expit(-net.logits(x[rows])), axis=1)
        return c_index(time[rows], event[rows], -survival.sum(axis=1))

    return _choose(fit, measure, event.astype(np.int64), asked)


def _choose(
    fit: Callable[[NDArray[np.intp], float], ElasticNet],
    measure: Callable[[ElasticNet, NDArray[np.intp]], float],
    strata: Codes,
    asked: Asked,
) -> ElasticNet:
    counts = [int(count) for count in np.bincount(strata) if count]
    splitter = StratifiedKFold(max(2, min(asked.inner_folds, *counts)), shuffle=True, random_state=asked.seed)
    found = np.array(
        [
            [measure(fit(rest, strength), held) for strength in asked.strengths]
            for rest, held in splitter.split(strata, strata)
        ]
    )
    # A held-out part in which nothing can be measured says nothing about any strength; ties go to the strong.
    known = found[~np.isnan(found).any(axis=1)]
    best = int(known.mean(axis=0).argmax()) if len(known) else 0
    return fit(np.arange(len(strata)), asked.strengths[best])


def _logistic(
    x: Floats, codes: NDArray[np.generic], strength: float, asked: Asked, *, balanced: bool
) -> tuple[Floats, Floats]:
    """Weights (G, L) and intercepts (L,), L = 1 for two classes."""
    model = LogisticRegression(
        C=strength,
        l1_ratio=asked.l1_ratio,
        solver="saga",
        class_weight="balanced" if balanced else None,
        tol=TOLERANCE,
        max_iter=MOST_STEPS,
        random_state=asked.seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of steps is a choice, see MOST_STEPS
        model.fit(x, codes)
    weights = np.asarray(model.coef_, dtype=np.float64).T
    return weights, _intercepts(x @ weights, codes, np.asarray(model.intercept_, dtype=np.float64), balanced=balanced)


def _intercepts(logits: Floats, codes: NDArray[np.generic], start: Floats, *, balanced: bool) -> Floats:
    """Intercepts (L,) of the least loss where the other `logits` (N, L) stay as they are."""
    names, own, counts = np.unique(codes, return_inverse=True, return_counts=True)
    weight = (len(codes) / (len(names) * counts))[own] if balanced else np.ones(len(codes))
    weight = weight / weight.sum()
    # Of two classes the logit of the first is 0.
    all_logits = np.hstack([np.zeros_like(logits), logits]) if len(names) == 2 else logits

    def objective(intercepts: Floats) -> tuple[float, Floats]:
        moved = all_logits + (np.append(0.0, intercepts) if len(names) == 2 else intercepts)
        logs = log_softmax(moved, axis=1)
        slope = weight @ (np.exp(logs) - np.eye(len(names))[own])
        return -float(weight @ logs[np.arange(len(own)), own]), slope[-len(intercepts) :]

    return minimise(objective, start)
