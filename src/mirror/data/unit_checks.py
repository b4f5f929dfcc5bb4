"""Units held against the values: what cannot be is refused, with names; what the values look like is guessed.

Legend: N patients, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.data.conversion import HIGHEST_LOG, LOG_OF_A_LOG, looks_logged, peak_of, to_linear
from mirror.data.mixed_units import refuse_mixed
from mirror.errors import DataError, raise_together
from mirror.units import Units, parse_units

Array = NDArray[np.float64]

_CELLS_LOOKED_AT = 4_000_000
_FLOOR_CELLS, _FLOOR_SHARE = 5, 0.05
_MILLION, _ROUNDED = 1e6, 0.02
_SUMS_LOOKED_AT, _TRANSCRIPTOME = 20, 1_000
# Counts up to here come back from a logarithm of two decimals to a tenth.
_LARGEST_TELLING = 30.0
_OFFSETS = (1.0, 0.5, 0.1, 0.01, 0.001, 1e-4, 1e-5, 1e-6)
_PRINTED = 0.005


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
    `HIGHEST_LOG` in base 2; `counts` that are no whole numbers; TPM of a sample that add up to more than a million, or
    to less where those of most samples do; and zeros that stand where another offset or base has them. From 1,000 genes
    on: logarithms of TPM that add up to a million in another base, in every sample. Refused by the look of it: samples
    in other units than the rest (`refuse_mixed`), and a table that is a logarithm once more than `text` says
    (`looks_logged`, from 50 genes of 20 samples or 200 genes on). Z-scores and `other` are not checked.
    """
    units = parse_units(text)
    if not units.measured or not values.size:
        return
    refuse_mixed(values, units, text, rows=rows, source=source)
    _refuse_impossible(values, units, text, rows=rows, genes=genes, source=source)
    problems = {row: problem for row, problem in enumerate(map(partial(_problem, units=units), values)) if problem}
    if units.quantity == "TPM" and not problems:
        problems = _short_of_a_million(values, units)
    if problems:  # a guess is not made for nothing
        raise_together(
            DataError,
            f"{source} is in '{text}', but {len(problems)} of {len(values)} samples are not. {_looks(values)}; correct "
            "`units` (`other, ...` is not checked), or these samples:",
            [f"sample '{rows[row]}': {problem}" for row, problem in problems.items()],
        )
    if units.quantity == "TPM" and (base := _base_of_a_million(values, units)):
        raise DataError(
            f"{source} is in '{text}', but read as {base} each sample adds up to a million, as a whole transcriptome "
            f"in TPM must, and read as {units} none does; correct `units` (`other, ...` is not checked)"
        )
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
        "they are, `z-score`, or `other, ...`, which is not checked):",
        [f"sample '{rows[row]}', gene '{genes[column]}': {values[row, column]:g}" for row, column in wrong[:100]],
    )


def _looks(values: NDArray[np.float32]) -> str:
    guess = guess_units(values)
    return f"The values look like {guess.units}: {guess.reason}"


def _problem(sample: NDArray[np.float32], units: Units) -> str | None:
    """What of one sample (G,) cannot be in `units` though none of its values is out of range; None where nothing is."""
    if units.quantity == "counts" and (problem := _not_whole(sample, units)):
        return problem
    if units.quantity == "TPM" and (total := _total(sample, units)) > _MILLION * (1 + _ROUNDED):
        return f"adds up to {total:.4g}; TPM adds up to a million, or less where genes were left out"
    return _other_zeros(sample, units) if units.offset else None


def _total(sample: NDArray[np.float32], units: Units) -> float:
    return float(np.nansum(to_linear(sample[None], units), dtype=np.float64))


def _not_whole(sample: NDArray[np.float32], units: Units) -> str | None:
    linear, logged = to_linear(sample[None], units)[0], units.base is not None
    # A logarithm is printed with few decimals, so that large counts do not come back whole.
    judged = linear[(linear > 0.1) & (linear < _LARGEST_TELLING)] if logged else linear[~np.isnan(linear)]
    off = np.abs(judged - np.round(judged)) > (0.1 if logged else 0)
    if not off.any() or (logged and (len(judged) < _FLOOR_CELLS or off.mean() < 0.5)):
        return None
    return (
        f"{int(off.sum())} of {len(judged)} values are no whole numbers, such as {judged[off][0]:.4g}; what a program "
        "estimated is `expected_count`, what was scaled is `norm_count`"
    )


def _other_zeros(sample: NDArray[np.float32], units: Units) -> str | None:
    lowest = float(np.fmin.reduce(sample))
    at_lowest, present = int((sample == lowest).sum()), int((~np.isnan(sample)).sum())
    zero = (units.base or 1) ** lowest - units.offset
    if at_lowest < max(_FLOOR_CELLS, _FLOOR_SHARE * present) or abs(zero) <= 0.05 * units.offset:
        return None
    others = [Units(units.quantity, base, offset) for offset in _OFFSETS for base in (2.0, 10.0, float(np.e))]
    for other in others:
        if abs(lowest - np.log(other.offset) / np.log(other.base or 1)) < _PRINTED:
            return (
                f"its lowest value {lowest:.4g} stands in {at_lowest} of {present} genes, where {other} has its zeros "
                f"and {units} has {np.log(units.offset) / np.log(units.base or 1):.4g}"
            )
    return None


def _short_of_a_million(values: NDArray[np.float32], units: Units) -> dict[int, str]:
    """Samples that do not add up to a million though most do, as TPM of a whole transcriptome must."""
    totals = np.array([_total(row, units) for row in values])
    whole = ~np.isnan(values).any(axis=1)
    full = np.abs(totals / _MILLION - 1) < _ROUNDED
    if len(values) < 2 or full.sum() * 2 <= len(values):
        return {}
    short = np.flatnonzero(whole & ~full)
    return {int(row): f"adds up to {totals[row]:.4g}, where {int(full.sum())} others make a million" for row in short}


def _base_of_a_million(values: NDArray[np.float32], units: Units) -> Units | None:
    """The units of another base in which every sample adds up to a million, where none does in `units`."""
    some = values[np.linspace(0, len(values) - 1, min(len(values), _SUMS_LOOKED_AT)).round().astype(np.intp)]
    some = some[~np.isnan(some).any(axis=1)]
    # A few genes of a million together, in either base, are no transcriptome.
    if units.base is None or not len(some) or values.shape[1] < _TRANSCRIPTOME or _whole(some, units).any():
        return None
    others = (Units(units.quantity, base, units.offset) for base in (2.0, 10.0, float(np.e)) if base != units.base)
    return next((other for other in others if _whole(some, other).all()), None)


def _whole(values: NDArray[np.float32], units: Units) -> NDArray[np.bool_]:
    """Whether each sample (N,) adds up to a million."""
    return np.array([abs(_total(row, units) / _MILLION - 1) < _ROUNDED for row in values])


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
        zeros = "zeros, if 1 was added" if has_floor and low < _PRINTED else "no zeros that would tell what was added"
        return Guess("log2(x + 1)", f"nothing is negative or above {high:.4g}, and {floor}: {zeros}")
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
