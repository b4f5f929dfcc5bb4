"""Slides for a screen: pieces of a pyramid, read as they are asked for.

Pieces are square, and the pyramid halves from level to level.

No piece is read from more than a few megapixels, whatever the size of the slide, so memory does not grow with it.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import openslide
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from mirror.errors import DataError, first_line
from mirror.slides.glass import on_white

PIECE_PX, OVERLAP_PX = 510, 1
"""Side of a piece and what it shares with each neighbour: with both edges 512 px, few requests a screen."""
LEAST_PX = 512
"""Levels on which the whole slide is smaller than this on both sides are of no use on a screen."""
MOST_READ_PX = 8192 * 8192
"""A slide whose coarsest level is larger than this has no pyramid: its first view would read gigabytes."""
QUALITY = 80
_OPEN = 8
_PIECES_BYTES = 64 << 20
_DECODED_BYTES = 64 << 20


class Pyramid(NamedTuple):
    """What a screen has to know of a slide: level-0 px, and which levels of the halving pyramid there are."""

    width: int
    height: int
    piece: int
    overlap: int
    least_level: int
    most_level: int


class Place(NamedTuple):
    """A square of a slide: its top left corner and its side, in level-0 px."""

    x: int
    y: int
    side: int


class _Opened(NamedTuple):
    slide: openslide.OpenSlide
    zoom: DeepZoomGenerator
    pyramid: Pyramid


class DeepZoom:
    """Pieces of the slides in `files` (name -> path) as JPEG; several threads may ask at once.

    Few slides are kept open and few pieces kept in memory, the last ones used. Nothing but the names in `files` can be
    asked for.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(files)
        self._open: OrderedDict[str, _Opened] = OrderedDict()
        self._pieces: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()
        self._decoded = openslide.OpenSlideCache(_DECODED_BYTES)

    def __contains__(self, slide: str) -> bool:
        return slide in self._files

    def pyramid(self, slide: str) -> Pyramid:
        """Sizes and levels. Raises `KeyError` for another name than those given, `DataError` for a bad file."""
        return self._opened(slide).pyramid

    def piece(self, slide: str, level: int, column: int, row: int) -> bytes:
        """JPEG of one piece, at most 512 x 512 px. Raises as `pyramid` does, and `IndexError` where no piece is."""
        opened = self._opened(slide)
        pyramid, key = opened.pyramid, (slide, level, column, row)
        if not pyramid.least_level <= level <= pyramid.most_level:
            raise IndexError(f"{slide} has the levels {pyramid.least_level} to {pyramid.most_level}")
        columns, rows = opened.zoom.level_tiles[level]
        if not (0 <= column < columns and 0 <= row < rows):
            raise IndexError(f"level {level} of {slide} has {columns} x {rows} pieces")
        with self._lock:
            if (found := self._pieces.get(key)) is not None:
                self._pieces.move_to_end(key)
                return found
        try:
            image = opened.zoom.get_tile(level, (column, row))
        except openslide.OpenSlideError as error:
            raise self._damaged(slide, error) from error
        size = opened.zoom.get_tile_dimensions(level, (column, row))
        # The generator keeps the proportions, which may cost a narrow piece a row of pixels.
        made = _jpeg(image if image.size == size else image.resize(size))
        with self._lock:
            if key not in self._pieces:
                self._pieces[key] = made
                self._held += len(made)
            while self._held > _PIECES_BYTES:
                self._held -= len(self._pieces.popitem(last=False)[1])
        return made

    def square(self, slide: str, place: Place, *, px: int) -> bytes:
        """JPEG of a square of the slide, `px` wide, read from the level next finer. Raises as `pyramid` does."""
        opened = self._opened(slide)
        level = opened.slide.get_best_level_for_downsample(max(1.0, place.side / px))
        size = max(1, round(place.side / opened.slide.level_downsamples[level]))
        if size * size > MOST_READ_PX:
            raise IndexError(f"a square of {place.side} px of {slide} is too large to be shown as one picture")
        try:
            region = opened.slide.read_region((place.x, place.y), level, (size, size))
        except openslide.OpenSlideError as error:
            raise self._damaged(slide, error) from error
        return _jpeg(on_white(region).resize((px, px)))

    def _opened(self, slide: str) -> _Opened:
        with self._lock:
            opened = self._open.pop(slide, None) or self._fresh(slide)
            self._open[slide] = opened
            if len(self._open) > _OPEN:  # closed by its last reader, not here: another thread may be in the middle
                self._open.popitem(last=False)
            return opened

    def _fresh(self, slide: str) -> _Opened:
        path = self._files[slide]
        try:
            scan = openslide.OpenSlide(path)
        except (openslide.OpenSlideError, OSError) as error:
            raise DataError(f"{slide} cannot be opened as a slide ({first_line(error)}); copy it again") from error
        across, down = scan.level_dimensions[-1]
        if across * down > MOST_READ_PX:
            raise DataError(
                f"{slide} has no pyramid (its coarsest level has {across:,} x {down:,} px) and cannot be "
                "shown quickly; write one, for example with `vips tiffsave in.tif out.tif --tile --pyramid`"
            )
        scan.set_cache(self._decoded)
        zoom = DeepZoomGenerator(scan, tile_size=PIECE_PX, overlap=OVERLAP_PX)
        width, height = scan.dimensions
        most = zoom.level_count - 1
        least = next((level for level, size in enumerate(zoom.level_dimensions) if max(size) >= LEAST_PX), most)
        return _Opened(scan, zoom, Pyramid(width, height, PIECE_PX, OVERLAP_PX, least, most))

    def _damaged(self, slide: str, error: Exception) -> DataError:
        with self._lock:
            self._open.pop(slide, None)  # OpenSlide answers nothing more once it has met an error
        return DataError(f"{slide} is truncated or damaged ({first_line(error)}); copy or download it again")


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.convert("RGB").save(file, "jpeg", quality=QUALITY)
    return file.getvalue()
