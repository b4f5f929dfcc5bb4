"""A few small slides, as a scanner would write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lazyslide", reason='needs the extra: pip install -e ".[slides]"')

from mirror.seeding import rng_for
from mirror.simulate.scans import MPP, STROMA, draw_scan, write_scan
from mirror.slides.settings import ExtractionConfig

SIDE = 512


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four good slides a.tif ... d.tif. Not to be written into."""
    folder = tmp_path_factory.mktemp("scans")
    for name in "abcd":
        write_scan(folder / f"{name}.tif", draw_scan(STROMA, SIDE, rng_for(0, name)), mpp=MPP)
    return folder


@pytest.fixture
def config(scans: Path, tmp_path: Path) -> ExtractionConfig:
    """The four slides, tiles of 64 px, the classical encoder."""
    return ExtractionConfig(
        slides=scans, output=tmp_path / "out", encoder="stain-texture", tile_px=64, mpp=MPP, threads=2, batch=4
    )


def write_flawed(folder: Path) -> None:
    """Slides that cannot be extracted, each in its own way."""
    image = draw_scan(STROMA, SIDE, rng_for(0, "flawed"))
    write_scan(folder / "truncated.tif", image, mpp=MPP)
    with (folder / "truncated.tif").open("r+b") as file:
        file.truncate((folder / "truncated.tif").stat().st_size // 2)
    write_scan(folder / "glass.tif", np.full((SIDE, SIDE, 3), 243, dtype=np.uint8), mpp=MPP)
    (folder / "page.svs").write_text("<html>not found</html>")
    (folder / "empty.svs").write_bytes(b"")
