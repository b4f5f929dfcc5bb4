"""A file that no reader opens as a slide: what it seems to be instead, and what to do about it."""

from __future__ import annotations

import shlex
from pathlib import Path

BEGINNING = 200
"""Bytes that tell what a file is."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_AGAIN = "copy or download it again"


def seems(path: Path, start: bytes) -> str:
    """What the file at `path` seems to be by its first bytes, `start`, and what to do."""
    if not start.strip():
        return f"the file is empty; {_AGAIN}"
    if start.lstrip()[:1] == b"<" or b"<html" in start.lower():
        return f"it is a web page (a failed download?); {_AGAIN}"
    size = f"{path.stat().st_size:,} bytes"
    if start[:4] not in _TIFF:
        return f"{size}; {_AGAIN}"
    form = _form_of_whole(path)
    if form is None:
        return f"it begins like a slide and breaks off or is damaged after that, {size}; {_AGAIN}"
    there = f"{shlex.quote(str(path))} {shlex.quote(f'{path.stem}.tiled.tif')}"
    return (
        f"it is a whole TIFF file in {form}; convert it, for example by `vips tiffsave {there} --tile "
        "--pyramid --compression jpeg --Q 90 --bigtiff`"
    )


def _form_of_whole(path: Path) -> str | None:
    """How the pixels of a TIFF are laid out, None where it is damaged or not all of them are there."""
    import tifffile

    logger = tifffile.logger()
    logger.addFilter(_nothing)  # what it says of damage is no word for a reader
    try:
        with tifffile.TiffFile(path) as file:
            pages = [page.aspage() for page in file.pages]
            parts = [part for page in pages for part in zip(page.dataoffsets, page.databytecounts, strict=True)]
            first = pages[0]
            packed = tifffile.COMPRESSION(first.compression).name
    except Exception:  # it trips over damage in many ways
        return None
    finally:
        logger.removeFilter(_nothing)
    if max((offset + count for offset, count in parts), default=0) > path.stat().st_size:
        return None
    if first.is_tiled:
        return f"tiles ({packed}), of a kind that no reader here opens"
    return f"strips ({packed}), not in tiles of a pyramid as slides are"


def _nothing(_: object) -> bool:
    return False
