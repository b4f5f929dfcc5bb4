"""Discrete-time survival, METHOD section 7: a linear head whose K outputs are hazards of K intervals.

The likelihood falls apart by interval: that of interval k is a logistic regression, among the patients who reached k,
of having the event in k. So the penalised fit is convex and has one answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from mirror.data.endpoints import assign_intervals
from mirror.evaluation.convex import minimise
from mirror.evaluation.metrics import Flags, Floats


@dataclass(frozen=True, slots=True)
class Hazards:
    """A fitted head: hazard of interval k is sigmoid(x @ weights[:, k] + bias[k]). `weights` (D, K), `bias` (K,)."""

    edges: Floats
    weights: Floats
    bias: Floats

    def survival(self, x: Floats) -> Floats:
        """S_k, the probability to be without event after interval k, (N, K), for `x` (N, D)."""
        return np.exp(np.cumsum(log_expit(-(x @ self.weights + self.bias)), axis=1))

    def risk(self, x: Floats) -> Floats:
        """-sum_k S_k, (N,), in [-K, 0]."""
        return -self.survival(x).sum(axis=1)


@dataclass(frozen=True, slots=True)
class HazardCurves:
    """Survival by a fitted head between its edges: within an interval the hazard is constant; the last ends at `end`,
    the longest time of the training patients."""

    model: Hazards
    end: float

    def survival(self, x: Floats, months: Floats) -> Floats:
        """Probability to be without event at `months` (T,), (N, T), for `x` (N, D); beyond `end` that at `end`."""
        logs = np.log(np.maximum(self.model.survival(x), np.finfo(np.float64).tiny))
        knots = np.concatenate([[0.0], self.model.edges, [max(self.end, self.model.edges.max(initial=0.0))]])
        # Interpolation is linear in the values at the knots: a matrix, the same for every patient.
        share = np.stack([np.interp(months, knots, unit) for unit in np.eye(len(knots))[1:]])
        return np.exp(logs @ share)


def negative_log_likelihood(logits: Floats, interval: NDArray[np.intp], event: Flags) -> Floats:
    """Of each patient, (N,): `-log h_k - sum_{j<k} log(1 - h_j)` with an event in interval k, censored in k
    `-sum_{j<=k} log(1 - h_j)` (METHOD section 7 with alpha 0). `logits` (N, K), h = sigmoid(logits)."""
    reached, happened = _reached(interval, event, logits.shape[1])
    return -np.sum(happened * log_expit(logits) + (reached & ~happened) * log_expit(-logits), axis=1)


def fit_hazards(
    x: Floats,
    time: Floats,
    event: Flags,
    *,
    edges: Floats,
    penalty: float,
    start: Hazards | None = None,
    tolerance: float = 1e-8,
) -> Hazards:
    """Minimise the mean of `negative_log_likelihood` + penalty / 2 * |weights|^2; biases are free.

    `x` (N, D) standardised columns; `time` (N,) months; `event` (N,); `penalty` > 0. `start` only shortens the way,
    `tolerance` ends it (largest component of the gradient).
    """
    width, count = x.shape[1], len(edges) + 1
    interval = assign_intervals(time, edges)
    reached, happened = _reached(interval, event, count)

    def objective(point: Floats) -> tuple[float, Floats]:
        weights, bias = point[:-count].reshape(width, count), point[-count:]
        logits = x @ weights + bias
        value = float(negative_log_likelihood(logits, interval, event).mean()) + penalty / 2 * float(np.sum(weights**2))
        slope = (reached * expit(logits) - happened) / len(x)
        return value, np.concatenate([(x.T @ slope + penalty * weights).ravel(), slope.sum(axis=0)])

    if start is None:
        # Half an event is added and half taken away so that an interval in which all or none have it starts finite.
        rate = (happened.sum(axis=0) + 0.5) / (reached.sum(axis=0) + 1.0)
        begin = np.concatenate([np.zeros(width * count), np.log(rate) - np.log1p(-rate)])
    else:
        begin = np.concatenate([start.weights.ravel(), start.bias])
    point = minimise(objective, begin, tolerance=tolerance)
    return Hazards(edges, point[:-count].reshape(width, count), point[-count:])


def _reached(interval: NDArray[np.intp], event: Flags, count: int) -> tuple[Flags, Flags]:
    """Two (N, K) tables: whether the patient was at risk in interval k, and whether it had its event there."""
    steps = np.arange(count)
    return steps <= interval[:, None], (steps == interval[:, None]) & event[:, None]
