"""Where on its slide each tile of a feature file lies. Legend: T tiles."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.data.feature_store import Bag
from mirror.data.hdf5 import read_attributes
from mirror.errors import DataError


class TilePlaces(NamedTuple):
    """Top left corners (x, y) of a slide's tiles (T, 2) and their side, in level-0 px; `mpp` is um/px of level 0, None
    where the file does not say it. `side_from` the `file`, or the `spacing` of the tiles where the file is silent."""

    coords: NDArray[np.int64]
    side: float
    side_from: Literal["file", "spacing"]
    mpp: float | None

    def corner(self, row: int) -> tuple[int, int]:
        """The top left corner (x, y) of one tile."""
        x, y = self.coords[row].tolist()
        return x, y

    def outside(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Which tiles (T,) have no pixel in a slide of so many level-0 px (width, height); those over its edge have."""
        return outside(self.coords, self.side, size)


def outside(coords_T2: NDArray[np.int64], side: float, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which squares (T,) with these corners and this side have no pixel in a slide of a size (width, height)."""
    return np.any((coords_T2 >= np.array(size)) | (coords_T2 + side <= 0), axis=1)


def tile_places(bag: Bag) -> TilePlaces | None:
    """The places of a bag's tiles, or None where its file has no positions in level-0 px.

    The side is what the file says (ours, or TRIDENT's and CLAM's attributes of `coords`), else the commonest distance
    of neighbours in a row or column. Raises `DataError` for positions that are no numbers of pixels, or of one tile
    whose side nobody knows.
    """
    found = bag.coords()
    if found is None:
        return None
    if not np.isfinite(found.astype(np.float64)).all():
        raise DataError(f"{bag.path} has coords with NaN or infinite values; extract its tiles again")
    coords = np.rint(found).astype(np.int64)
    own, theirs = read_attributes(bag.path), read_attributes(bag.path, "coords")
    mpp = own.get("slide_mpp")
    side = own.get("tile_level0_px", theirs.get("patch_size_level0"))
    if side is not None:
        return TilePlaces(coords, float(side), "file", None if mpp is None else float(mpp))
    spacing = _spacing(coords)
    if spacing is None:
        raise DataError(f"{bag.path} does not say how wide a tile is, and no two of its tiles are neighbours to tell")
    return TilePlaces(coords, spacing, "spacing", None if mpp is None else float(mpp))


def places_or_reason(bag: Bag) -> tuple[TilePlaces | None, str]:
    """`tile_places`, or why nobody knows them."""
    try:
        found = tile_places(bag)
    except DataError as error:
        return None, str(error)
    return found, "" if found is not None else "the tiles of this slide have no coordinates"


def _spacing(coords_T2: NDArray[np.int64]) -> float | None:
    """The commonest distance between neighbours in a row or a column."""
    steps: list[NDArray[np.int64]] = []
    for along, across in ((0, 1), (1, 0)):
        order = np.lexsort((coords_T2[:, along], coords_T2[:, across]))
        step = np.diff(coords_T2[order], axis=0)
        steps.append(step[(step[:, across] == 0) & (step[:, along] > 0), along])
    every = np.concatenate(steps)
    if not len(every):
        return None
    values, counts = np.unique(every, return_counts=True)
    return float(values[counts.argmax()])
