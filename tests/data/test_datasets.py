"""Truths about the pairs that training reads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mirror.data.datasets import BatchKey, PairedSlides, PairLoader, batches_of_epoch, draw_tiles
from mirror.data.feature_file import write_bag
from mirror.data.feature_store import FeatureStore
from mirror.data.panel import AppliedPanel
from mirror.errors import DataError
from mirror.seeding import generator_for

TILES = {f"S{number}": 5 + 3 * number for number in range(7)}
OWNERS = {slide: f"P{number // 2}" for number, slide in enumerate(TILES)}
PROFILES = AppliedPanel(("P3", "P0", "P1", "P2"), np.arange(12, dtype=np.float32).reshape(4, 3), (), 0)


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    """Slide number s: the value of tile t is 100 s + t, in all of its 4 features."""
    for number, (slide, tiles) in enumerate(TILES.items()):
        write_bag(tmp_path / f"{slide}.h5", np.tile(100.0 * number + np.arange(tiles)[:, None], 4))
    return FeatureStore({slide: tmp_path / f"{slide}.h5" for slide in TILES})


def paired(store: FeatureStore, tiles: int = 10, seed: int = 0) -> PairedSlides:
    return PairedSlides(store, OWNERS, PROFILES, tiles=tiles, seed=seed)


@given(available=st.integers(1, 60), wanted=st.integers(1, 60), seed=st.integers(0, 99))
def test_tiles_repeat_only_where_the_slide_has_too_few(available, wanted, seed):
    rows = draw_tiles(available, wanted, generator=generator_for(seed, "tiles"))
    assert len(rows) == wanted
    assert rows.min() >= 0 and rows.max() < available
    if available >= wanted:
        assert len(set(rows)) == wanted


def test_every_tile_is_drawn_equally_often():
    counts = Counter(
        row for epoch in range(2000) for row in draw_tiles(10, 4, generator=generator_for(0, "tiles", epoch)).tolist()
    )
    assert all(abs(counts[row] - 800) < 100 for row in range(10))


@given(pairs=st.integers(2, 70), batch=st.integers(2, 20), epoch=st.integers(0, 5))
def test_an_epoch_has_each_pair_once_and_no_batch_of_one(pairs, batch, epoch):
    batches = batches_of_epoch(pairs, batch, seed=1, epoch=epoch)
    assert sorted(position for key in batches for position in key.positions) == list(range(pairs))
    assert all(2 <= len(key.positions) <= batch + 1 for key in batches)
    assert all(len(key.positions) == batch for key in batches[:-1])
    assert {key.epoch for key in batches} == {epoch}


def test_batches_are_shuffled_anew_each_epoch_and_the_same_for_the_same_seed():
    def order(seed: int, epoch: int) -> list[int]:
        return [position for key in batches_of_epoch(50, 8, seed=seed, epoch=epoch) for position in key.positions]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_a_batch_holds_tiles_of_its_slides_beside_the_profiles_of_their_patients(store):
    batch = paired(store)[BatchKey(3, (6, 0, 1))]
    assert batch.slides == ("S6", "S0", "S1")
    assert batch.patients == ("P3", "P0", "P0")
    assert batch.tiles_BTD.shape == (3, 10, 4) and batch.tiles_BTD.dtype == torch.float32
    np.testing.assert_array_equal(batch.expression_BG, [[0, 1, 2], [3, 4, 5], [3, 4, 5]])
    assert torch.equal(batch.tiles_BTD[:, 0, 0] // 100, torch.tensor([6.0, 0.0, 1.0]))
    assert len(batch.tiles_BTD[0, :, 0].unique()) == 10
    assert len(batch.tiles_BTD[1, :, 0].unique()) <= 5


def test_tiles_depend_on_seed_slide_and_epoch_and_not_on_the_batch(store):
    alone = paired(store)[BatchKey(0, (4,))].tiles_BTD[0]
    assert torch.equal(alone, paired(store)[BatchKey(0, (2, 4, 1))].tiles_BTD[1])
    assert not torch.equal(alone, paired(store)[BatchKey(1, (4,))].tiles_BTD[0])
    assert not torch.equal(alone, paired(store, seed=1)[BatchKey(0, (4,))].tiles_BTD[0])


def test_two_workers_read_the_same_numbers_as_none_in_every_epoch(store):
    alone = PairLoader(paired(store), batch=2, seed=5, workers=0)
    helped = PairLoader(paired(store), batch=2, seed=5, workers=2)
    assert len(alone) == len(helped) == 3
    for epoch in (0, 1, 7):
        batches = list(zip(alone.epoch(epoch), helped.epoch(epoch), strict=True))
        assert len(batches) == 3
        for ours, theirs in batches:
            assert (ours.slides, ours.patients) == (theirs.slides, theirs.patients)
            assert torch.equal(ours.tiles_BTD, theirs.tiles_BTD)
            assert torch.equal(ours.expression_BG, theirs.expression_BG)


def test_loading_draws_nothing_from_the_global_random_stream(store):
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    list(PairLoader(paired(store), batch=4, seed=0).epoch(0))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_patient_without_a_profile_and_a_single_pair_are_refused(store):
    with pytest.raises(DataError, match=r"1 patients have no expression \(P9\)"):
        PairedSlides(store, {**OWNERS, "S6": "P9"}, PROFILES, tiles=4, seed=0)
    with pytest.raises(DataError, match="two pairs at least"):
        PairedSlides(store, {"S0": "P0"}, PROFILES, tiles=4, seed=0)


def test_patients_without_a_slide_follow_with_their_profile_and_no_tile(store):
    owners = {slide: patient for slide, patient in OWNERS.items() if patient != "P1"}
    pairs = PairedSlides(store, owners, PROFILES, tiles=4, seed=0, without_slide=("P1",))
    assert len(pairs) == len(owners) + 1
    batch = pairs[BatchKey(0, (len(owners), 0))]
    assert (batch.slides, batch.patients) == (("", "S0"), ("P1", "P0"))
    assert batch.tiles_BTD[0].isnan().all() and batch.tiles_BTD[1].isfinite().all()
    np.testing.assert_array_equal(batch.expression_BG[0], PROFILES.values[2])
    alone = pairs[BatchKey(0, (len(owners),))]
    assert alone.tiles_BTD.shape == (1, 4, 4)
