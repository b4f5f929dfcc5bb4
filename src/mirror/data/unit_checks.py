"""Units held against the values: what cannot be is refused, with names; what the values look like is guessed.

Legend: N patients, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.data.units import (
    ENOUGH_GENES_OF_ONE,
    HIGHEST_LOG,
    LOG_OF_A_LOG,
    LOWEST_PEAK,
    Units,
    looks_logged,
    low_and_even,
    parse_units,
    peak_of,
)
from mirror.errors import DataError, raise_together

Array = NDArray[np.float64]

_CELLS_LOOKED_AT = 4_000_000
_FLOOR_CELLS = 5


class Guess(NamedTuple):
    """Units that the values look like, and what about them says so."""

    units: str
    reason: str


def check_units(
    values: NDArray[np.float32], text: str, *, rows: Sequence[str], genes: Sequence[str], source: str
) -> None:
    """Raise `DataError` that names samples and genes where the values (N, G) cannot be in the units `text`.

    Refused in a table of any size: what no measurement gives, which is a negative value on a linear scale, a logarithm
    below that of its offset (log2(0.001) under `log2(TPM + 0.001)`, rounded to whatever decimals), and one above
    `HIGHEST_LOG` in base 2. Refused by the look of it: a table that is a logarithm once more than `text` says
    (`looks_logged`, from 50 genes of 20 samples or 200 genes on), and a mixture of samples that reach above 64 without
    a negative value and others that each look like logarithms (from 200 genes on, for one sample says less than many).
    Z-scores and units of unknown form are not checked.
    """
    units = parse_units(text)
    if units is None or units.quantity == "z-score" or not values.size:
        return
    _refuse_mixed(values, rows=rows, source=source)
    _refuse_impossible(values, units, text, rows=rows, genes=genes, source=source)
    if looks_logged(values) if units.base is None else looks_logged(values, units):
        logs = LOG_OF_A_LOG.format(source=source, text=text, peak=peak_of(values))
        raise DataError(f"{logs}. {_looks(values)}")


def _refuse_impossible(
    values: NDArray[np.float32], units: Units, text: str, *, rows: Sequence[str], genes: Sequence[str], source: str
) -> None:
    lowest, highest = _range(units)
    if not (np.fmin.reduce(values, axis=None) < lowest or np.fmax.reduce(values, axis=None) > highest):
        return
    low, high = values < lowest, values > highest
    below = f"values below {round(lowest, 4) + 0.0:g}, the logarithm of the offset," if lowest else "negative values"
    kinds = {
        f"{below} as only z-scores, batch-corrected values or other logarithms have": int(low.sum()),
        f"values above {highest:.4g}; these are no logarithms": int(high.sum()),
    }
    found = " and ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    wrong = np.argwhere(low | high)
    spoiled = len(np.unique(wrong[:, 0]))
    others = "The others fit: correct these cells, or, where units are mixed, bring all samples to one scale; or"
    raise_together(
        DataError,
        f"{source} is in '{text}' but has {found} (in {spoiled} of {len(values)} samples). "
        f"{others if spoiled < len(values) else f'{_looks(values)};'} correct `units` (quantity, base and offset as "
        "they are, `z-score`, or words of your own, which are not checked):",
        [f"sample '{rows[row]}', gene '{genes[column]}': {values[row, column]:g}" for row, column in wrong[:100]],
    )


def _looks(values: NDArray[np.float32]) -> str:
    guess = guess_units(values)
    return f"The values look like {guess.units}: {guess.reason}"


def _refuse_mixed(values: NDArray[np.float32], *, rows: Sequence[str], source: str) -> None:
    if values.shape[1] < ENOUGH_GENES_OF_ONE:
        return
    peaks = np.fmax.reduce(values, axis=1)
    # A z-score may be as high, but never without negative ones beside it.
    linear = np.flatnonzero((peaks > HIGHEST_LOG) & (np.fmin.reduce(values, axis=1) >= 0))
    # A row at a time: of most tables no sample is low, and none is copied.
    logged = [row for row in np.flatnonzero(peaks < LOWEST_PEAK).tolist() if low_and_even(values[row][None])]
    if len(linear) and logged:
        raise DataError(
            f"{source} mixes units: {len(linear)} samples reach values as '{rows[linear[0]]}' does "
            f"({peaks[linear[0]]:.4g}), {len(logged)} stay low as '{rows[logged[0]]}' does ({peaks[logged[0]]:.4g}); "
            "bring all to one scale"
        )


def _range(units: Units) -> tuple[float, float]:
    """Least and most that a value in `units` may be."""
    if units.base is None:
        return 0.0, float("inf")
    highest = HIGHEST_LOG * float(np.log(2) / np.log(units.base))
    if units.offset <= 0:
        return -float("inf"), highest
    floor = float(np.log(units.offset) / np.log(units.base))
    # Tables are printed with few decimals, and -9.97 is not below log2(0.001); the rest is the rounding of float32.
    return min(round(floor, digits) for digits in range(1, 7)) - 1e-6 * max(1.0, abs(floor)), highest


def guess_units(values: NDArray[np.float32]) -> Guess:
    """What values (N, G) look like. A guess to hold against what the configuration says; nothing is done with it.

    Least and greatest are those of the table, shares and centres those of some samples spread evenly over it (of a
    whole transcriptome `_CELLS_LOOKED_AT` cells, and at least 20 samples).
    """
    low, high = (float(reduce(values, axis=None, initial=np.nan)) for reduce in (np.fmin.reduce, np.fmax.reduce))
    if np.isnan(low):
        return Guess("unknown", "there is no value")
    count = min(len(values), max(20, _CELLS_LOOKED_AT // values.shape[1]))
    values = values[np.linspace(0, len(values) - 1, count).round().astype(np.intp)]
    present = values[~np.isnan(values)].astype(np.float64)
    at_low = float((present == low).mean())
    # The lowest of few cells is a large share of them without being a floor.
    has_floor = at_low > 0.001 and int((present == low).sum()) >= _FLOOR_CELLS
    if low >= 0 and high > HIGHEST_LOG:
        return _guess_linear(values, present, high)
    floor = f"the lowest value {low:.4g} stands in {at_low:.1%} of the cells"
    if low >= 0:
        return Guess("log2(x + 1)", f"nothing is negative or above {high:.4g}, and {floor}: zeros, if 1 was added")
    deviations = np.nanstd(values, axis=0, dtype=np.float64)
    centred = float((np.abs(np.nanmean(values, axis=0, dtype=np.float64)) < 0.5 * deviations).mean())
    if has_floor and high <= HIGHEST_LOG:
        return Guess(f"log2(x + {2**low:.2g})", f"{floor}: zeros, if {2**low:.2g} was added before the logarithm")
    if centred > 0.5:
        units = "z-score" if high <= HIGHEST_LOG else "z-score, with outliers"
        return Guess(units, f"{centred:.0%} of the genes lie around zero within half their deviation, up to {high:.4g}")
    return Guess("log2(x) or a difference", f"values from {low:.4g} to {high:.4g}, without a floor or a common centre")


def _guess_linear(values: NDArray[np.float32], present: Array, high: float) -> Guess:
    if bool((present == np.round(present)).all()):
        return Guess("counts", f"all values are whole numbers, up to {high:.4g}")
    totals = np.nansum(values, axis=1, dtype=np.float64)
    if float(np.abs(totals / 1e6 - 1).max()) < 0.02:
        return Guess("TPM", "nothing is negative and each sample adds up to a million")
    return Guess("FPKM, RSEM or part of a TPM table", f"nothing is negative, values reach {high:.4g}, sums differ")
