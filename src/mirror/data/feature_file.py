"""Our own file of one slide's tile features: the one place that writes it, and what it says of itself.

Legend: T tiles, D feature width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from mirror.artefacts import SCHEMA
from mirror.data.hdf5 import hdf5_aside, read_attributes
from mirror.errors import DataError
from mirror.seeding import generator_for

FLOAT16_MAX = float(np.finfo(np.float16).max)

CoordsUnit = Literal["level0_px", "um", "unknown"]
"""What positions are given in; only level-0 pixels are written as `coords`, the others as `coords_as_given`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BagFacts:
    """What a feature file says of itself; None where it is not known."""

    encoder: str | None = None
    """Name of the tile encoder."""
    encoder_revision: str | None = None
    """Its version: a commit of the hub, or a hash of its weights."""
    mpp: float | None = None
    """Resolution at which the encoder saw the tiles, um/px."""
    tile_px: int | None = None
    """Side of a tile at `mpp`, px."""
    target_magnification: float | None = None
    """Nominal magnification of the tiles (20 for 20x), where a tool names it; no resolution follows from it."""
    overlap_px: int | None = None
    """What neighbouring tiles share of their side at `mpp`, px."""
    tile_level0_px: float | None = None
    """Side of a tile in level-0 px, the unit of `coords`."""
    slide_mpp: float | None = None
    """Resolution of the slide's level 0, um/px."""
    source: str | None = None
    """Which tool made the features, with its version where that is known."""
    source_stamp: str | None = None
    """What an import was made from, and how: the same stamp need not be imported again."""
    source_path: str | None = None
    """The file an import was made from, as seen from the folder it was written to."""
    source_remarks: str | None = None
    """What was to be said of the import, a line a remark."""


def write_bag(
    path: Path,
    features: NDArray[np.floating[Any]],
    *,
    coords: NDArray[Any] | None = None,
    coords_unit: CoordsUnit = "level0_px",
    facts: BagFacts | None = None,
    order_seed: int | None = None,
) -> None:
    """Write `features` (T, D) as contiguous float16 and the tiles' top left corners `coords` (T, 2) as (x, y).

    Positions in level-0 pixels are rounded to whole ones (int64) and named `coords`; others keep their numbers as
    `coords_as_given` (float64, attribute `unit`).

    With an `order_seed` the rows are stored in a random order, so that a few contiguous blocks of the file are a random
    sample of the slide; dataset `source_row` (T,) says which row each was. The order depends on the seed and on T
    alone: equal features stay equal files under any name.

    Raises `DataError` for an empty bag, for NaN, for values beyond float16 (65,504), which would silently become
    infinite, and for positions that are not one a tile or not finite.
    """
    if path.suffix != ".h5":
        raise DataError(f"{path}: our feature files end in .h5")
    _check_features(path, features)
    if coords is not None and coords.shape != (len(features), 2):
        raise DataError(f"{path}: coords of shape {coords.shape} do not fit {len(features)} tiles")
    if coords is not None and not np.isfinite(coords).all():
        raise DataError(f"{path}: coords have NaN or infinite values; extract the tiles again")
    known = {name: value for name, value in asdict(facts or BagFacts()).items() if value is not None}
    order = None if order_seed is None else stored_order(len(features), order_seed)
    with hdf5_aside(path) as file:
        file.attrs["mirror_schema"] = SCHEMA
        file.attrs.update(known)
        half = features.astype(np.float16)
        file.create_dataset("features", data=half if order is None else half[order])
        if coords is not None:
            level0 = coords_unit == "level0_px"
            values = np.rint(coords).astype(np.int64) if level0 else coords.astype(np.float64)
            dataset = file.create_dataset(
                "coords" if level0 else "coords_as_given", data=values if order is None else values[order]
            )
            # TRIDENT's names, which other tools look for.
            names = {
                "patch_size": "tile_px",
                "patch_size_level0": "tile_level0_px",
                "overlap": "overlap_px",
                "target_magnification": "target_magnification",
            }
            dataset.attrs["name"] = path.stem
            dataset.attrs.update({theirs: known[ours] for theirs, ours in names.items() if level0 and ours in known})
            if not level0:
                dataset.attrs["unit"] = coords_unit
        if order is not None:
            file.create_dataset("source_row", data=order.astype(np.int32))
            file.attrs["order_seed"] = order_seed


def read_facts(path: Path) -> BagFacts:
    """What a file that `write_bag` wrote says of itself. Raises `DataError` when it is not one, or unreadable."""
    found = read_attributes(path)
    if found.get("mirror_schema") != SCHEMA:
        raise DataError(f"{path} is no feature file of this version; import or extract it again")
    return BagFacts(**{field.name: found.get(field.name) for field in fields(BagFacts)})


def read_coords_unit(path: Path) -> CoordsUnit | None:
    """The unit of the positions in a file that `write_bag` wrote; None where it has none. Raises `DataError`."""
    unit = read_attributes(path, "coords_as_given").get("unit")
    if unit in get_args(CoordsUnit):
        return unit
    return "level0_px" if read_attributes(path, "coords") else None


def stored_order(tiles: int, seed: int) -> NDArray[np.intp]:
    """The row (T,) that stands at each place of a file stored in random order."""
    return torch.randperm(tiles, generator=generator_for(seed, "stored order", tiles)).numpy().astype(np.intp)


def _check_features(path: Path, features: NDArray[np.floating[Any]]) -> None:
    if features.ndim != 2 or 0 in features.shape:
        raise DataError(f"{path}: features of shape {features.shape} cannot be written; expected (tiles, width)")
    # Negated, so that NaN is caught too.
    wrong = ~(np.abs(features) <= FLOAT16_MAX).all(axis=1)
    if wrong.any():
        raise DataError(
            f"{path}: {int(wrong.sum())} rows (the first is {int(wrong.argmax())}) have NaN or values beyond "
            f"{FLOAT16_MAX:.0f}, the most float16 can hold; scale the features or leave these tiles out"
        )
