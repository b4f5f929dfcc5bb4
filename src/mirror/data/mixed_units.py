"""Samples of one table held against each other: some in other units than the rest are refused, with their names.

What one sample says of itself is in `unit_checks`. Here two signs count that a change of scale moves together, and that
little else does: the mean and the deviation, over genes, of log2(1 + x). A deeper library raises the mean, a poor one
the deviation; ln in place of log2 makes both 0.69 of what they were, log10 0.30, one logarithm too many about a half.

Legend: N samples, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mirror.data.conversion import HIGHEST_LOG, LOWEST_PEAK, low_and_even, to_linear
from mirror.errors import DataError, raise_together
from mirror.units import Units

Array = NDArray[np.float64]

_GENES_LOOKED_AT = 2_000
_FEW_GENES, _SOME_GENES = 20, 50
# The thresholds, and how often they err, come from random draws of genes and samples out of four real tables
# (RSEM of six cancers, TPM of three) and simulated ones: docs/log.md, 2026-11-26, units that are mixed.
_GAP, _RATIO, _APART = np.log(1.8), np.log(1.25), 4.0
# What log10 and ln are of ln and log2, and any logarithm of log2.
_OTHER_BASES = (float(np.log(2)), float(1 / np.log(10)), float(np.log10(2)))
_LOGARITHMS = (1.0, *_OTHER_BASES)
_TELLING_GENES, _MANY_GENES, _EXPRESSED = 8, 50, 3.0
_NEAR, _EVEN, _EVEN_SHARE = np.log(1.25), 1.5, 0.6
_LEAST_SAMPLES, _LEAST_SHARE = 3, 0.05
_BY_DEPTH = ("counts", "expected_count")


def refuse_mixed(values: NDArray[np.float32], units: Units, text: str, *, rows: Sequence[str], source: str) -> None:
    """Raise `DataError` that names samples where some of `values` (N, G) are in other units than the rest.

    From 50 genes on: samples that look like logarithms (`low_and_even`) beside some that reach above 64 without a
    negative value, where 50 genes are above 64 in the median of those, or 8 that are gene by gene what a logarithm
    makes of that median. For amounts that do not grow with the depth of sequencing also two sets of samples on two
    scales: from 20 genes on a gap of 1.8 times in mean and deviation of log2(1 + x), around a single sample too; from
    50 genes on a ratio of 1.25 that is four times the spread within either set, of at least 3 samples and 5 %; either
    only where the medians of 8 genes or more, expressed in the upper set, differ by the ratio of two logarithms, gene
    by gene. So a table of genes that are all low in most samples is not refused for them.
    """
    genes = np.unique(np.linspace(0, values.shape[1] - 1, _GENES_LOOKED_AT).round().astype(np.intp))
    some = values[:, genes]
    _refuse_logarithms_beside_amounts(values, rows=rows, source=source)
    # A value that is no logarithm would overflow; it is refused by itself.
    if units.quantity in _BY_DEPTH or (units.base is not None and np.fmax.reduce(some, axis=None) > HIGHEST_LOG):
        return
    logged = np.log2(1 + np.maximum(to_linear(some, units), 0))  # what is negative is refused by itself
    scale = _scale(logged)
    known = np.flatnonzero(~np.isnan(scale))
    low = known[_lower_set(scale[known], genes=len(genes))]
    if not len(low):
        return
    high = np.setdiff1d(known, low)
    above = _typical(logged[high])
    told = np.flatnonzero(above >= _EXPRESSED)
    if not _is_multiple(_typical(logged[low][:, told]), above[told], _OTHER_BASES):
        return
    fewer, others = (low, high) if len(low) <= len(high) else (high, low)
    ratio = np.exp(np.median(scale[fewer]) - np.median(scale[others]))
    raise_together(
        DataError,
        f"{source} mixes units: read as '{text}', {len(fewer)} samples are on another scale than the other "
        f"{len(others)}, such as '{rows[others.min()]}': mean and deviation of log2(1 + x) are {ratio:.2f} of theirs "
        "(ln in place of log2 makes 0.69, log10 0.30). Bring all to one scale or leave them out; if they are as they "
        "should be, `units: other, ...` is not checked:",
        [f"sample '{rows[row]}'" for row in np.sort(fewer)],
    )


def _refuse_logarithms_beside_amounts(values: NDArray[np.float32], *, rows: Sequence[str], source: str) -> None:
    if values.shape[1] < _SOME_GENES:
        return
    peaks = np.fmax.reduce(values, axis=1)
    # A z-score may be as high, but never without negative ones beside it.
    linear = np.flatnonzero((peaks > HIGHEST_LOG) & (np.fmin.reduce(values, axis=1) >= 0))
    # A row at a time: of most tables no sample is low, and none is copied.
    low = [row for row in np.flatnonzero(peaks < LOWEST_PEAK).tolist() if low_and_even(values[row][None])]
    if not len(linear) or not low:
        return
    # Genes that are low in most samples are low in some by themselves, so only those that are high in most can tell.
    amounts = _typical(values[linear])
    told = np.flatnonzero(amounts > HIGHEST_LOG)
    logged = low
    if len(told) < _MANY_GENES:
        logged = [row for row in low if _is_multiple(values[row, told], np.log2(1 + amounts[told]), _LOGARITHMS)]
    if logged:
        raise DataError(
            f"{source} mixes units: {len(linear)} samples reach values as '{rows[linear[0]]}' does "
            f"({peaks[linear[0]]:.4g}), {len(logged)} stay low as '{rows[logged[0]]}' does ({peaks[logged[0]]:.4g}), "
            f"as logarithms of the {len(told)} genes that are high in the others would; bring all to one scale. If "
            "they are as they should be, `units: other, ...` is not checked"
        )


def _typical(values: NDArray[np.float32]) -> Array:
    """Median (G,) over the samples of `values` (N, G) that have the gene; 0 where none has."""
    known = ~np.isnan(values).all(axis=0)
    typical = np.zeros(values.shape[1])
    typical[known] = np.nanmedian(values[:, known], axis=0)
    return typical


def _is_multiple(values: NDArray[np.float32] | Array, of: Array, factors: Sequence[float]) -> bool:
    """Whether `values` (G,) are `of` (G,), all positive, times one of the factors, gene by gene.

    Biology takes some genes down much further than others, and a poor library the low ones further than the high ones;
    a change of logarithm takes all down alike.
    """
    present = ~np.isnan(values)
    values, of = values[present], of[present]
    if len(values) < _TELLING_GENES:
        return False
    ratios = values / of
    factor = float(np.median(ratios))
    if not any(abs(np.log(max(factor, 1e-9) / known)) < _NEAR for known in factors):
        return False
    even = (ratios > factor / _EVEN) & (ratios < factor * _EVEN)
    return float(even.mean()) >= _EVEN_SHARE


def _scale(logged: NDArray[np.float32]) -> Array:
    """How far mean and deviation of `logged`, log2(1 + x), (N, G), lie together from their medians over samples.

    The logarithm (N,) of the nearer of the two ratios, 0 where they go different ways, NaN of a sample without any
    positive value.
    """
    present = ~np.isnan(logged)
    count = np.maximum(present.sum(axis=1), 1)
    mean = np.nansum(logged, axis=1, dtype=np.float64) / count
    squares = np.nansum(np.square(logged, dtype=np.float64), axis=1)
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    signs = np.log(np.maximum([mean, deviation], 1e-9))
    expressed = mean > 0
    signs[:, ~expressed] = np.nan
    if expressed.any():
        signs = signs - np.nanmedian(signs, axis=1, keepdims=True)
    nearer = np.where(np.abs(signs[0]) < np.abs(signs[1]), signs[0], signs[1])
    return np.where(signs[0] * signs[1] < 0, 0.0, nearer)


def _lower_set(scale: Array, *, genes: int) -> NDArray[np.intp]:
    """Places in `scale` (N,) of the lower of two sets that are apart; none where there is one set."""
    order = np.argsort(scale, kind="stable")
    ordered = scale[order]
    if genes < _FEW_GENES or len(ordered) < 2:
        return order[:0]
    gaps = np.diff(ordered)
    if gaps.max() > _GAP:
        return order[: gaps.argmax() + 1]
    least = max(_LEAST_SAMPLES, int(np.ceil(_LEAST_SHARE * len(ordered))))
    if genes < _SOME_GENES or len(ordered) < 2 * least:
        return order[:0]
    cut = _best_cut(ordered, least)
    low, high = ordered[:cut], ordered[cut:]
    apart = np.median(high) - np.median(low)
    spread = max(1.4826 * float(np.median(np.abs(part - np.median(part)))) for part in (low, high))
    return order[:cut] if apart > max(_RATIO, _APART * spread) else order[:0]


def _best_cut(ordered: Array, least: int) -> int:
    """Where to cut ascending numbers in two, each of `least` or more, so that the squares within are smallest."""
    total, count = np.cumsum(ordered), len(ordered)
    cuts = np.arange(least, count - least + 1)
    below = total[cuts - 1]
    return int(cuts[np.argmax(below**2 / cuts + (total[-1] - below) ** 2 / (count - cuts))])
