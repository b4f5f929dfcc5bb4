"""Pictures of a slide that already has tiles: the whole, and single tiles. Legend: H, W height and width, px."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mirror.data.places import outside
from mirror.errors import DataError
from mirror.slides.glance import open_glance
from mirror.slides.manifest import SlideEntry
from mirror.slides.scan import open_scan, read_region, read_whole, resolution_of

MOST_PX = 900
"""Longest side of the whole slide, px."""
_READERS = 2
"""Threads that read tiles of one slide: OpenSlide may be asked by several, which not every reader may."""


class Looks(NamedTuple):
    """The whole slide, RGB (H, W, 3), white where it has no pixels; its size in level-0 px (width, height); where in it
    the part begins that has pixels at all (x, y), from which QuPath counts; um a level-0 px; and of the tiles asked
    for, by their corner, RGB (px, px, 3)."""

    image: NDArray[np.uint8]
    size: tuple[int, int]
    origin: tuple[int, int]
    mpp: float | None
    tiles: dict[tuple[int, int], NDArray[np.uint8]]


def look_at(
    entry: SlideEntry, *, mpp: float | None, tiles: Iterable[tuple[int, int]] = (), side: float = 0.0, px: int = 128
) -> Looks:
    """Read the whole slide, small, and some tiles with their corners at `tiles` (x, y) and `side` level-0 px wide; what
    lies outside the slide is white.

    `mpp` is what the features say of the slide's resolution, which counts for more than manifest or header. Raises
    `DataError` when the file is missing or damaged.
    """
    # What a header says of the resolution is for wsidata to make out; where it is known, nobody has to ask.
    opened = open_scan if mpp is None else open_glance
    with opened(entry.path) as scan:
        known = mpp if mpp is not None else _told(scan, entry)
        height, width = scan.properties.shape
        image = read_whole(scan, max(1.0, max(height, width) / MOST_PX), shown=True)
        downsamples = [float(by) for by in scan.properties.level_downsample]
        level = max((one for one, by in enumerate(downsamples) if by <= max(1.0, side / px) * 1.001), default=0)
        length = max(1, round(side / downsamples[level]))

        def tile(corner: tuple[int, int]) -> NDArray[np.uint8]:
            if outside(np.array([corner]), side, (int(width), int(height))).any():  # not every reader answers there
                return np.full((px, px, 3), 255, dtype=np.uint8)
            return _square(read_region(scan, *corner, (length, length), level, shown=True), px)

        corners = list(dict.fromkeys(tiles))
        with ThreadPoolExecutor(_READERS if scan.reader.name == "openslide" else 1) as pool:
            found = dict(zip(corners, pool.map(tile, corners), strict=True))
        left, up, *_ = scan.properties.bounds or (0, 0)
    return Looks(image, (int(width), int(height)), (int(left), int(up)), known, found)


def _told(scan: Any, entry: SlideEntry) -> float | None:
    try:
        return resolution_of(scan, entry).mpp
    except DataError:
        return None


def _square(image: NDArray[np.uint8], px: int) -> NDArray[np.uint8]:
    smaller = image.shape[0] > px
    resized = cv2.resize(image, (px, px), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)
