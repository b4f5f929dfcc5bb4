"""Linear support vector machines with squared hinge, solved on the samples' Gram matrix.

With few samples and many features nothing here depends on the number of features: a machine is its weights of the
samples. Shape legend: N samples, C one-vs-rest machines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs

from mirror.errors import DataError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

(_posv,) = get_lapack_funcs(("posv",), dtype=np.float64)
_SUFFICIENT = 1e-4  # share of the promised decrease that a step must deliver (Armijo)
_ROUNDING = 1e-14  # relative decrease of the objective below which rounding speaks, not the problem
_LEAST_STEP, _NO_SLOPE = 1e-9, 1e-6  # a step that is shorter is none; with a slope of this share no harm is done


def solve_squared_hinge(gram: Array, signs: Array, *, cost: float = 1.0, start: Array | None = None) -> Array:
    """Sample weights `[N, C]` of C machines that share one Gram matrix.

    Column c minimises `b'Kb / 2 + cost * sum(max(0, 1 - y * Kb) ** 2)`, which is `LinearSVC(loss="squared_hinge")` of
    scikit-learn when `gram` `[N, N]` is `X X' + 1` (the 1 is the regularised intercept): its coefficients are `X' b`,
    its intercept is `sum(b)`. `signs` `[N, C]` holds +1 and -1. `start` `[N, C]` are the weights of a similar problem:
    they save steps and do not move the answer, which is exact up to float64 rounding. Raises `DataError` where the
    cells are so large that float64 cannot tell the problem from a singular one.

    Source: METHOD section 8; Newton in the primal, Chapelle, Neural Computation 19 (2007).
    """
    # The samples inside the margin carry over from one problem to the next, the margins do not: with thousands of
    # features every supporting sample lies at 1 - 1e-5, and the slightest change of the Gram matrix scatters them.
    support = np.zeros(signs.shape, dtype=np.bool_) if start is None else start != 0
    support[:, ~support.any(axis=0)] = True
    machines = zip(signs.T, support.T, strict=True)
    return np.stack([_solve_one(gram, y, inside, cost) for y, inside in machines], axis=1)


def _solve_one(gram: Array, y: Array, inside: Mask, cost: float) -> Array:
    """One machine by damped Newton from the solution that `inside` would give; exact once that set repeats itself."""
    weights = _minimise_inside(gram, y, inside, cost)
    outputs = gram @ weights
    rate = 1.0
    while rate < 1 or not np.array_equal(y * outputs < 1, inside):
        inside = y * outputs < 1
        target = _minimise_inside(gram, y, inside, cost)
        step, change = target - weights, gram @ target - outputs
        rate = _step_length(y, weights, outputs, step, change, cost)
        if np.isnan(rate):
            raise _singular(gram.max(), cost)
        if rate == 0:
            break
        weights, outputs = weights + rate * step, outputs + rate * change
    return weights


def _minimise_inside(gram: Array, y: Array, inside: Mask, cost: float) -> Array:
    """The weights that were best if exactly the samples `inside` paid the squared hinge; zero outside."""
    members = np.flatnonzero(inside)
    system = gram[members[:, None], members]
    system.flat[:: len(members) + 1] += 0.5 / cost
    # Cholesky in place, on the transpose because LAPACK counts by columns: half the time of numpy's LU at any size
    _, solution, failed = _posv(system.T, y[members], overwrite_a=True)
    if failed:
        raise _singular(system.max(), cost)
    weights = np.zeros_like(y)
    weights[members] = solution
    return weights


def _singular(largest: float, cost: float) -> DataError:
    return DataError(
        f"the support vector machine is singular in float64: squared lengths of samples reach {largest:.1e} "
        f"beside 1 / (2 * cost) = {0.5 / cost:g}; take raw values to a log scale, or lower the cost"
    )


def _step_length(y: Array, weights: Array, outputs: Array, step: Array, change: Array, cost: float) -> float:
    """The first of 1, 1/2, 1/4, ... that decreases the objective enough; 0 where nothing is left to gain.

    Values on a linear scale leave few digits for the margins: then steps may go to and fro without end, and one that
    gains nothing is the last. NaN where the slope says that it should have gained much: the direction is rounding.
    """

    def objective(rate: float) -> float:
        slack = np.maximum(0, 1 - y * (outputs + rate * change))
        return float((weights + rate * step) @ (outputs + rate * change) / 2 + cost * (slack @ slack))

    now = objective(0)
    slope = float(step @ outputs - 2 * cost * (np.maximum(0, 1 - y * outputs) @ (y * change)))
    if -slope <= _ROUNDING * now:
        return 0.0
    rate = 1.0
    while objective(rate) > now + _SUFFICIENT * rate * slope + _ROUNDING * now:
        rate /= 2
        if rate < _LEAST_STEP:
            break
    if rate >= _LEAST_STEP and objective(rate) < now:
        return rate
    return 0.0 if -slope <= _NO_SLOPE * now else float("nan")
