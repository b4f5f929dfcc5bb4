"""Patients in two groups by predicted risk, and how long patients are followed and live."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test

from mirror.evaluation.report.pictures import Survivors


class RiskSplit(NamedTuple):
    """Patients in two groups by predicted risk; `p` of the log-rank test, NaN when a group is empty or has no event."""

    representation: str
    low: Survivors
    high: Survivors
    p: float
    unsplit: int
    """Patients of folds whose predicted risks are all equal; they are in neither group."""


def risk_groups(predictions: pd.DataFrame) -> pd.Series[str]:
    """`low` or `high` for each test patient: at most, or above, the median of the risks predicted in the same fold.

    The outcome has no part in it. Patients of a fold whose risks are all equal are `none`. Of several seeds the first
    counts, of several test folds the first too: one patient is one person in the curve.
    """
    risks = predictions.dropna(subset=["risk"])
    risks = risks[risks["seed"] == risks["seed"].min()].sort_values(["fold", "patient"], kind="stable")
    by_fold = risks.groupby("fold")["risk"]
    group = pd.Series("low", index=risks.index)
    group[risks["risk"] > by_fold.transform("median")] = "high"
    group[by_fold.transform("nunique") == 1] = "none"
    return group.set_axis(risks["patient"])[lambda named: ~named.index.duplicated()]


def split_by_risk(predictions: pd.DataFrame, patients: pd.DataFrame, *, representation: str) -> RiskSplit | None:
    """The patients of `risk_groups` with their follow-up, and the log-rank test; None where nobody has both."""
    groups = risk_groups(predictions[predictions["representation"] == representation])
    known = patients.set_index("patient")[["time", "event"]].dropna().astype(np.float64)
    groups = groups[groups.index.isin(known.index)]
    if groups.empty:
        return None
    sides = {name: known.loc[groups.index[groups == name]] for name in ("low", "high")}
    low, high = (
        Survivors(f"{name} risk", t["time"].to_numpy(), t["event"].to_numpy() > 0.5) for name, t in sides.items()
    )
    testable = len(low.months) and len(high.months) and (low.events.any() or high.events.any())
    test = logrank_test(low.months, high.months, low.events, high.events) if testable else None
    p = float("nan") if test is None else float(test.p_value)
    return RiskSplit(representation, low, high, p, int((groups == "none").sum()))


def median_follow_up(followed: pd.DataFrame) -> float | None:
    """Months, by the reverse Kaplan-Meier estimate: an event ends the observation, it does not measure it.

    `followed` are patients who all have `time` and `event`; None without any, or when the estimate has no median.
    """
    if followed.empty:
        return None
    reverse = KaplanMeierFitter().fit(followed["time"].astype(float), followed["event"].astype(float) < 0.5)
    median = float(reverse.median_survival_time_)
    return median if np.isfinite(median) else None


def median_survival(followed: pd.DataFrame) -> float | None:
    """Months, by the Kaplan-Meier estimate; None where the curve stays above one half."""
    fitted = KaplanMeierFitter().fit(followed["time"].astype(float), followed["event"].astype(float) > 0.5)
    median = float(fitted.median_survival_time_)
    return median if np.isfinite(median) else None
