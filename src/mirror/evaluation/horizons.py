"""Survival judged at horizons, where some patients were censored before: time-dependent AUROC and Brier score.

Who is censored before a horizon is neither a case nor a control of it; those who are seen to the end stand for them
with the inverse of their chance to be seen, and that chance is estimated on TRAINING patients (Graf 1999, Uno 2007).
Values agree with scikit-survival. N patients, T horizons, B weightings of patients, C cells (a seed and draw each).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mirror.evaluation.metrics import Flags, Floats

FOLLOWED = 5
"""Training patients who must be followed beyond a horizon: with fewer the chance to be seen is a guess."""


@dataclass(frozen=True, slots=True)
class Censoring:
    """Kaplan-Meier estimate of staying uncensored: `uncensored` (U,) from each of `times` (U,) months on."""

    times: Floats
    uncensored: Floats
    followed: Floats
    """(N,) ascending: how long each patient it was fitted on was observed."""

    def probability(self, months: Floats) -> Floats:
        """Chance to be uncensored through `months` (any shape), in [0, 1]."""
        steps = np.concatenate([[1.0], self.uncensored])
        return steps[np.searchsorted(self.times, months, side="right")]

    def usable(self, months: Floats) -> Floats:
        """Those of `months` beyond which at least `FOLLOWED` of the patients it was fitted on were observed."""
        beyond = len(self.followed) - np.searchsorted(self.followed, months, side="right")
        return months[beyond >= FOLLOWED]


def fit_censoring(time: Floats, event: Flags) -> Censoring:
    """Fit on training patients: `time` (N,) months, `event` (N,). Of equal times events come before censoring."""
    times = np.unique(time)
    at_risk = len(time) - np.searchsorted(np.sort(time), times, side="left")
    place = np.searchsorted(times, time)
    events = np.bincount(place[event], minlength=len(times))
    censored = np.bincount(place[~event], minlength=len(times))
    left = np.maximum(at_risk - events, 1)
    kept = np.cumprod(1.0 - censored / left).astype(np.float64)
    return Censoring(times, kept, np.sort(time))


class Watched(NamedTuple):
    """Test patients at `months` (T,): `time` and `event` (N,), the chance to be uncensored through their own time,
    `uncensored` (N,), and through each horizon, `uncensored_at` (T,), both from training patients."""

    months: Floats
    time: Floats
    event: Flags
    uncensored: Floats
    uncensored_at: Floats


def watched(time: Floats, event: Flags, *, months: Floats, censoring: Censoring) -> Watched:
    """Test patients at those of `months` that `censoring`, fitted on training patients, can speak of."""
    usable = censoring.usable(months)
    return Watched(usable, time, event, censoring.probability(time), censoring.probability(usable))


def areas_at(seen: Watched, risk: Floats, weights: Floats) -> Floats:
    """AUROC at each horizon, (B, T): do those with the event by then have the higher `risk` than those still without?

    `risk` (C, N), the area being the mean over its cells; cases weigh the inverse of their chance to be uncensored.
    [0, 1], chance 0.5; NaN where a weighting leaves no case or no control.
    """
    found = np.full((len(weights), len(seen.months)), np.nan)
    inverse = 1.0 / np.maximum(seen.uncensored, 1e-12)
    for place, month in enumerate(seen.months):
        case, control = (seen.time <= month) & seen.event, seen.time > month
        high, low = risk[:, case, None], risk[:, None, control]
        ordered = ((high > low) + 0.5 * (high == low)).mean(axis=0)
        cases, controls = weights[:, case] * inverse[case], weights[:, control]
        pairs = cases.sum(axis=1) * controls.sum(axis=1)
        found[pairs > 0, place] = np.einsum("bj,bj->b", cases @ ordered, controls)[pairs > 0] / pairs[pairs > 0]
    return found


def mean_area(seen: Watched, risk: Floats, weights: Floats) -> Floats:
    """Mean of `areas_at` (B,), a horizon weighing the drop of the Kaplan-Meier curve since the one before.

    Horizons without cases or controls are left out; NaN where none is left (or none is usable).
    """
    areas = areas_at(seen, risk, weights)
    survival = np.concatenate([np.ones((len(weights), 1)), _kaplan_meier(seen, weights)], axis=1)
    drops = np.where(np.isnan(areas), 0.0, -np.diff(survival, axis=1))
    total = drops.sum(axis=1)
    weighted = np.where(drops > 0, areas * drops, 0.0).sum(axis=1)
    return np.divide(weighted, total, out=np.full(len(weights), np.nan), where=total > 0)


def brier_losses(seen: Watched, survival: Floats) -> Floats:
    """What each patient adds to the Brier score of each horizon, (N, T), for predicted `survival` (N, T)."""
    case = (seen.time[:, None] <= seen.months) & seen.event[:, None]
    control = seen.time[:, None] > seen.months
    own = np.maximum(seen.uncensored, 1e-12)[:, None]
    return case * survival**2 / own + control * (1.0 - survival) ** 2 / np.maximum(seen.uncensored_at, 1e-12)


def integrated_losses(seen: Watched, survival: Floats) -> Floats:
    """`brier_losses`, mean over time by trapezoids between the horizons, (N,).

    Their mean over patients is the integrated Brier score: lower is better, saying 1/2 to everybody gives about 0.25.
    With a single horizon the loss at that one, NaN where none is usable.
    """
    if not len(seen.months):
        return np.full(len(seen.time), np.nan)
    losses = brier_losses(seen, survival)
    if len(seen.months) == 1:
        return losses[:, 0]
    from scipy.integrate import trapezoid  # a third of a second of start-up for who asks for no such loss

    return trapezoid(losses, seen.months, axis=1) / (seen.months[-1] - seen.months[0])


def _kaplan_meier(seen: Watched, weights: Floats) -> Floats:
    """Survival of the patients at each horizon under each weighting, (B, T)."""
    moments = np.unique(seen.time[seen.event])
    died = weights @ ((seen.time[:, None] == moments) & seen.event[:, None])
    at_risk = weights @ (seen.time[:, None] >= moments).astype(np.float64)
    curve = np.cumprod(1.0 - died / np.maximum(at_risk, 1.0), axis=1)
    steps = np.concatenate([np.ones((len(weights), 1)), curve], axis=1)
    return steps[:, np.searchsorted(moments, seen.months, side="right")]
