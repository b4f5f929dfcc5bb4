"""What is predicted: time to event in months, events by a named convention, and the intervals of discrete time.

Legend: N patients.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mirror.errors import DataError
from mirror.ids import DAYS_PER_MONTH

EventConvention = Literal["one_is_event", "one_is_censored", "deceased_or_living"]
TimeUnit = Literal["days", "months", "years"]

_MONTHS: dict[TimeUnit, float] = {"days": 1 / DAYS_PER_MONTH, "months": 1.0, "years": 12.0}
_EVENT: dict[EventConvention, dict[str, bool]] = {
    "one_is_event": {"1": True, "1.0": True, "0": False, "0.0": False},
    "one_is_censored": {"1": False, "1.0": False, "0": True, "0.0": True},
    "deceased_or_living": {
        **dict.fromkeys(("1:deceased", "deceased", "dead"), True),
        **dict.fromkeys(("0:living", "living", "alive"), False),
    },
}


def parse_event(cell: str, convention: EventConvention) -> bool:
    """True when the event happened. Raises `DataError` for a value the convention does not know."""
    known = _EVENT[convention]
    if cell.lower() not in known:
        others = [name for name, values in _EVENT.items() if cell.lower() in values]
        raise DataError(
            f"'{cell}' is no value of {convention} ({', '.join(known)}); "
            + (f"name the right `event_convention` ({' or '.join(others)})" if others else "correct or empty it")
        )
    return known[cell.lower()]


def parse_months(cell: str, unit: TimeUnit) -> float:
    """A time in months. Raises `DataError` when it is not a number, negative or infinite."""
    try:
        time = float(cell)
    except ValueError:
        raise DataError(f"'{cell}' is not a number; correct or empty it") from None
    if not math.isfinite(time) or time < 0:
        raise DataError(f"{cell} {unit} is no time to an event; correct or empty it")
    return time * _MONTHS[unit]


def interval_edges(time: NDArray[np.float64], event: NDArray[np.bool_], intervals: int) -> NDArray[np.float64]:
    """The `intervals - 1` inner edges, in months, at quantiles of the uncensored times (METHOD section 7).

    Ascending and without repeats: fewer of them where many events share a time. `time` (N,) and `event` (N,) must be
    those of the training patients alone. Raises `DataError` when none of them had the event.
    """
    if not event.any():
        raise DataError("no training patient had the event, so time has no intervals; use larger folds")
    return np.unique(np.quantile(time[event], np.arange(1, intervals) / intervals))


def assign_intervals(time: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """The interval (N,), from 0, of each time; an edge belongs to the later one, the first and last are open."""
    return np.searchsorted(edges, time, side="right").astype(np.int64)
