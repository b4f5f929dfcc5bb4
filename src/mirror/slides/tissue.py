"""Tissue and tiles of a slide, by LazySlide. Legend: T tiles."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import lazyslide as zs
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import scale
from wsidata import WSIData
from wsidata.io import add_tissues
from wsidata.reader.base import ReaderBase, SlideProperties

from mirror.errors import DataError
from mirror.slides.scan import Overview, Resolution, Scan
from mirror.slides.settings import ExtractionConfig

NATIVE = 1.1
"""A slide this many times coarser than asked for is read at its own resolution (scanners' 20x is 0.46 to 0.55 um/px);
a coarser one is refused, because enlarged tiles show nothing that an encoder was trained on."""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Where the tiles are. `coords` (T, 2) int64, (x, y) of their top left corners in level-0 px.

    `mpp` is the resolution they are read at, `side` what they are wide in level-0 px, `tissues` the outlines in
    level-0 px (shapely polygons).
    """

    coords: NDArray[np.int64]
    side: int
    mpp: float
    tissues: tuple[Any, ...]

    def untiled(self) -> float:
        """The share, 0 to 1, of the area within the outlines that no tile covers. Area that several tiles or several
        outlines share counts once."""
        tissue = shapely.union_all([outline.buffer(0) for outline in self.tissues])  # contours may touch themselves
        tiles = shapely.union_all(shapely.box(*self.coords.T, *(self.coords + self.side).T))
        return float(tissue.difference(tiles).area / tissue.area)


class _OverviewReader(ReaderBase):
    """An overview as a slide of one level, in which LazySlide looks for tissue."""

    name = "overview"

    def __init__(self, overview: Overview, mpp: float) -> None:
        self.file = "overview"
        self._image = overview.image
        height, width = overview.image.shape[:2]
        self.set_properties(
            SlideProperties(
                shape=[height, width],
                n_level=1,
                level_shape=[[height, width]],
                level_downsample=[1.0],
                mpp=mpp,
                bounds=[0, 0, width, height],
            )
        )

    def get_region(self, x: int, y: int, width: int, height: int, level: int = 0, **_: Any) -> Any:
        del level
        return self._image[y : y + height, x : x + width]

    def get_thumbnail(self, size: int, **_: Any) -> Any:
        del size
        return self._image

    def create_reader(self) -> None: ...

    def detach_reader(self) -> None: ...


def find_tissues(scan: Scan, overview: Overview, resolution: Resolution, method: str) -> tuple[Any, ...]:
    """Outlines of the tissue in level-0 px, also left in `scan`. Raises `DataError` when there is none."""
    small = WSIData(reader=_OverviewReader(overview, resolution.mpp * overview.downsample))
    with warnings.catch_warnings(action="ignore"):
        zs.pp.find_tissues(small, level=0, method=method)  # pyright: ignore[reportArgumentType]
    if "tissues" not in small.shapes:
        raise DataError(
            f"{scan.reader.file} shows no tissue; if it does, try `tissue_method: entropy`, else leave the slide out"
        )
    by = overview.downsample
    outlines: tuple[Any, ...] = tuple(
        scale(outline, by, by, origin=(0, 0)) for outline in small.shapes["tissues"].geometry
    )
    add_tissues(scan, key="tissues", tissues=list(outlines))
    return outlines


def lay_tiles(scan: Scan, resolution: Resolution, config: ExtractionConfig) -> TileGrid:
    """The tiles in the tissue that `find_tissues` left in `scan`; their images are then `scan.ds.tile_images()`.

    Raises `DataError` when the slide is too coarse for the tiles, or no tile fits.
    """
    if resolution.mpp > NATIVE * config.mpp:
        raise DataError(
            f"{scan.reader.file} has {resolution.mpp:g} um/px, too coarse for tiles at {config.mpp:g}; set `mpp` to "
            f"{resolution.mpp:g} or more for the whole cohort, or leave the slide out"
        )
    mpp = max(config.mpp, resolution.mpp)
    with warnings.catch_warnings(action="ignore"):
        zs.pp.tile_tissues(
            scan,
            config.tile_px,
            stride_px=config.tile_px - config.overlap_px,
            edge=config.edge,
            mpp=mpp,
            slide_mpp=resolution.mpp,
            background_fraction=config.background,
        )
    if "tiles" not in scan.shapes:
        raise DataError(
            f"{scan.reader.file} has tissue, but no tile of {config.tile_px} px at {mpp:g} um/px lies in it with at "
            f"most {config.background:.0%} background; try `edge: true`, smaller tiles or more `background`"
        )
    coords = scan.shapes["tiles"].bounds[["minx", "miny"]].to_numpy().astype(np.int64)
    outlines = tuple(scan.shapes["tissues"].geometry)
    spec = scan.tile_spec("tiles")
    assert spec is not None
    return TileGrid(coords, int(spec.base_width), mpp, outlines)
