"""Units of expression: named, checked against the values, converted by explicit steps, and what cannot be undone.

The known form is a quantity, or a logarithm of it: `counts`, `TPM`, `FPKM`, `FPKM-UQ`, `RSEM`, `CPM`;
`log2(TPM + 0.001)`, `log10(...)`, `ln(...)`, with a remark after a comma; and whatever says `z-score`. Other words are
kept as they are and can neither be checked nor converted. Legend: N patients, G genes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirror.errors import ConfigError, DataError, raise_together

_QUANTITIES = ("counts", "TPM", "FPKM", "FPKM-UQ", "RSEM", "CPM")
_BASES = {"log2": 2.0, "log10": 10.0, "ln": float(np.e), "log": float(np.e)}
_FORM = re.compile(
    r"^(?:(?P<log>log2|log10|ln|log)\s*\(\s*)?(?P<quantity>[A-Za-z-]+)\s*(?:\+\s*(?P<offset>\d[\d.e-]*))?\s*\)?\s*(?:,.*)?$"
)
# Anywhere: z-scores of a logarithm are z-scores, and nothing that undoes the logarithm undoes them.
_Z_SCORE = re.compile(r"\bz[- ]?scored?s?\b", re.IGNORECASE)

HIGHEST_LOG = 64.0
"""No measurement is 2 to this power: larger values, in logarithms of base 2, are no logarithms."""
# Signs of a logarithm on what should be a linear scale; `looks_logged` says where they come from.
_LOWEST_PEAK, _LEAST_SKEW, _ENOUGH_GENES, _ENOUGH_GENES_OF_ONE = 30.0, 2.0, 50, 200


@dataclass(frozen=True, slots=True)
class Units:
    """`quantity` (one of the known, or `z-score`), and the base and offset of its logarithm (None: linear)."""

    quantity: str
    base: float | None = None
    offset: float = 0.0


def parse_units(text: str) -> Units | None:
    """The units that `text` names, or None where it is of no known form."""
    if _Z_SCORE.search(text):
        return Units("z-score")
    match = _FORM.match(text.strip())
    quantity = next((name for name in _QUANTITIES if match and name.lower() == match["quantity"].lower()), None)
    if match is None or quantity is None or (match["offset"] and not match["log"]):
        return None
    return Units(quantity, _BASES.get(match["log"] or ""), float(match["offset"] or 0))


def convert(values: NDArray[np.float32], given: str, wanted: str, *, source: str) -> NDArray[np.float32]:
    """Values (N, G) in units `given` taken to `wanted`; by way of the linear scale where the logarithms differ.

    A change of quantity goes sample by sample over the genes of the table: FPKM (and FPKM-UQ) to TPM and counts to CPM,
    by their sum. Raises `ConfigError` for what cannot be done (z-scores, which only their own study's means and
    deviations undo; counts or RSEM to TPM, which needs lengths), `DataError` for a log of a log (`looks_logged`).
    """
    before, after = parse_units(given), parse_units(wanted)
    if before is None or after is None:
        unknown = given if before is None else wanted
        raise ConfigError(
            f"'{unknown}' is no known form of units, so nothing converts to or from it; write one of "
            f"{', '.join(_QUANTITIES)} or its logarithm, such as log2(TPM + 1)"
        )
    if before == after:
        return values
    if "z-score" in (before.quantity, after.quantity):
        raise ConfigError(
            f"'{given}' does not become '{wanted}': a z-score is undone only with the means and deviations of the "
            "study that made it; start from the values before, and let `expression_transform: standardise` scale them"
        )
    if after.base is not None and before.base is None and looks_logged(values):
        raise DataError(_LOG_OF_A_LOG.format(source=source, text=given, peak=_peak(values)))
    return _logged(_requantified(to_linear(values, before), before, after, given, wanted), after)


def to_linear(values: NDArray[np.float32], units: Units) -> NDArray[np.float32]:
    """The values without the logarithm; what rounding made negative is 0."""
    if units.base is None:
        return values
    linear = np.empty_like(values)
    for row, given in enumerate(values):  # float64 of a whole table would be its memory twice over
        linear[row] = np.maximum(np.power(units.base, given.astype(np.float64)) - units.offset, 0)
    return linear


def from_linear(values: NDArray[np.float32], units: Units) -> NDArray[np.float32]:
    """The inverse of `to_linear`."""
    return _logged(values, units)


def check_units(
    values: NDArray[np.float32], text: str, *, rows: Sequence[str], genes: Sequence[str], source: str
) -> None:
    """Raise `DataError` that names samples and genes where the values (N, G) cannot be in the units `text`.

    Refused in a table of any size: what no measurement gives, which is a negative value on a linear scale, a logarithm
    below that of its offset (log2(0.001) under `log2(TPM + 0.001)`, rounded to whatever decimals), and one above
    `HIGHEST_LOG` in base 2. Refused by the look of it: a table that is a logarithm once more than `text` says
    (`looks_logged`, from 50 genes on), and a mixture of samples that reach above 64 without a negative value and others
    that each look like logarithms (from 200 genes on, for one sample says less than many). Z-scores and units of
    unknown form are not checked.
    """
    units = parse_units(text)
    if units is None or units.quantity == "z-score" or not values.size:
        return
    _refuse_mixed(values, rows=rows, source=source)
    _refuse_impossible(values, units, text, rows=rows, genes=genes, source=source)
    if looks_logged(values) if units.base is None else looks_logged(values, units):
        raise DataError(_LOG_OF_A_LOG.format(source=source, text=text, peak=_peak(values)))


def looks_logged(values: NDArray[np.float32], units: Units | None = None) -> bool:
    """Whether values (N, G) that should be linear (or logarithms in `units`) look like logarithms (of logarithms).

    They do when, on the linear scale, none is above 30, not all are whole numbers, and the mean of the positive ones is
    less than twice their median: expression is skewed, its logarithm is not. Fewer than 50 genes never do, for a few
    genes may all be low and alike. Of 50 and more genes drawn at random from the 20,531 of a real matrix of RSEM, taken
    as counts per million and as a fifth of that, no linear draw of 200 met all three, and every logarithm did.
    """
    return values.shape[1] >= _ENOUGH_GENES and _is_low_and_even(values, units)


_LOG_OF_A_LOG = (
    "{source} is in '{text}' by the configuration, but no value is above {peak:.3g} and they are spread as logarithms "
    "are: this looks like a logarithm already (or once more), and a log of a log means nothing; correct `units`, or "
    "start from the values before"
)


def _is_low_and_even(values: NDArray[np.float32], units: Units | None = None) -> bool:
    peak = np.array([_peak(values)], dtype=np.float32)
    if not (peak if units is None else to_linear(peak[None], units)[0])[0] < _LOWEST_PEAK:
        return False
    linear = values if units is None else to_linear(values, units)
    positive = linear[linear > 0]
    if not positive.size or bool((positive == np.round(positive)).all()):
        return False
    return float(positive.mean(dtype=np.float64)) < _LEAST_SKEW * float(np.median(positive))


def _refuse_impossible(
    values: NDArray[np.float32], units: Units, text: str, *, rows: Sequence[str], genes: Sequence[str], source: str
) -> None:
    lowest, highest = _range(units)
    if not (np.fmin.reduce(values, axis=None) < lowest or np.fmax.reduce(values, axis=None) > highest):
        return
    low, high = values < lowest, values > highest
    found: list[str] = []
    if low.any():
        below = (
            "negative values"
            if lowest == 0
            else f"values below {round(lowest, 4) + 0.0:g}, the logarithm of the offset,"
        )
        found.append(f"{int(low.sum())} {below} as only z-scores, batch-corrected values or other logarithms have")
    if high.any():
        found.append(f"{int(high.sum())} values above {highest:.4g}; these are no logarithms")
    wrong = np.argwhere(low | high)
    spoiled = len(np.unique(wrong[:, 0]))
    some = "" if spoiled == len(values) else "; the others fit, so units may be mixed: bring all samples to one scale"
    raise_together(
        DataError,
        f"{source} is in '{text}' but has {' and '.join(found)} (in {spoiled} of {len(values)} samples{some}). Correct "
        "`units`: the quantity, base and offset as they are, `z-score`, or words of your own, which are not checked:",
        [f"sample '{rows[row]}', gene '{genes[column]}': {values[row, column]:g}" for row, column in wrong[:100]],
    )


def _refuse_mixed(values: NDArray[np.float32], *, rows: Sequence[str], source: str) -> None:
    if values.shape[1] < _ENOUGH_GENES_OF_ONE:
        return
    peaks = np.fmax.reduce(values, axis=1)
    # A z-score may be as high, but never without negative ones beside it.
    linear = np.flatnonzero((peaks > HIGHEST_LOG) & (np.fmin.reduce(values, axis=1) >= 0))
    # A row at a time: of most tables no sample is low, and none is copied.
    logged = [row for row in np.flatnonzero(peaks < _LOWEST_PEAK) if _is_low_and_even(values[row][None])]
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


def _peak(values: NDArray[np.float32]) -> float:
    return float(np.fmax.reduce(values, axis=None))


def _requantified(
    linear: NDArray[np.float32], before: Units, after: Units, given: str, wanted: str
) -> NDArray[np.float32]:
    if before.quantity == after.quantity:
        return linear
    by_sum = after.quantity == "TPM" and before.quantity in {"FPKM", "FPKM-UQ"}
    if not by_sum and (before.quantity, after.quantity) != ("counts", "CPM"):
        raise ConfigError(
            f"'{given}' does not become '{wanted}': that needs what the table does not have (gene lengths, or the size "
            "of each library); only FPKM to TPM and counts to CPM follow from the values themselves"
        )
    totals = np.nansum(linear, axis=1, dtype=np.float64, keepdims=True)
    return (linear * (1e6 / np.maximum(totals, np.finfo(np.float64).tiny))).astype(np.float32)


def _logged(linear: NDArray[np.float32], units: Units) -> NDArray[np.float32]:
    if units.base is None:
        return linear
    if units.offset <= 0 and bool((linear <= 0).any()):
        raise ConfigError("a logarithm without offset has no value at 0; write one, such as log2(TPM + 1)")
    logged = np.empty_like(linear)
    for row, given in enumerate(linear):
        logged[row] = np.log(given.astype(np.float64) + units.offset) / np.log(units.base)
    return logged
