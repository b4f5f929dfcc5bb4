"""Deep zoom shows the slide as it is, piece by piece, in memory that does not grow, and nothing else."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from small_scans import write_flawed

from mirror.errors import DataError
from mirror.seeding import rng_for
from mirror.simulate.scans import MPP, draw_scan, tumour_of, write_scan
from mirror.slides import deep_zoom
from mirror.slides.deep_zoom import DeepZoom, Place, Pyramid

SIDE = 1200


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    return draw_scan(tumour_of(np.zeros(4)), SIDE, rng_for(0, "deep zoom"))[:, :900]


@pytest.fixture(scope="module")
def path(image: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("zoom") / "one.tif"
    write_scan(file, image, mpp=MPP)
    return file


def opened(content: bytes) -> NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(content)), dtype=np.float64)


def whole_level(zoom: DeepZoom, pyramid: Pyramid, level: int) -> NDArray[np.float64]:
    """A level put together of its pieces, each without what it shares with its neighbours."""
    by = 2 ** (pyramid.most_level - level)
    wide, high = -(-pyramid.width // by), -(-pyramid.height // by)
    picture = np.full((high, wide, 3), np.nan)
    for row in range(-(-high // pyramid.piece)):
        for column in range(-(-wide // pyramid.piece)):
            part = opened(zoom.piece("one", level, column, row))
            top, left = (pyramid.overlap if at else 0 for at in (row, column))
            part = part[top:, left:][: pyramid.piece, : pyramid.piece]
            y, x = row * pyramid.piece, column * pyramid.piece
            picture[y : y + len(part), x : x + part.shape[1]] = part
    return picture


def test_the_pieces_of_the_finest_level_are_the_slide(path: Path, image: NDArray[np.uint8]) -> None:
    zoom = DeepZoom({"one": path})
    pyramid = zoom.pyramid("one")
    assert (pyramid.width, pyramid.height) == (900, SIDE)
    picture = whole_level(zoom, pyramid, pyramid.most_level)
    assert not np.isnan(picture).any()
    assert abs(picture - image).mean() < 4  # what JPEG costs


def test_coarser_levels_halve_down_to_the_size_of_a_screen(path: Path, image: NDArray[np.uint8]) -> None:
    zoom = DeepZoom({"one": path})
    pyramid = zoom.pyramid("one")
    assert pyramid.most_level - pyramid.least_level == 1  # 1,200 and 600 px; 300 is less than a screen
    half = whole_level(zoom, pyramid, pyramid.least_level)
    assert half.shape[:2] == (SIDE // 2, 450) and not np.isnan(half).any()
    expected = image.reshape(SIDE // 2, 2, 450, 2, 3).mean(axis=(1, 3))
    assert abs(half - expected).mean() < 6


def test_a_square_is_that_part_of_the_slide_and_white_beyond_it(path: Path, image: NDArray[np.uint8]) -> None:
    zoom = DeepZoom({"one": path})
    square = opened(zoom.square("one", Place(300, 500, 128), px=128))
    assert abs(square - image[500:628, 300:428]).mean() < 5
    beyond = opened(zoom.square("one", Place(5000, 5000, 128), px=64))
    assert beyond.shape == (64, 64, 3) and beyond.min() > 250


def test_names_that_are_not_among_the_slides_and_places_that_are_not_there_are_refused(path: Path) -> None:
    zoom = DeepZoom({"one": path})
    for name in (str(path), "../one", "one.tif", ""):
        assert name not in zoom
        with pytest.raises(KeyError):
            zoom.pyramid(name)
    most = zoom.pyramid("one").most_level
    for level, column, row in ((most, 2, 0), (most, 0, 3), (most + 1, 0, 0), (0, 0, 0), (most, -1, 0)):
        with pytest.raises(IndexError):
            zoom.piece("one", level, column, row)
    with pytest.raises(IndexError, match="too large"):
        zoom.square("one", Place(0, 0, 10_000_000), px=64)


def test_a_slide_without_a_pyramid_is_refused_with_what_writes_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_zoom, "MOST_READ_PX", 200 * 200)
    with pytest.raises(DataError, match=r"no pyramid.*vips tiffsave"):
        DeepZoom({"one": path}).pyramid("one")


def test_a_damaged_slide_is_said_to_be_so_and_the_others_go_on(path: Path, tmp_path: Path) -> None:
    write_flawed(tmp_path)
    zoom = DeepZoom({"one": path, "page": tmp_path / "page.svs", "cut": tmp_path / "truncated.tif"})
    for name in ("page", "cut"):
        with pytest.raises(DataError, match=name):
            pyramid = zoom.pyramid(name)
            zoom.piece(name, pyramid.most_level, 0, 0)
    assert zoom.piece("one", zoom.pyramid("one").most_level, 0, 0)


def test_few_slides_stay_open_and_few_pieces_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_zoom, "_OPEN", 2)
    monkeypatch.setattr(deep_zoom, "_PIECES_BYTES", 200_000)
    zoom = DeepZoom({str(number): path for number in range(5)})
    most = zoom.pyramid("0").most_level
    first = zoom.piece("0", most, 0, 0)
    for name in "12340":
        for row in range(3):
            zoom.piece(name, most, 0, row)
        held = [len(piece) for piece in zoom._pieces.values()]
        assert len(zoom._open) <= 2 and sum(held) == zoom._held <= 200_000
    assert zoom.piece("0", most, 0, 0) == first


def test_threads_get_what_one_reader_gets(path: Path) -> None:
    names = {str(number): path for number in range(12)}  # more than stay open
    alone, together = DeepZoom(names), DeepZoom(names)
    most = alone.pyramid("0").most_level
    asked = [(name, most, column, row) for row in range(3) for column in range(2) for name in names]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda one: together.piece(*one), asked)) == [alone.piece(*one) for one in asked]


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_real_slides_are_shown(shared: Path, name: str) -> None:
    zoom = DeepZoom({"one": shared / "slides" / name})
    pyramid = zoom.pyramid("one")
    assert max(pyramid.width, pyramid.height) > 2000
    coarsest = whole_level(zoom, pyramid, pyramid.least_level)
    assert not np.isnan(coarsest).any() and coarsest.std() > 10
