"""Expression taken from one unit to another by explicit steps, and what cannot be undone.

Legend: N patients, G genes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mirror.errors import ConfigError, DataError
from mirror.units import Units, parse_units

HIGHEST_LOG = 64.0
"""No measurement is 2 to this power: larger values, in logarithms of base 2, are no logarithms."""
# Signs of a logarithm on what should be a linear scale; `looks_logged` says where they come from.
LOWEST_PEAK, _LEAST_SKEW = 30.0, 2.0
_ENOUGH_GENES, _ENOUGH_SAMPLES, _ENOUGH_GENES_OF_ONE = 50, 20, 200


def convert(values: NDArray[np.float32], given: str, wanted: str, *, source: str) -> NDArray[np.float32]:
    """Values (N, G) in units `given` taken to `wanted`; by way of the linear scale where the logarithms differ.

    A change of quantity goes sample by sample over the genes of the table: FPKM (and FPKM-UQ, RPKM) to TPM, and counts
    (and expected_count) to CPM, by their sum. Raises `ConfigError` for what cannot be done (z-scores, which only their
    own study's means and deviations undo; counts or RSEM to TPM, which needs lengths), `DataError` for a log of a log
    (`looks_logged`).
    """
    before, after = parse_units(given), parse_units(wanted)
    if "other" in (before.quantity, after.quantity):
        unknown = given if before.quantity == "other" else wanted
        raise ConfigError(
            f"'{unknown}' is in words of your own, so nothing converts to or from it; write what the values are, "
            "such as log2(TPM + 1)"
        )
    if before == after:
        return values
    if "z-score" in (before.quantity, after.quantity):
        raise ConfigError(
            f"'{given}' does not become '{wanted}': a z-score is undone only with the means and deviations of the "
            "study that made it; start from the values before, and let `expression_transform: standardise` scale them"
        )
    if after.base is not None and before.base is None and looks_logged(values):
        raise DataError(LOG_OF_A_LOG.format(source=source, text=given, peak=peak_of(values)))
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


def looks_logged(values: NDArray[np.float32], units: Units | None = None) -> bool:
    """Whether values (N, G) that should be linear (or logarithms in `units`) look like logarithms (of logarithms).

    They do when, on the linear scale, none is above 30, not all are whole numbers, and the mean of the positive ones is
    less than twice their median: expression is skewed, its logarithm is not. Fewer than 50 genes (200 of fewer than 20
    samples) never do, for a few genes may all be low and alike. The counts come from random draws of genes out of the
    20,531 of a real matrix of RSEM, as they are, as counts per million and as a fifth of that: of 200 draws each of 50
    genes and 20 samples no linear one met all three and every logarithm did; of 4,000 draws each of 200 genes and one
    sample no linear one did.
    """
    genes = _ENOUGH_GENES if len(values) >= _ENOUGH_SAMPLES else _ENOUGH_GENES_OF_ONE
    return values.shape[1] >= genes and low_and_even(values, units)


LOG_OF_A_LOG = (
    "{source} is in '{text}' by the configuration, but no value is above {peak:.3g} and they are spread as logarithms "
    "are: this looks like a logarithm already (or once more), and a log of a log means nothing; correct `units`, or "
    "start from the values before; if they are as they should be, `units: other, ...` is neither checked nor converted"
)
"""Formatted with `source`, `text` (the units that the configuration gives) and `peak` (the greatest value)."""


def low_and_even(values: NDArray[np.float32], units: Units | None = None) -> bool:
    """The three signs of `looks_logged`, for any number of genes."""
    peak = np.array([peak_of(values)], dtype=np.float32)
    if not (peak if units is None else to_linear(peak[None], units)[0])[0] < LOWEST_PEAK:
        return False
    linear = values if units is None else to_linear(values, units)
    positive = linear[linear > 0]
    if not positive.size or bool((positive == np.round(positive)).all()):
        return False
    return float(positive.mean(dtype=np.float64)) < _LEAST_SKEW * float(np.median(positive))


def peak_of(values: NDArray[np.float32]) -> float:
    """The greatest value; NaN where there is none."""
    return float(np.fmax.reduce(values, axis=None))


def _requantified(
    linear: NDArray[np.float32], before: Units, after: Units, given: str, wanted: str
) -> NDArray[np.float32]:
    if before.quantity == after.quantity:
        return linear
    by_sum = after.quantity == "TPM" and before.quantity in {"FPKM", "FPKM-UQ", "RPKM"}
    if not by_sum and not (after.quantity == "CPM" and before.quantity in {"counts", "expected_count"}):
        raise ConfigError(
            f"'{given}' does not become '{wanted}': that needs what the table does not have (gene lengths, or the size "
            "of each library); only FPKM to TPM and counts to CPM follow from the values themselves"
        )
    totals = np.nansum(linear, axis=1, dtype=np.float64, keepdims=True)
    # A sample in which nothing was measured has no shares; its zeros stay what they are.
    scale = np.divide(1e6, totals, out=np.zeros_like(totals), where=totals > 0)
    return (linear * scale).astype(np.float32)


def _logged(linear: NDArray[np.float32], units: Units) -> NDArray[np.float32]:
    if units.base is None:
        return linear
    if units.offset <= 0 and bool((linear <= 0).any()):
        raise ConfigError("a logarithm without offset has no value at 0; write one, such as log2(TPM + 1)")
    logged = np.empty_like(linear)
    for row, given in enumerate(linear):
        logged[row] = np.log(given.astype(np.float64) + units.offset) / np.log(units.base)
    return logged
