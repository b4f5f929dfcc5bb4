"""Truths about our own feature file."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.data.feature_file import BagFacts, read_facts, stored_order, write_bag
from mirror.data.feature_store import Bag, inspect_bag
from mirror.errors import DataError

FEATURES = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float16).astype(np.float32)
COORDS = np.arange(100).reshape(50, 2)
FACTS = BagFacts(
    encoder="uni",
    encoder_revision="r2",
    mpp=0.5,
    tile_px=512,
    target_magnification=20.0,
    overlap_px=0,
    tile_level0_px=1018.5,
    slide_mpp=0.2514,
    source="STAMP 2.3.0",
)


def test_our_file_survives_a_round_trip(tmp_path):
    path = tmp_path / "slide.1.h5"
    write_bag(path, FEATURES, coords=COORDS, facts=FACTS)
    bag = Bag(path)
    np.testing.assert_array_equal(bag.read(), FEATURES)
    np.testing.assert_array_equal(bag.coords(), COORDS)
    assert bag.encoder == "uni"
    assert read_facts(path) == FACTS
    with h5py.File(path) as file:
        assert file["features"].chunks is None and file["features"].dtype == np.float16


def test_what_is_not_known_is_not_written(tmp_path):
    write_bag(tmp_path / "a.h5", FEATURES, facts=BagFacts(encoder="uni", mpp=0.5))
    with h5py.File(tmp_path / "a.h5") as file:
        assert dict(file.attrs) == {"mirror_schema": 1, "encoder": "uni", "mpp": 0.5}
    assert read_facts(tmp_path / "a.h5") == BagFacts(encoder="uni", mpp=0.5)


def test_our_file_is_the_same_bytes_every_time_and_under_every_name(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_bag(tmp_path / name, FEATURES, facts=FACTS, order_seed=3)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_rows_in_random_order_are_the_same_tiles_at_the_same_positions(tmp_path):
    write_bag(tmp_path / "a.h5", FEATURES, coords=COORDS, order_seed=3)
    bag = Bag(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        source_row = file["source_row"][()]
        assert file.attrs["order_seed"] == 3
    assert not np.array_equal(source_row, np.arange(50))
    np.testing.assert_array_equal(bag.read(), FEATURES[source_row])
    np.testing.assert_array_equal(bag.coords(), COORDS[source_row])


@given(tiles=st.integers(1, 300), seed=st.integers(0, 99))
def test_the_stored_order_has_every_row_once(tiles, seed):
    assert sorted(stored_order(tiles, seed)) == list(range(tiles))


def test_positions_in_other_units_are_kept_apart_under_their_unit(tmp_path):
    micrometres = COORDS * 256.5
    write_bag(tmp_path / "a.h5", FEATURES, coords=micrometres, coords_unit="um")
    assert Bag(tmp_path / "a.h5").coords() is None
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["coords_as_given"], micrometres)
        assert file["coords_as_given"].attrs["unit"] == "um"


def test_features_in_random_order_have_the_same_hash_under_two_names_so_copies_are_found(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_bag(tmp_path / name, FEATURES, order_seed=0)
    assert inspect_bag(tmp_path / "a.h5") == inspect_bag(tmp_path / "b.h5")


@pytest.mark.parametrize("value", [70_000.0, -1e6, np.nan, np.inf])
def test_what_float16_cannot_hold_is_refused_with_its_row_and_nothing_is_written(value, tmp_path):
    features = FEATURES.copy()
    features[17, 1] = value
    with pytest.raises(DataError, match=r"a\.h5: 1 rows \(the first is 17\)"):
        write_bag(tmp_path / "a.h5", features)
    assert list(tmp_path.iterdir()) == []


def test_coordinates_must_be_one_a_tile_and_finite(tmp_path):
    with pytest.raises(DataError, match="do not fit 50 tiles"):
        write_bag(tmp_path / "a.h5", FEATURES, coords=np.zeros((49, 2), dtype=int))
    with pytest.raises(DataError, match="NaN or infinite"):
        write_bag(tmp_path / "a.h5", FEATURES, coords=np.full((50, 2), np.nan))


def test_facts_are_not_read_from_a_file_of_another_tool(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = FEATURES
    with pytest.raises(DataError, match="no feature file of this version"):
        read_facts(tmp_path / "a.h5")


def test_a_full_disk_is_a_clear_error_and_leaves_no_half_file(tmp_path):
    # In a process of its own, because the limit on file sizes cannot be taken back from the test's.
    script = f"""
        import resource, signal, numpy as np
        from pathlib import Path
        from mirror.data.feature_file import write_bag
        from mirror.errors import MirrorError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            write_bag(Path({str(tmp_path)!r}) / "a.h5", np.ones((200, 100), dtype=np.float32))
        except MirrorError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"could not write {tmp_path / 'a.h5'}: File too large")
    assert list(tmp_path.iterdir()) == []
