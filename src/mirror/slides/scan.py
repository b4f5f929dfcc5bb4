"""One slide, opened and not read: its resolution, checked, and a small picture of the whole.

Legend: H, W height and width, px.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mirror.errors import DataError, first_line
from mirror.slides.glass import on_white
from mirror.slides.manifest import SlideEntry
from mirror.slides.unreadable import BEGINNING, seems

PLAUSIBLE_MPP = (0.1, 1.5)
"""um/px of level 0, from a 100x oil scan to an 8x one. Outside it a header speaks of something else (TIFFs that give
dots an inch of a print, for example)."""
OVERVIEW_MPP = 4.0
"""Resolution of the overview, in which tissue is looked for; the one that LazySlide itself takes by default."""
OVERVIEW_PIXELS = 16 << 20
"""Most pixels of an overview: beyond it (slides of more than 16 x 16 mm) the overview is coarser."""
_BLOCK_PX = 4096
_SAME = 1.05


Scan: TypeAlias = Any
"""An opened slide, wsidata's `WSIData`, whose annotations do not say what its methods give."""


class UnknownResolution(DataError):
    """A slide whose um/px is not in its header and not in the manifest, or cannot be true."""


class Resolution(NamedTuple):
    """um/px of level 0, and who says so."""

    mpp: float
    source: Literal["manifest", "header"]


class Overview(NamedTuple):
    """The whole slide in one picture: RGB uint8 (H, W, 3), and how many level-0 px one of its pixels is wide."""

    image: NDArray[np.uint8]
    downsample: float


@contextmanager
def open_scan(path: Path) -> Generator[Scan]:
    """The opened slide, which holds no pixels; closed at the end.

    Raises `DataError` when the file is missing, or no reader that is installed can open it.
    """
    from wsidata import open_wsi  # most of a second of start-up that what only looks at a slide does not pay

    try:
        with path.open("rb") as file:
            start = file.read(BEGINNING)
    except FileNotFoundError:
        raise DataError(f"{path} is not there; correct its path in the manifest") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; name the slide's own file in the manifest") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); correct its path or its rights") from error
    try:
        with warnings.catch_warnings(action="ignore"):
            scan: Scan = open_wsi(path, store=None)  # pyright: ignore[reportArgumentType]
    except Exception as error:  # every reader fails in its own way
        raise DataError(f"{path} cannot be opened as a slide ({first_line(error)}): {seems(path, start)}") from error
    try:
        yield scan
    finally:
        scan.reader.detach_reader()


def resolution_of(scan: Scan, entry: SlideEntry) -> Resolution:
    """um/px of level 0: the manifest's word, else the header's. Raises `UnknownResolution`, with the line to add."""
    low, high = PLAUSIBLE_MPP
    if entry.mpp is not None:
        if not low <= entry.mpp <= high:
            raise UnknownResolution(
                f"slide '{entry.slide}': the manifest gives {entry.mpp:g} um/px, plausible are {low} to {high}; "
                f"correct its `mpp` (0.25 for a scan at 40x, 0.5 for one at 20x)"
            )
        return Resolution(entry.mpp, "manifest")
    remedy = (
        f"say it in the manifest (columns slide,path,mpp): {entry.slide},{entry.path},0.5 for a scan at 20x, or 0.25 "
        "for one at 40x"
    )
    found = scan.properties.mpp
    if found is None:
        power = scan.properties.magnification
        hint = "" if power is None else f" (its header says {power:g}x, so {10 / power:g} is likely)"
        raise UnknownResolution(f"slide '{entry.slide}' has no resolution in its header{hint}; {remedy}")
    across, down = _both_directions(scan.properties.raw, found)
    if not low <= found <= high or max(across, down) > _SAME * min(across, down):
        raise UnknownResolution(
            f"slide '{entry.slide}': its header gives {across:g} x {down:g} um/px, plausible are {low} to {high}, "
            f"the same in both directions; {remedy}"
        )
    return Resolution(float(found), "header")


def read_overview(scan: Scan, resolution: Resolution) -> Overview:
    """The whole slide at `OVERVIEW_MPP` or coarser, so that the same tissue is found whatever levels a scanner wrote
    and however much memory is free. Raises `DataError` as `read_whole` does."""
    height, width = scan.properties.shape
    downsample = max(OVERVIEW_MPP / resolution.mpp, math.sqrt(height * width / OVERVIEW_PIXELS), 1.0)
    return Overview(read_whole(scan, downsample), downsample)


def read_whole(scan: Scan, downsample: float, *, shown: bool = False) -> NDArray[np.uint8]:
    """RGB of the whole slide, `downsample` times smaller than level 0, from the pyramid's next finer level.

    A block at a time: a slide without a pyramid is never held whole. `shown` as `read_region` has it. Raises
    `DataError` when a part of the slide cannot be read.
    """
    height, width = scan.properties.shape
    fits = [level for level, by in enumerate(scan.properties.level_downsample) if by <= downsample * 1.001]
    level = max(fits, default=0)
    by = float(scan.properties.level_downsample[level])
    high, wide = max(1, int(height / downsample)), max(1, int(width / downsample))
    image = np.empty((high, wide, 3), dtype=np.uint8)
    step = max(1, int(_BLOCK_PX * by / downsample))
    for top in range(0, high, step):
        for left in range(0, wide, step):
            rows, columns = min(step, high - top), min(step, wide - left)
            size = (max(1, round(columns * downsample / by)), max(1, round(rows * downsample / by)))
            block = read_region(scan, round(left * downsample), round(top * downsample), size, level, shown=shown)
            image[top : top + rows, left : left + columns] = cv2.resize(
                block, (columns, rows), interpolation=cv2.INTER_AREA
            )
    return image


def read_region(
    scan: Scan, x: int, y: int, size: tuple[int, int], level: int, *, shown: bool = False
) -> NDArray[np.uint8]:
    """RGB of a region: corner in level-0 px, `size` (width, height) at `level`. Raises `DataError` when damaged.

    Where the slide has no pixels, outside its bounds, the region is black, which is what encoders were given so far;
    for people (`shown`) it is white.
    """
    try:
        if shown and scan.reader.name == "openslide":
            return np.asarray(on_white(scan.reader.reader.read_region((x, y), level, size)))
        return scan.reader.get_region(x, y, *size, level=level)
    except Exception as error:  # every reader fails in its own way
        raise damaged(scan, error, x=x, y=y) from error


def damaged(scan: Scan, error: BaseException, *, x: int, y: int) -> DataError:
    """The error of a slide that opens, and breaks off at a place."""
    return DataError(
        f"{scan.reader.file} is truncated or damaged near level-0 pixel ({x}, {y}): {first_line(error)}; "
        "copy or download it again"
    )


def _both_directions(raw: str | None, otherwise: float) -> tuple[float, float]:
    header: dict[str, Any] = json.loads(raw) if raw else {}
    values = [header.get(f"openslide.mpp-{axis}", otherwise) for axis in ("x", "y")]
    return float(values[0]), float(values[1])
