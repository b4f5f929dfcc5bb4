"""Which tiles show what goes with a number: the method `pattern`.

The weights of a linear head are no map of where its signal sits: they also cancel what disturbs it (Haufe et al., 2014,
NeuroImage 87). Where more of the number is, its pattern says: by how much the mean tile of training patients shifts
with the number. How tiles differ within a slide whatever the number is, tumour from stroma or one field from the next,
is noise to that shift, and so is part of how slides differ, stain first. So a tile's value is the best linear
prediction of the number from the tile alone, of tiles that are the mean tile, shifted by the number, plus such noise;
its weights are those of Fisher's discriminant.

Under a number linear in the mean tile, values rise with what each tile adds to the number (`contributions`): their
covariance, under that of the noise, is never negative.

Legend: N training patients, T tiles, D tile-feature width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from mirror.data.feature_store import Bag
from mirror.errors import DataError
from mirror.evaluation.metrics import Floats
from mirror.seeding import rng_for

SLIDES, TILES = 128, 128
"""Most training slides, and most tiles of each, that the covariance of tiles is estimated on."""
BETWEEN = 0.25
"""How much of the covariance of mean tiles is noise too. It is common to all tiles of a slide, so it tells none from
the next; but a shift estimated from few patients errs along it. Chosen on the demo's slides and those of seed 0 of the
exam (docs/log.md)."""


class Tissue(NamedTuple):
    """How tiles differ about their own slide's mean: their covariance `within` (D, D), in units of `deviation` (D,) and
    shrunk after Ledoit and Wolf (2004)."""

    within: Floats
    deviation: Floats


@dataclass(frozen=True, slots=True)
class Seen:
    """The training patients of a run: their mean tiles (N, D), what the model's `views` say of them (N, ...), their
    expression as the model embeds it (N, E), a row of NaN where there is none, and `within` and `deviation` of their
    `Tissue`. `between` is the share of the covariance of mean tiles that counts as noise."""

    means: Floats
    views: Mapping[str, Tensor]
    expression: Tensor
    within: Floats
    deviation: Floats
    fitted_on: tuple[str, ...]
    between: float = BETWEEN


def within_slides(bags: Iterable[Bag], *, seed: int) -> Tissue:
    """On `TILES` tiles of each of the first `SLIDES` slides.

    Raises `DataError` where no slide has two tiles.
    """
    away: list[NDArray[np.float64]] = []
    for bag, _ in zip(bags, range(SLIDES), strict=False):
        drawn = rng_for(seed, "tiles of a tissue", bag.path.stem).permutation(bag.tiles)[:TILES]
        rows = bag.read(np.sort(drawn)).astype(np.float64)
        if len(rows) > 1:
            away.append(rows - rows.mean(axis=0))
    if not away:
        raise DataError("no training slide has two tiles to compare, which the method 'pattern' does")
    every = np.concatenate(away)
    deviation = every.std(axis=0)
    deviation = np.where(deviation > 1e-9 * max(deviation.max(initial=0.0), 1e-300), deviation, np.inf)
    return Tissue(shrunk_covariance(every / deviation), deviation)


def shrunk_covariance(rows_ND: Floats) -> Floats:
    """The covariance (D, D) of centred rows, shrunk to a multiple of the identity by as much as Ledoit and Wolf (2004,
    "A well-conditioned estimator for large-dimensional covariance matrices", section 3.3) find best.

    That of scikit-learn, which also forms the product of the squares, (D, D), to take nothing but its sum: here that is
    the sum of the rows' own squared lengths, squared.
    """
    rows, width = rows_ND.shape
    with threadpool_limits(1):  # the same sums in the same order on every machine
        plain = rows_ND.T @ rows_ND / rows
    scale = np.trace(plain) / width
    away = (np.sum(plain**2) - width * scale**2) / width
    errs = (np.sum(np.sum(rows_ND**2, axis=1) ** 2) / rows - np.sum(plain**2)) / (rows * width)
    share = min(errs, away) / away if away > 0 else 0.0
    return (1 - share) * plain + share * scale * np.eye(width)


def as_tiles_say(tiles_TD: NDArray[np.floating], seen: Seen, numbers_N: Floats) -> Floats:
    """(T,) by how much each tile alone has the number expected above its mean over training patients.

    `numbers_N`: the number of each training patient, as far as it comes from the slide, up to one constant; NaN where
    the patient has none, who then does not count. Zero where it never differs.
    """
    known = ~np.isnan(numbers_N)
    if not known.any():
        raise DataError("no training patient has what this number is of; explain another target")
    means, numbers = seen.means[known] / seen.deviation, numbers_N[known]
    centre = means.mean(axis=0)
    away, spread = means - centre, numbers - numbers.mean()
    variance = float(spread @ spread) / len(spread)
    if variance == 0:
        return np.zeros(len(tiles_TD))
    together = away.T @ spread / len(spread)
    noise = seen.within + seen.between * (away.T @ away) / len(spread)
    weights = np.linalg.solve(noise + np.outer(together, together) / variance, together)
    return (tiles_TD / seen.deviation - centre) @ weights
