"""Truths about a slide's resolution and its overview."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from small_scans import SIDE

from mirror.errors import DataError
from mirror.ids import SlideId
from mirror.seeding import rng_for
from mirror.simulate.scans import MPP, STROMA, draw_scan, write_scan
from mirror.slides import scan as scan_module
from mirror.slides.glance import open_glance
from mirror.slides.manifest import SlideEntry
from mirror.slides.scan import Resolution, UnknownResolution, open_scan, read_overview, resolution_of


def entry(path: Path, mpp: float | None = None) -> SlideEntry:
    return SlideEntry(SlideId(path.stem), path, mpp)


def resolution(path: Path, mpp: float | None = None) -> Resolution:
    with open_scan(path) as scan:
        return resolution_of(scan, entry(path, mpp))


def written(path: Path, mpp: float | None) -> Path:
    write_scan(path, np.full((64, 64, 3), 200, dtype=np.uint8), mpp=mpp)
    return path


@pytest.mark.parametrize("mpp", [0.2527, 0.499, 1.0])
def test_the_headers_resolution_is_read(tmp_path: Path, mpp: float) -> None:
    found = resolution(written(tmp_path / "x.tif", mpp))
    assert found.source == "header"
    assert found.mpp == pytest.approx(mpp, rel=1e-4)


def test_the_manifest_overrides_the_header(tmp_path: Path) -> None:
    assert resolution(written(tmp_path / "x.tif", 0.5), mpp=0.25) == Resolution(0.25, "manifest")


def test_a_slide_without_resolution_stops_with_the_line_to_add(tmp_path: Path) -> None:
    path = written(tmp_path / "x.tif", None)
    with pytest.raises(UnknownResolution, match=f"x,{path},0.5"):
        resolution(path)
    assert resolution(path, mpp=0.5).mpp == 0.5


@pytest.mark.parametrize("mpp", [0.01, 88.2])
def test_a_resolution_that_cannot_be_true_is_refused_whoever_says_it(tmp_path: Path, mpp: float) -> None:
    with pytest.raises(UnknownResolution, match="plausible are"):
        resolution(written(tmp_path / "x.tif", mpp))
    with pytest.raises(UnknownResolution, match="the manifest gives"):
        resolution(written(tmp_path / "y.tif", 0.5), mpp=mpp)


def test_a_file_that_is_no_slide_says_what_it_looks_like(tmp_path: Path) -> None:
    (tmp_path / "page.svs").write_text("<!doctype html><title>404</title>")
    (tmp_path / "empty.svs").write_bytes(b"")
    for name, says in (("page.svs", "web page"), ("empty.svs", "is empty"), ("gone.svs", "is not there")):
        with pytest.raises(DataError, match=says), open_scan(tmp_path / name):
            pass


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"compression": "deflate"}, r"a whole TIFF file in strips \(DEFLATE\), not in tiles of a pyramid"),
        ({}, r"a whole TIFF file in strips \(NONE\), not in tiles"),
        ({"tile": (256, 256), "compression": "lzma"}, r"a whole TIFF file in tiles \(LZMA\), of a kind that no reader"),
    ],
)
def test_a_whole_tiff_that_is_no_slide_is_to_be_converted_and_a_damaged_one_copied_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, form: dict[str, Any], says: str
) -> None:
    path = tmp_path / "flat image.tif"
    tifffile.imwrite(
        path, np.random.default_rng(0).integers(0, 255, (500, 600, 3), np.uint8), photometric="rgb", **form
    )
    remedy = rf"vips tiffsave '{path}' 'flat image.tiled.tif' --tile --pyramid"
    for opened in (open_scan, open_glance):
        with pytest.raises(DataError, match=says) as told, opened(path):
            pass
        assert re.search(remedy, str(told.value)) and "again" not in str(told.value)
    whole = path.read_bytes()
    for kept in (8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(DataError, match=r"breaks off or is damaged.*download it again"), open_scan(path):
            pass
    assert caplog.text == ""


def test_the_overview_is_the_whole_slide_made_smaller_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = draw_scan(STROMA, SIDE, rng_for(1, "overview"))
    write_scan(tmp_path / "x.tif", image, mpp=MPP)
    whole = cv2.resize(image, (SIDE // 8, SIDE // 8), interpolation=cv2.INTER_AREA)  # 0.5 to 4 um/px
    for block in (64, 4096):
        monkeypatch.setattr(scan_module, "_BLOCK_PX", block)
        with open_scan(tmp_path / "x.tif") as scan:
            overview = read_overview(scan, Resolution(MPP, "header"))
        assert overview.downsample == 8
        assert np.abs(overview.image.astype(int) - whole.astype(int)).max() <= 2  # level 1 was rounded on its way
    assert overview.image.std() > 10


def test_an_overview_never_grows_beyond_its_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "OVERVIEW_PIXELS", 400)
    write_scan(tmp_path / "x.tif", np.zeros((256, 512, 3), dtype=np.uint8), mpp=MPP)
    with open_scan(tmp_path / "x.tif") as scan:
        overview = read_overview(scan, Resolution(MPP, "header"))
    assert overview.image.shape[0] * overview.image.shape[1] <= 400


def test_the_real_slides_say_what_is_known_of_them(shared: Path) -> None:
    assert resolution(shared / "slides" / "CMU-1-Small-Region.svs") == Resolution(0.499, "header")
    with pytest.raises(UnknownResolution, match="no resolution in its header"):
        resolution(shared / "slides" / "tcga-cr-7395-01a-01-ts1.svs")
    for name in ("broken.svs", "broken-html.svs"):
        with pytest.raises(DataError, match="cannot be opened as a slide"):
            resolution(shared / "slides" / name)
