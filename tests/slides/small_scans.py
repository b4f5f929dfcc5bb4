"""Slides small enough for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mirror.seeding import rng_for
from mirror.simulate.scans import MPP, STROMA, draw_scan, write_scan

SIDE = 512


def write_flawed(folder: Path) -> None:
    """Slides that cannot be extracted, each in its own way."""
    image = draw_scan(STROMA, SIDE, rng_for(0, "flawed"))
    write_scan(folder / "truncated.tif", image, mpp=MPP)
    with (folder / "truncated.tif").open("r+b") as file:
        file.truncate((folder / "truncated.tif").stat().st_size // 2)
    write_scan(folder / "glass.tif", np.full((SIDE, SIDE, 3), 243, dtype=np.uint8), mpp=MPP)
    (folder / "page.svs").write_text("<html>not found</html>")
    (folder / "empty.svs").write_bytes(b"")
