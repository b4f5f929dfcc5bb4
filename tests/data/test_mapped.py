"""Truths about samples of rows that are stored in a random order."""

from __future__ import annotations

from collections import Counter
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.data.datasets import draw_tiles
from mirror.data.feature_file import write_bag
from mirror.data.feature_store import Bag
from mirror.data.mapped import MappedRows, draw_blocks
from mirror.seeding import generator_for
from project_scripts import load_script

FEATURES = np.random.default_rng(0).normal(size=(90, 6)).astype(np.float16).astype(np.float32)


@given(available=st.integers(1, 90), share=st.floats(0, 1), block=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_sample_of_blocks_has_as_many_rows_as_asked_for_and_none_twice(available, share, block, seed):
    wanted = max(1, int(share * available))
    rows = draw_blocks(available, wanted, block=block, generator=generator_for(seed, "tiles"))
    assert len(rows) == len(set(rows.tolist())) == wanted
    assert rows.min() >= 0 and rows.max() < available


def test_every_row_is_drawn_equally_often_wherever_it_stands():
    counts = Counter(
        row
        for epoch in range(4000)
        for row in draw_blocks(23, 9, block=4, generator=generator_for(0, "tiles", epoch)).tolist()
    )
    expected = 4000 * 9 / 23
    # five standard deviations of a binomial count
    assert all(abs(counts[row] - expected) < 5 * np.sqrt(expected * (1 - 9 / 23)) for row in range(23))


@given(seed=st.integers(0, 99))
def test_a_sample_is_few_runs_of_neighbours(seed):
    rows = np.sort(draw_blocks(1000, 200, block=20, generator=generator_for(seed, "tiles")))
    # ten blocks, one more where the short one is among them, one more where a block goes around the end
    assert 1 + np.count_nonzero(np.diff(rows) > 1) <= 12


def test_files_in_their_own_order_are_drawn_from_as_ever():
    rows = draw_tiles(500, 20, generator=generator_for(0, "tiles", "S", 3))
    # as recorded before files in random order existed
    np.testing.assert_array_equal(rows[:4], [295, 165, 362, 353])


@given(rows=st.lists(st.integers(0, 89), max_size=120))
def test_mapped_rows_are_what_indexing_an_array_gives(rows, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "mapped.bin"
    if not path.exists():
        path.write_bytes(b"before." + FEATURES.tobytes())
    wanted = np.array(rows, dtype=np.intp)
    source = MappedRows(path, FEATURES.dtype, FEATURES.shape, offset=7)
    np.testing.assert_array_equal(source.take(wanted), FEATURES[wanted])


def test_only_a_file_in_random_order_is_read_in_blocks(tmp_path):
    wide = np.ones((1000, 1024), dtype=np.float16)
    for name, order_seed in (("own", None), ("random", 0)):
        write_bag(tmp_path / f"{name}.h5", wide, order_seed=order_seed)
    assert Bag(tmp_path / "own.h5").block == 1
    assert Bag(tmp_path / "random.h5").block == 15  # 64 blocks; 32 rows make 64 KiB


def test_training_reads_a_file_in_random_order_in_blocks_and_shuffles_what_it_read(tmp_path):
    features = np.repeat(np.arange(640, dtype=np.float32)[:, None], 4, axis=1)
    write_bag(tmp_path / "a.h5", features, order_seed=0)
    bag = Bag(tmp_path / "a.h5")
    rows = draw_tiles(bag.tiles, 100, generator=generator_for(0, "tiles"), block=bag.block)
    assert 1 + np.count_nonzero(np.diff(np.sort(rows)) > 1) <= 11
    assert np.count_nonzero(np.abs(np.diff(rows)) == 1) < 20
    assert len(np.unique(bag.read(rows)[:, 0])) == 100


@pytest.fixture(scope="module")
def loader() -> ModuleType:
    """The benchmark, for its count of the pages that were read."""
    return load_script("benchmarks/loader")


def test_a_cold_sample_touches_little_more_of_the_file_than_its_rows(loader, tmp_path):
    path = tmp_path / "a.h5"
    write_bag(path, np.ones((6000, 1024), dtype=np.float16), order_seed=0)
    bag = Bag(path)
    rows = draw_tiles(bag.tiles, 600, generator=generator_for(0, "tiles"), block=bag.block)
    loader.drop_from_cache(path)
    if loader.resident_share(path) > 0.05:
        pytest.skip("this file system does not let go of its cache")
    bag.read(rows)
    assert 0.1 <= loader.resident_share(path) < 0.13
