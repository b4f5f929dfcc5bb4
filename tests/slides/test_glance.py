"""A slide that is only looked at shows the pixels that wsidata reads of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bounded_slide import write_bounded
from mirror.errors import DataError
from mirror.ids import SlideId
from mirror.seeding import rng_for
from mirror.simulate.scans import STROMA, draw_scan, write_scan
from mirror.slides import looks
from mirror.slides.glance import Glance, open_glance
from mirror.slides.looks import Looks, look_at
from mirror.slides.manifest import SlideEntry
from mirror.slides.scan import open_scan

TILES = ((0, 0), (130, 70), (700, 300))


def looked_at(path: Path, *, side: float) -> Looks:
    return look_at(SlideEntry(SlideId("S"), path, None), mpp=0.5, tiles=TILES, side=side, px=128)


@pytest.mark.parametrize("side", [100.0, 512.0])
@pytest.mark.parametrize("name", ["pyramid.tif", "bounded.scn"])
def test_looks_are_those_of_wsidata_to_the_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, side: float
) -> None:
    image = draw_scan(STROMA, 1024, rng_for(3, "glance"))
    if name == "pyramid.tif":
        write_scan(tmp_path / name, image, mpp=0.5)
    else:
        write_bounded(tmp_path / name, image, canvas=(1536, 1280), at=(256, 128))
    with open_glance(tmp_path / name) as scan:
        assert isinstance(scan, Glance)
    quick = looked_at(tmp_path / name, side=side)
    monkeypatch.setattr(looks, "open_glance", open_scan)
    slow = looked_at(tmp_path / name, side=side)
    np.testing.assert_array_equal(quick.image, slow.image)
    assert (quick.size, quick.origin, quick.mpp) == (slow.size, slow.origin, slow.mpp)
    assert quick.origin == ((256, 128) if name == "bounded.scn" else (0, 0))
    for corner in TILES:
        np.testing.assert_array_equal(quick.tiles[corner], slow.tiles[corner])


def test_a_file_that_is_no_slide_is_refused_in_the_words_of_wsidatas_way(tmp_path: Path) -> None:
    (tmp_path / "page.svs").write_text("<!doctype html><title>404</title>")
    for name, says in (("page.svs", "web page"), ("gone.svs", "is not there")):
        with pytest.raises(DataError, match=says), open_glance(tmp_path / name):
            pass


def test_a_format_that_wsidata_gives_to_another_reader_first_stays_with_it(tmp_path: Path) -> None:
    write_scan(tmp_path / "x.ome.tif", np.full((64, 64, 3), 200, dtype=np.uint8), mpp=0.5)
    with open_glance(tmp_path / "x.ome.tif") as scan:
        assert not isinstance(scan, Glance)
