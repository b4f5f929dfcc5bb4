"""ROC curves with a band: the mean curve of the folds, and where it lies when the patients are drawn anew.

A probability of one fold's model means nothing beside that of another, so a curve is drawn in each fold and the curves
are averaged, sensitivity at equal false alarms. F folds, B drawings, n patients of a fold, X points across.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.evaluation.bootstrap import LEVEL, draw_resamples
from mirror.evaluation.metrics import Floats
from mirror.evaluation.weighted import PROBABILITY, FoldCells, fold_cells
from mirror.seeding import rng_for

RESAMPLES = 500
"""A band at a hundred points needs fewer drawings than the end of an interval."""
ACROSS = np.linspace(0.0, 1.0, 101)


class RocCurve(NamedTuple):
    """Sensitivity (X,) at the shares of false alarms `ACROSS`, its 95 % band, and the area, the mean of the folds'."""

    sensitivity: Floats
    low: Floats
    high: Floats
    area: float
    patients: int
    cases: int


def roc_curve(predictions: pd.DataFrame, *, of: str, seed: int, resamples: int = RESAMPLES) -> RocCurve | None:
    """The curve of class `of` against all others; `predictions` of one representation and protocol, as in
    predictions.parquet. None where no fold has both cases and controls.
    """
    drawn = draw_resamples(predictions, resamples=resamples, rng=rng_for(seed, "bootstrap", "roc"))
    curves: list[Floats] = []
    resampled: list[Floats] = []
    areas: list[float] = []
    for fold in fold_cells(predictions):
        case = fold.names("label")[0] == of
        if case.all() or not case.any():
            continue
        weights = np.concatenate([np.ones((1, len(case))), drawn.of(fold.patients)])
        several, area = _curves(fold, case, weights, of=of)
        curves.append(several[0])
        resampled.append(several[1:])
        areas.append(area)
    if not curves:
        return None
    known = np.stack(resampled)  # (F, B, X), NaN where a drawing left no case or no control in a fold
    there = ~np.isnan(known)
    means = np.where(there, known, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    low, high = np.quantile(means[there.any(axis=(0, 2))], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    people = predictions.drop_duplicates("patient")
    cases = int((people["label"] == of).sum())
    return RocCurve(np.mean(curves, axis=0), low, high, float(np.mean(areas)), len(people), cases)


def _curves(fold: FoldCells, case: NDArray[np.bool_], weights: Floats, *, of: str) -> tuple[Floats, float]:
    """Curves (B, X) of a fold under each weighting, the mean over its cells, and the area of the first."""
    several = np.zeros((len(weights), len(ACROSS)))
    area = 0.0
    for share, p in zip(fold.shares, fold.floats(f"{PROBABILITY}{of}"), strict=True):
        order = np.argsort(-p, kind="stable")
        # Patients of equal probability enter together: the curve has no corner between them.
        ends = np.flatnonzero(np.diff(p[order], append=-np.inf))
        hits = np.cumsum(weights[:, order] * case[order], axis=1)[:, ends]
        alarms = np.cumsum(weights[:, order] * ~case[order], axis=1)[:, ends]
        for row, (hit, alarm) in enumerate(zip(hits, alarms, strict=True)):
            if hit[-1] == 0 or alarm[-1] == 0:
                several[row] = np.nan
                continue
            x, y = np.concatenate([[0.0], alarm / alarm[-1]]), np.concatenate([[0.0], hit / hit[-1]])
            # Of several points at one share of false alarms the highest counts: the curve goes straight up there.
            several[row] += share * np.interp(ACROSS, x + 1e-12 * np.arange(len(x)), y)
            if row == 0:
                area += share * float(np.trapezoid(y, x))
    return several, area
