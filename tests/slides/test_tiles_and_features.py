"""Truths about tiles and what encoders make of them."""

from __future__ import annotations

from pathlib import Path

import lazyslide as zs
import numpy as np
import pytest
import shapely
import torch
from small_scans import SIDE

from mirror.errors import DataError
from mirror.ids import SlideId
from mirror.seeding import rng_for
from mirror.simulate.scans import MPP, draw_scan, tumour_of, write_scan
from mirror.slides.encoders import imagenet_transform, load_encoder
from mirror.slides.manifest import SlideEntry
from mirror.slides.reading import TileReader
from mirror.slides.scan import Resolution, Scan, open_scan, read_overview, resolution_of
from mirror.slides.settings import ExtractionConfig
from mirror.slides.stain_texture import stain_texture
from mirror.slides.tissue import TileGrid, find_tissues, lay_tiles

CPU = torch.device("cpu")


def tiled(scan: Scan, config: ExtractionConfig, mpp: float = MPP) -> TileGrid:
    resolution = Resolution(mpp, "manifest")
    find_tissues(scan, read_overview(scan, resolution), resolution, config.tissue_method)
    return lay_tiles(scan, resolution, config)


def changed(config: ExtractionConfig, **values: object) -> ExtractionConfig:
    return config.model_copy(update=values)


def test_every_tile_lies_in_the_tissue_as_far_as_asked(scans: Path, config: ExtractionConfig) -> None:
    for background in (0.05, 0.6):
        with open_scan(scans / "a.tif") as scan:
            grid = tiled(scan, changed(config, background=background))
        tissue = shapely.union_all(grid.tissues)
        tiles = shapely.box(*grid.coords.T, *(grid.coords + grid.side).T)
        covered = shapely.area(shapely.intersection(tiles, tissue)) / grid.side**2
        assert covered.min() >= 1 - background - 1e-9
        assert len(tiles) > 5


@pytest.mark.parametrize("overlap", [0, 24])
def test_what_no_tile_covers_is_the_area_that_a_count_of_points_finds(
    scans: Path, config: ExtractionConfig, overlap: int
) -> None:
    with open_scan(scans / "a.tif") as scan:
        grid = tiled(scan, changed(config, tile_px=100, background=0.05, overlap_px=overlap))
    points = np.stack(np.meshgrid(*2 * [np.arange(0.5, SIDE)]), axis=-1).reshape(-1, 1, 2)
    tissue = shapely.contains_xy(shapely.union_all(grid.tissues), points[:, 0])
    tiled_too = ((points > grid.coords) & (points < grid.coords + grid.side)).all(axis=2).any(axis=1)
    assert 0.01 < grid.untiled() < 0.9
    assert grid.untiled() == pytest.approx(np.mean(~tiled_too[tissue]), abs=0.002)


STAINED = (200, 120, 180)


def test_the_last_row_and_column_of_a_slide_that_is_all_tissue_want_edge(
    tmp_path: Path, config: ExtractionConfig
) -> None:
    image = np.full((SIDE, SIDE, 3), STAINED, dtype=np.uint8)
    image[:8, :8] = 243  # some glass, to tell tissue from
    write_scan(tmp_path / "full.tif", image, mpp=MPP)
    for edge, last in ((False, SIDE - 2 * config.tile_px), (True, SIDE - config.tile_px)):
        with open_scan(tmp_path / "full.tif") as scan:
            grid = tiled(scan, changed(config, edge=edge))
        assert tuple(grid.coords.max(axis=0)) == (last, last)
        assert grid.untiled() == pytest.approx(0 if edge else 1 - (last + grid.side) ** 2 / (SIDE - 8) ** 2, abs=0.001)


@pytest.mark.parametrize(
    ("left", "wide", "filled"), [(240, 128, True), (240, 160, False), (0, 64, True), (0, 96, False)]
)
def test_the_outline_fills_gaps_of_72_um_and_36_at_the_slides_edge(
    tmp_path: Path, left: int, wide: int, filled: bool
) -> None:
    image = np.full((SIDE, SIDE, 3), STAINED, dtype=np.uint8)
    image[:, left : left + wide] = 243
    write_scan(tmp_path / "gap.tif", image, mpp=MPP)
    resolution = Resolution(MPP, "manifest")
    with open_scan(tmp_path / "gap.tif") as scan:
        outlines = find_tissues(scan, read_overview(scan, resolution), resolution, "otsu")
    assert shapely.intersects_xy(shapely.union_all(outlines), left + wide / 2, SIDE / 2) == filled


@pytest.mark.parametrize(("scanned", "asked"), [(0.25, 0.5), (0.5, 0.5), (0.25, 1.0)])
def test_a_tile_is_as_many_micrometres_wide_on_every_slide(
    scans: Path, config: ExtractionConfig, scanned: float, asked: float
) -> None:
    with open_scan(scans / "a.tif") as scan:
        grid = tiled(scan, changed(config, mpp=asked, tile_px=32), mpp=scanned)
        image = next(iter(TileReader(scan, torch.from_numpy, batch=1, threads=1)))
    assert grid.side * scanned == pytest.approx(32 * asked)
    assert tuple(image.shape) == (1, 32, 32, 3)


def test_a_slide_a_little_too_coarse_is_read_as_it_is_and_a_coarser_one_refused(
    scans: Path, config: ExtractionConfig
) -> None:
    with open_scan(scans / "a.tif") as scan:
        grid = tiled(scan, config, mpp=0.52)
    assert (grid.mpp, grid.side) == (0.52, config.tile_px)
    with open_scan(scans / "a.tif") as scan, pytest.raises(DataError, match=r"too coarse for tiles at 0\.5"):
        tiled(scan, config, mpp=1.0)


def test_overlapping_tiles_step_by_what_they_do_not_share(scans: Path, config: ExtractionConfig) -> None:
    with open_scan(scans / "a.tif") as scan:
        grid = tiled(scan, changed(config, overlap_px=48))
    assert set(np.diff(np.unique(grid.coords[:, 0]))) == {16}


def test_features_equal_those_of_lazyslides_own_extraction(scans: Path, config: ExtractionConfig) -> None:
    encoder = load_encoder(changed(config, encoder="random-resnet18"), CPU)
    with open_scan(scans / "b.tif") as scan:
        tiled(scan, config)
        ours = torch.cat([encoder.encode(batch) for batch in TileReader(scan, encoder.prepare, batch=5, threads=3)])
        theirs = zs.tl.feature_extraction(
            scan, encoder.encode, transform=imagenet_transform(), batch_size=5, pbar=False, return_features=True
        )
    np.testing.assert_array_equal(ours.numpy(), theirs)
    assert ours.std() > 0.01


def test_batch_and_threads_change_nothing(scans: Path, config: ExtractionConfig) -> None:
    def features(batch: int, threads: int) -> torch.Tensor:
        with open_scan(scans / "a.tif") as scan:
            tiled(scan, config)
            return torch.cat(list(TileReader(scan, lambda tile: torch.from_numpy(tile), batch=batch, threads=threads)))

    torch.testing.assert_close(features(1, 1), features(7, 4), rtol=0, atol=0)


def test_a_slide_that_breaks_off_says_where(scans: Path, tmp_path: Path, config: ExtractionConfig) -> None:
    whole = (scans / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[:-40_000])  # the coarse level, and what describes it
    with (
        pytest.raises(DataError, match=r"truncated or damaged|cannot be opened"),
        open_scan(tmp_path / "a.tif") as scan,
    ):
        tiled(scan, config)
        list(TileReader(scan, torch.from_numpy, batch=1, threads=2))


def test_the_classical_features_know_the_factors_that_the_texture_carries() -> None:
    rng = rng_for(0, "recovered")
    factors = rng.standard_normal((40, 4))
    features: list[np.ndarray] = []
    for visible in factors:
        image = draw_scan(tumour_of(visible), SIDE // 2, rng)
        features.append(stain_texture(image[64:192, 64:192]))
    scaled = np.stack(features)
    scaled = (scaled - scaled.mean(0)) / (scaled.std(0) + 1e-6)
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import cross_val_predict

    for number in range(4):
        predicted = cross_val_predict(RidgeCV(np.logspace(-1, 4, 11)), scaled, factors[:, number], cv=10)
        assert np.corrcoef(predicted, factors[:, number])[0, 1] > 0.4


def test_the_real_slides_have_tissue_and_tiles(shared: Path, config: ExtractionConfig) -> None:
    for name, mpp in (("CMU-1-Small-Region.svs", None), ("tcga-cr-7395-01a-01-ts1.svs", 0.25)):
        path = shared / "slides" / name
        with open_scan(path) as scan:
            resolution = resolution_of(scan, SlideEntry(SlideId("x"), path, mpp))
            grid = tiled(scan, changed(config, tile_px=256), mpp=resolution.mpp)
            height, width = scan.properties.shape
        assert 0.15 < len(grid.coords) * grid.side**2 / (height * width) < 0.8  # neither glass nor everything
