"""Truths about bags of tile features."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.data import feature_store
from mirror.data.feature_file import write_bag
from mirror.data.feature_store import Bag, FeatureStore, find_bags, inspect_bag
from mirror.errors import DataError

FEATURES = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float16).astype(np.float32)


def as_pt(folder: Path) -> Path:
    torch.save(torch.from_numpy(FEATURES), folder / "a.pt")
    return folder / "a.pt"


def as_pt_with_leading_one(folder: Path) -> Path:
    torch.save(torch.from_numpy(FEATURES)[None].half(), folder / "a.pt")
    return folder / "a.pt"


def as_pt_of_old_torch(folder: Path) -> Path:
    torch.save(torch.from_numpy(FEATURES), folder / "a.pt", _use_new_zipfile_serialization=False)
    return folder / "a.pt"


def as_bfloat16(folder: Path) -> Path:
    torch.save(torch.from_numpy(FEATURES).bfloat16(), folder / "a.pt")
    return folder / "a.pt"


def as_contiguous(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["features"] = FEATURES
    return folder / "a.h5"


def as_contiguous_with_leading_one(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["features"] = FEATURES[None]
    return folder / "a.h5"


def as_chunked(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("features", data=FEATURES, chunks=(1, 6), compression="gzip")
    return folder / "a.h5"


def as_chunked_with_leading_one(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("features", data=FEATURES[None], chunks=(1, 4, 3))
    return folder / "a.h5"


def as_contiguous_behind_a_user_block(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w", userblock_size=512) as file:
        file["features"] = FEATURES
    return folder / "a.h5"


def as_big_endian(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["features"] = FEATURES.astype(">f4")
    return folder / "a.h5"


def as_ours(folder: Path) -> Path:
    write_bag(folder / "a.h5", FEATURES)
    return folder / "a.h5"


LAYOUTS = [
    as_pt,
    as_pt_with_leading_one,
    as_pt_of_old_torch,
    as_contiguous,
    as_contiguous_with_leading_one,
    as_chunked,
    as_chunked_with_leading_one,
    as_contiguous_behind_a_user_block,
    as_big_endian,
    as_ours,
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_come_in_the_order_asked_for_with_repeats_from_every_layout(layout, tmp_path):
    bag = Bag(layout(tmp_path))
    rows = np.array([49, 0, 7, 7, 31, 30, 0])
    assert (bag.tiles, bag.width) == (50, 6)
    np.testing.assert_array_equal(bag.read(rows), FEATURES[rows])
    np.testing.assert_array_equal(bag.read(), FEATURES)
    assert bag.read(rows).dtype == np.float32
    assert bag.read(np.array([], dtype=np.intp)).shape == (0, 6)


def test_bfloat16_is_read_as_the_float32_it_stands_for(tmp_path):
    expected = torch.from_numpy(FEATURES).bfloat16().float().numpy()
    np.testing.assert_array_equal(Bag(as_bfloat16(tmp_path)).read(), expected)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.integers(0, 49), max_size=80), chunk=st.integers(1, 50))
def test_gathering_from_chunks_equals_indexing_an_array(rows, chunk):
    from mirror.data.hdf5 import gather

    with h5py.File(io.BytesIO(), "w") as file:
        dataset = file.create_dataset("features", data=FEATURES, chunks=(chunk, 6))
        wanted = np.array(rows, dtype=np.intp)
        np.testing.assert_array_equal(gather(dataset, wanted), FEATURES[wanted])


@pytest.mark.parametrize("row", [-1, 50])
def test_a_row_outside_the_bag_is_refused_and_not_wrapped_around(row, tmp_path):
    with pytest.raises(IndexError, match="50 tiles"):
        Bag(as_pt(tmp_path)).read(np.array([row]))


def test_the_same_features_have_the_same_hash_in_every_layout(tmp_path):
    hashes = {inspect_bag(layout(tmp_path)).feature_hash for layout in LAYOUTS}
    assert len(hashes) == 1


def test_the_hash_sees_a_single_changed_value_and_another_shape(tmp_path):
    changed = FEATURES.copy()
    changed[20, 3] += 1
    hashes = set()
    for number, features in enumerate((FEATURES, changed, FEATURES.reshape(100, 3))):
        torch.save(torch.from_numpy(features), tmp_path / f"{number}.pt")
        hashes.add(inspect_bag(tmp_path / f"{number}.pt").feature_hash)
    assert len(hashes) == 3


def test_inspection_in_small_blocks_finds_what_one_block_finds(tmp_path, monkeypatch):
    spoilt = FEATURES.copy()
    spoilt[13, 2], spoilt[40, 0] = np.nan, np.inf
    torch.save(torch.from_numpy(spoilt), tmp_path / "a.pt")
    whole = inspect_bag(tmp_path / "a.pt")
    monkeypatch.setattr(feature_store, "_BLOCK_BYTES", 4 * 6 * 7)
    assert inspect_bag(tmp_path / "a.pt") == whole
    assert (whole.bad_rows, whole.first_bad_row) == (2, 13)


def test_the_encoder_is_found_where_other_tools_write_it(tmp_path):
    with h5py.File(as_contiguous(tmp_path), "a") as file:
        file["features"].attrs["encoder"] = "None"
        file["coords"] = np.zeros((50, 2))
        file["coords"].attrs["encoder"] = "conch_v15"
    assert Bag(tmp_path / "a.h5").encoder == "conch_v15"


def test_a_store_reopens_its_files_after_travelling_to_another_process(tmp_path):
    store = FeatureStore({"a": as_chunked(tmp_path)})
    before = store.bag("a").read(np.array([3]))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).bag("a").read(np.array([3])), before)


def test_a_store_keeps_only_so_many_files_open(tmp_path):
    paths = {}
    for number in range(6):
        paths[str(number)] = tmp_path / f"{number}.h5"
        write_bag(paths[str(number)], FEATURES + number)
    store = FeatureStore(paths, keep_open=2)
    for number in (0, 1, 2, 3, 4, 5, 0):
        np.testing.assert_allclose(store.bag(str(number)).read(), FEATURES + number, atol=0.01)
    assert store.bag("0") is store.bag("0")
    assert len(store._open) == 2


def test_bags_are_found_by_the_name_before_the_last_dot_and_other_files_ignored(tmp_path):
    for name in ("TCGA-1.AB.pt", "b.h5", ".b.123.aside.h5", "notes.txt"):
        (tmp_path / name).touch()
    assert find_bags(tmp_path) == {"TCGA-1.AB": tmp_path / "TCGA-1.AB.pt", "b": tmp_path / "b.h5"}


def test_a_slide_in_two_formats_is_an_error_that_names_both_files(tmp_path):
    as_pt(tmp_path), as_ours(tmp_path)
    with pytest.raises(DataError, match=r"a\.h5 and .*a\.pt"):
        find_bags(tmp_path)


def empty(path: Path) -> None:
    torch.save(torch.empty(0, 6), path)


def of_rank_one(path: Path) -> None:
    torch.save(torch.ones(6), path)


def two_slides(path: Path) -> None:
    torch.save(torch.ones(2, 5, 6), path)


def of_integers(path: Path) -> None:
    torch.save(torch.ones(5, 6, dtype=torch.int32), path)


def a_dictionary(path: Path) -> None:
    torch.save({"features": torch.ones(5, 6)}, path)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path.with_name("executed"),))


def a_pickle_that_executes(path: Path) -> None:
    torch.save(Evil(path), path)


def a_bare_pickle_that_executes(path: Path) -> None:
    path.write_bytes(pickle.dumps(Evil(path), protocol=2))


def truncated(path: Path) -> None:
    torch.save(torch.ones(500, 6), path)
    path.write_bytes(path.read_bytes()[:5000])


def of_no_bytes(path: Path) -> None:
    path.touch()


def of_text(path: Path) -> None:
    path.write_text("<html>404</html>")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (empty, "empty bag"),
        (of_rank_one, r"shape \(6,\)"),
        (two_slides, r"shape \(2, 5, 6\)"),
        (of_integers, "torch.int32"),
        (a_dictionary, r"dict \['features'\]"),
        (a_pickle_that_executes, "could execute code"),
        (a_bare_pickle_that_executes, "could execute code"),
        (truncated, "truncated"),
        (of_no_bytes, "unreadable or truncated"),
        (of_text, "no tensor file"),
    ],
)
def test_a_bad_pt_is_refused_by_name_and_executes_nothing(make, says, tmp_path):
    make(tmp_path / "bad.pt")
    with pytest.raises(DataError, match=rf"bad\.pt.*{says}"):
        inspect_bag(tmp_path / "bad.pt")
    assert not (tmp_path / "executed").exists()


def h5_empty(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["features"] = np.zeros((0, 6))


def h5_without_features(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["feats"] = np.zeros((3, 6))
        file["coords"] = np.zeros((3, 2))


def h5_truncated(path: Path) -> None:
    write_bag(path, np.ones((500, 60), dtype=np.float32))
    path.write_bytes(path.read_bytes()[:20_000])


def h5_of_another_schema(path: Path) -> None:
    write_bag(path, FEATURES)
    with h5py.File(path, "a") as file:
        file.attrs["mirror_schema"] = 99


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (h5_empty, "empty bag"),
        (h5_without_features, "has no dataset `features` of floats but coords, feats"),
        (h5_truncated, "truncated"),
        (of_text, "unreadable or truncated"),
        (h5_of_another_schema, "schema 99, this version reads 1"),
    ],
)
def test_a_bad_h5_is_refused_by_name(make, says, tmp_path):
    make(tmp_path / "bad.h5")
    with pytest.raises(DataError, match=rf"bad\.h5.*{says}"):
        inspect_bag(tmp_path / "bad.h5")


@pytest.mark.parametrize("ending", ["pt", "h5"])
def test_a_file_cut_anywhere_is_refused_and_never_read_in_part(ending, tmp_path):
    path = tmp_path / f"bad.{ending}"
    torch.save(torch.from_numpy(FEATURES), path) if ending == "pt" else write_bag(path, FEATURES)
    whole = path.read_bytes()
    for length in np.random.default_rng(0).integers(0, len(whole), 200):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=rf"bad\.{ending}"):
            inspect_bag(path)
