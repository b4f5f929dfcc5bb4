"""One way to the minimum of a smooth convex function, run until it is there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from mirror.errors import MirrorError

Objective = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]
"""Gives value and gradient at a point."""

GRADIENT_ENOUGH = 1e-4


def minimise(objective: Objective, start: NDArray[np.float64], *, tolerance: float = 1e-8) -> NDArray[np.float64]:
    """The point where no component of the gradient exceeds `tolerance`, by L-BFGS from `start`.

    The search also ends where rounding stops it. Raises `MirrorError` when the gradient there is still large, so that
    an unfinished fit is never taken for a finished one.
    """
    options = {"maxiter": 20_000, "maxfun": 40_000, "maxcor": 20, "gtol": tolerance, "ftol": 0.0}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    steepest = float(np.abs(found.jac).max(initial=0.0))
    if not steepest <= GRADIENT_ENOUGH:
        raise MirrorError(
            f"a penalised fit of {len(start)} coefficients did not converge (gradient {steepest:.1e}); "
            "look for values of extreme size in the representation"
        )
    return found.x
