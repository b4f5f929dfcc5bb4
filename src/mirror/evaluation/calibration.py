"""Whether predicted chances come true: of subtypes by the largest probability, of survival at one horizon."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter

from mirror.evaluation.metrics import CONFIDENCE_BINS, confidence_bins
from mirror.evaluation.weighted import PROBABILITY, SURVIVAL

RISK_GROUPS = 4
NEAR_MONTHS = 36.0
"""Survival is looked at near three years, where most cohorts still have patients."""


class Calibrated(NamedTuple):
    """A group of patients by what was predicted: mean `predicted` and `observed` chance, the 95 % interval of the
    latter, and how many patients they are, each counted once."""

    predicted: float
    observed: float
    low: float
    high: float
    patients: int


def reliability(predictions: pd.DataFrame) -> list[Calibrated]:
    """Bins of the largest probability of one representation under one protocol, pooled over folds, seeds and draws.

    `observed` is the share for whom the predicted class is right, with Wilson's interval; empty bins are left out.
    """
    columns = [name for name in predictions if str(name).startswith(PROBABILITY) and predictions[name].notna().any()]
    p = predictions[columns].to_numpy(np.float64)
    right = (predictions["predicted"] == predictions["label"]).to_numpy(np.float64)
    bins, largest = confidence_bins(p), p.max(axis=1)
    found: list[Calibrated] = []
    for number in range(CONFIDENCE_BINS):
        inside = bins == number
        if inside.any():
            patients = int(predictions.loc[inside, "patient"].nunique())
            share = float(right[inside].mean())
            found.append(Calibrated(float(largest[inside].mean()), share, *_wilson(share, patients), patients))
    return found


def survival_reliability(predictions: pd.DataFrame, *, months: float) -> list[Calibrated]:
    """Quarters of the patients by predicted survival at `months`, pooled over folds, each patient's mean over seeds.

    `observed` is the Kaplan-Meier estimate of the quarter, so that who was censored before counts as long as seen.
    Empty without patients for whom a survival at that horizon was predicted.
    """
    column = f"{SURVIVAL}{months:g}"
    if column not in predictions:
        return []
    known = predictions.dropna(subset=[column])
    people = known.groupby("patient").agg(predicted=(column, "mean"), time=("time", "first"), event=("event", "first"))
    if people.empty:
        return []
    order = people["predicted"].rank(method="first").to_numpy()
    group = np.ceil(order / len(people) * min(RISK_GROUPS, len(people)))
    found: list[Calibrated] = []
    for _, part in people.groupby(group):
        fitted = KaplanMeierFitter().fit(part["time"].astype(float), part["event"].astype(float) > 0.5)
        band = fitted.confidence_interval_
        row = int(np.searchsorted(band.index.to_numpy(), months, side="right")) - 1
        low, high = (float(band.iloc[row, side]) for side in (0, 1))
        observed = float(fitted.predict(months))
        found.append(Calibrated(float(part["predicted"].mean()), observed, low, high, len(part)))
    return found


def nearest_horizon(predictions: pd.DataFrame) -> float | None:
    """The horizon nearest to `NEAR_MONTHS` that every fold with survival has; None without one."""
    known = predictions[predictions["task"] == "survival"]
    folds = known["fold"].nunique()
    shared = [
        float(str(name).removeprefix(SURVIVAL))
        for name in known
        if str(name).startswith(SURVIVAL) and folds and known.dropna(subset=[name])["fold"].nunique() == folds
    ]
    return min(shared, key=lambda month: abs(month - NEAR_MONTHS), default=None)


def _wilson(share: float, count: int) -> tuple[float, float]:
    z = 1.959964
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, centre - float(half)), min(1.0, centre + float(half))
