"""A few small slides, as a scanner would write them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lazyslide", reason='needs the extra: pip install -e ".[slides]"')

from small_scans import SIDE

from mirror.seeding import rng_for
from mirror.simulate.scans import MPP, STROMA, draw_scan, write_scan
from mirror.slides.settings import ExtractionConfig


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
