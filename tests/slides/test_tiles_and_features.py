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
from mirror.simulate.scans import MPP, draw_scan, tumour_of
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
