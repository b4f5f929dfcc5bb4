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
# A whole transcriptome always has a gene above this on a linear scale; a short list of genes need not.
_LOWEST_PEAK = 30.0
_WHOLE = 1000


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

    A change of quantity goes sample by sample over the genes of the table: FPKM, RSEM or any other relative one to TPM
    and counts to CPM by their sum. Raises `ConfigError` for what cannot be done (z-scores, which only their own study's
    means and deviations undo; counts to TPM, which needs lengths), `DataError` for a log of a log.
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
    if after.base is not None and before.base is None and values.shape[1] >= _WHOLE:
        peak = float(np.nanmax(values, initial=0))
        if peak < _LOWEST_PEAK:
            raise DataError(
                f"{source} is in '{given}' by the configuration, but no value is above {peak:.3g}: this looks like a "
                "logarithm already, and a log of a log means nothing; correct `units`"
            )
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
    """Raise `DataError` that names rows and genes where the values cannot be in the units the configuration says.

    Refused: negative values on a linear scale, logarithms that no measurement has, and a table in which some samples
    look linear and others logarithmic. Units of unknown form and z-scores are not checked.
    """
    units = parse_units(text)
    if units is None or units.quantity == "z-score" or not values.size:
        return
    lowest, highest = _range(units)
    wrong = np.argwhere((values < lowest) | (values > highest))
    cells = [f"'{rows[row]}', gene '{genes[column]}': {values[row, column]:g}" for row, column in wrong[:100]]
    peaks = np.array([np.nanmax(row, initial=-np.inf) for row in values])
    whole = values.shape[1] >= _WHOLE
    # An empty sample is of no scale.
    linear, logged = (
        np.flatnonzero(peaks > HIGHEST_LOG),
        np.flatnonzero((peaks < _LOWEST_PEAK) & (peaks != 0) & np.isfinite(peaks)),
    )
    if whole and len(linear) and len(logged):
        raise DataError(
            f"{source} mixes units: {len(linear)} samples reach values as '{rows[linear[0]]}' does "
            f"({peaks[linear[0]]:.4g}), {len(logged)} stay low as '{rows[logged[0]]}' does ({peaks[logged[0]]:.4g}); "
            "bring all to one scale"
        )
    what = "negative values" if units.base is None else f"values above {highest:.4g}"
    remedy = "these are logarithms or z-scores" if units.base is None else "these are no logarithms"
    raise_together(DataError, f"{source} is in '{text}' but has {len(wrong)} {what}; {remedy}? Correct `units`:", cells)


def _range(units: Units) -> tuple[float, float]:
    """Least and most that a value in `units` may be."""
    if units.base is None:
        return 0.0, float("inf")
    return -float("inf"), HIGHEST_LOG * float(np.log(2) / np.log(units.base))


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
