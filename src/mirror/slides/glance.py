"""A slide opened for a few of its pixels, by OpenSlide alone: of what wsidata offers of a slide, the part that pictures
need, without most of a second of imports.

The pixels are those that wsidata reads, which asks OpenSlide first for these formats.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import openslide

from mirror.slides.manifest import ENDINGS
from mirror.slides.scan import Scan, open_scan


class Properties(NamedTuple):
    """Of level 0, (height, width) and the part that has pixels, (x, y, width, height), px; how much each level is
    smaller."""

    shape: tuple[int, int]
    bounds: tuple[int, int, int, int]
    level_downsample: tuple[float, ...]


class Reader:
    """The slide in `file`; `reader` is OpenSlide's own, and both are called as wsidata calls them."""

    name = "openslide"

    def __init__(self, file: str) -> None:
        self.file = file
        self.reader = openslide.OpenSlide(file)

    @property
    def properties(self) -> Properties:
        """What the header says."""
        (width, height), told = self.reader.dimensions, self.reader.properties
        whole = {"x": 0, "y": 0, "width": width, "height": height}
        left, up, wide, high = (int(told.get(f"openslide.bounds-{name}", length)) for name, length in whole.items())
        return Properties((height, width), (left, up, wide, high), tuple(self.reader.level_downsamples))


class Glance(NamedTuple):
    """As much of wsidata's `WSIData` as `read_whole` and `read_region` use of what is `shown`."""

    properties: Properties
    reader: Reader


@contextmanager
def open_glance(path: Path) -> Generator[Glance | Scan]:
    """The opened slide, closed at the end; as `open_scan` opens it where it is not for OpenSlide.

    Raises `DataError` as `open_scan` does.
    """
    try:
        reader = Reader(str(path)) if _is_for_openslide(path) else None
    except (openslide.OpenSlideError, OSError):  # another reader may open it, or can say what is wrong with it
        reader = None
    if reader is None:
        with open_scan(path) as scan:
            yield scan
        return
    try:
        yield Glance(reader.properties, reader)
    finally:
        reader.reader.close()


def _is_for_openslide(path: Path) -> bool:
    """Whether wsidata asks OpenSlide first: of OME-TIFF it asks others."""
    return path.suffix.lower() in ENDINGS and not path.stem.lower().endswith(".ome")
