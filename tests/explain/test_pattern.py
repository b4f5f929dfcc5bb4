"""What a tile alone says of a number, by how the mean tile of training patients shifts with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf

from mirror.data.feature_file import BagFacts, write_bag
from mirror.data.feature_store import Bag
from mirror.errors import DataError
from mirror.explain.pattern import SLIDES, TILES, Seen, as_tiles_say, shrunk_covariance, within_slides

FACTS = BagFacts(encoder="simulated", mpp=0.5, tile_px=512, tile_level0_px=512.0, slide_mpp=0.5)


def seen_of(rng: np.random.Generator, *, patients: int = 40, width: int = 6) -> Seen:
    root = rng.normal(size=(width, width))
    within = root @ root.T / width + 0.1 * np.eye(width)
    means = rng.normal(size=(patients, width)) @ rng.normal(size=(width, width))
    names = tuple(map(str, range(patients)))
    return Seen(means, {}, torch.zeros(0), within, rng.uniform(0.5, 2.0, width), names, rng.uniform(0.0, 1.0))


@given(st.integers(2, 60), st.integers(1, 20), st.sampled_from([0.0, 0.3, 3.0]), st.integers(0, 10**6))
def test_a_covariance_is_shrunk_as_by_scikit_learn(rows: int, width: int, common: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, width)) + common * rng.normal(size=(rows, 1)) * rng.normal(size=width)
    values[:, rng.random(width) < 0.2] = 0.0  # a feature that never differs
    expected, _ = ledoit_wolf(values, assume_centered=True)
    np.testing.assert_allclose(shrunk_covariance(values), expected, rtol=1e-9, atol=1e-12)


def noise_of(seen: Seen) -> np.ndarray:
    """The covariance of the noise of tiles, in the units of the features."""
    scale = np.outer(seen.deviation, seen.deviation)
    return seen.within * scale + seen.between * np.cov(seen.means.T, bias=True)


def shift_of(seen: Seen, numbers: np.ndarray) -> np.ndarray:
    away = numbers - numbers.mean()
    return (seen.means - seen.means.mean(axis=0)).T @ away / (away @ away)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 5))
def test_a_tile_that_departs_as_slides_do_says_part_of_the_number_more_the_less_tiles_differ(
    seed: int, much: float
) -> None:
    rng = np.random.default_rng(seed)
    seen = seen_of(rng)
    numbers = seen.means @ rng.normal(size=6) + rng.normal(size=40)
    tile = seen.means.mean(axis=0) + much * shift_of(seen, numbers)
    said, surer = (
        float(as_tiles_say(tile[None], replace(seen, within=seen.within * by, between=seen.between * by), numbers)[0])
        for by in (1.0, 1e-9)
    )
    assert 0 < said < much and surer == pytest.approx(much, rel=1e-3)


@given(st.integers(0, 2**32 - 1))
def test_it_is_the_best_linear_prediction_of_the_number_from_a_tile(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = seen_of(rng)
    numbers = seen.means @ rng.normal(size=6)
    # Tiles with exactly the moments that are assumed: each number, shifted, and the noise along each axis, both ways.
    root = np.linalg.cholesky(noise_of(seen)) * np.sqrt(6)
    centre, shift, away = seen.means.mean(axis=0), shift_of(seen, numbers), numbers - numbers.mean()
    noise = np.concatenate([root.T, -root.T])
    tiles = (centre + away[:, None] * shift)[:, None] + noise
    x, y = tiles.reshape(-1, 6), np.repeat(away, len(noise))
    oracle = (x - centre) @ np.linalg.lstsq(x - centre, y)[0]
    np.testing.assert_allclose(as_tiles_say(x, seen, numbers), oracle, atol=1e-6 * np.abs(away).max())


@given(st.integers(0, 2**32 - 1))
def test_it_rises_with_what_a_tile_adds_to_a_linear_number(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen, weights = seen_of(rng), rng.normal(size=6)
    root = np.linalg.cholesky(noise_of(seen))
    tiles = seen.means.mean(axis=0) + root.T  # their second moment about the centre is the covariance itself
    said = as_tiles_say(tiles, seen, seen.means @ weights)
    assert said @ ((tiles - seen.means.mean(axis=0)) @ weights) >= -1e-8


def test_a_number_that_never_differs_is_said_by_no_tile() -> None:
    seen = seen_of(np.random.default_rng(0))
    assert not as_tiles_say(np.ones((3, 6)), seen, np.full(40, 2.0)).any()


@given(st.integers(0, 2**32 - 1))
def test_patients_without_the_number_do_not_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen, numbers = seen_of(rng), rng.normal(size=40)
    numbers[::4] = np.nan
    known = ~np.isnan(numbers)
    some = replace(seen, means=seen.means[known])
    tiles = rng.normal(size=(5, 6))
    np.testing.assert_allclose(as_tiles_say(tiles, seen, numbers), as_tiles_say(tiles, some, numbers[known]))


def bags(folder: Path, *, slides: int, tiles: int, scale: float = 1.0) -> list[Bag]:
    rng = np.random.default_rng(1)
    for number in range(slides):
        rows = scale * (rng.normal(size=(tiles, 4)) * [1, 2, 3, 0] + 10 * rng.normal(size=4))
        write_bag(folder / f"{number}.h5", rows.astype(np.float32), coords=np.zeros((tiles, 2), dtype=int), facts=FACTS)
    return [Bag(folder / f"{number}.h5") for number in range(slides)]


def test_the_covariance_is_that_of_tiles_about_their_own_slide(tmp_path: Path) -> None:
    within, deviation = within_slides(bags(tmp_path, slides=6, tiles=200), seed=0)
    np.testing.assert_allclose(deviation, [1, 2, 3, np.inf], rtol=0.1)  # and nothing of how far apart slides are
    np.testing.assert_allclose(within[:3, :3], np.eye(3), atol=0.1)
    with pytest.raises(DataError, match="no training slide has two tiles"):
        within_slides(bags(tmp_path, slides=2, tiles=1), seed=0)


def test_a_large_cohort_costs_no_more_than_so_many_tiles_of_so_many_slides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    plain = Bag.read
    monkeypatch.setattr(Bag, "read", lambda bag, rows: (read.append(len(rows)), plain(bag, rows))[1])
    (bag,) = bags(tmp_path, slides=1, tiles=TILES + 50)
    within_slides((bag for _ in range(SLIDES + 20)), seed=0)
    assert read == [TILES] * SLIDES
