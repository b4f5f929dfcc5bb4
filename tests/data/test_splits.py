"""Truths about splits by patient."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.data.splits import inner_folds, load_folds, make_folds, read_folds, save_folds
from mirror.errors import ArtefactError, DataError, LeakError
from mirror.types import Fold

PATIENTS = [f"P{number:03d}" for number in range(60)]
cohorts = st.dictionaries(
    st.text(min_size=1, max_size=4),
    st.tuples(st.sampled_from(["IDC", "ILC", None]), st.sampled_from([True, False, None])),
    min_size=20,
    max_size=80,
)


def split(cohort, count=3, seed=0):
    labels = {patient: label for patient, (label, _) in cohort.items()}
    return make_folds(labels, {patient: event for patient, (_, event) in cohort.items()}, count=count, seed=seed)


def has_enough(cohort, count=3):
    sizes = Counter(label for label, _ in cohort.values() if label is not None)
    return all(size >= count for size in sizes.values())


@settings(max_examples=100)
@given(cohort=cohorts.filter(has_enough), seed=st.integers(0, 2**31))
def test_folds_never_share_a_patient_and_test_each_exactly_once(cohort, seed):
    folds = split(cohort, seed=seed)
    assert all(set(fold.train).isdisjoint(fold.test) for fold in folds)
    assert all(set(fold.train) | set(fold.test) == set(cohort) for fold in folds)
    assert sorted(patient for fold in folds for patient in fold.test) == sorted(cohort)


@settings(max_examples=100)
@given(cohort=cohorts.filter(has_enough))
def test_labels_events_and_sizes_are_spread_to_within_one_patient(cohort):
    folds = split(cohort)
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for part in (lambda both: both, lambda both: both[0]):
        for stratum in {part(both) for both in cohort.values()}:
            counts = [sum(part(cohort[patient]) == stratum for patient in fold.test) for fold in folds]
            assert max(counts) - min(counts) <= 1


@settings(max_examples=30)
@given(cohort=cohorts.filter(has_enough), data=st.data())
def test_folds_do_not_depend_on_the_order_of_the_patients(cohort, data):
    shuffled = data.draw(st.permutations(list(cohort)))
    assert split(cohort) == split({patient: cohort[patient] for patient in shuffled})


def test_folds_are_the_same_in_another_process_with_another_hash_seed():
    script = (
        "from mirror.data.splits import inner_folds;"
        "print(inner_folds({f'P{n}': 'ab'[n % 2] for n in range(20)}, count=4, seed=3)[1].test)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_another_seed_gives_other_folds():
    cohort = dict.fromkeys(PATIENTS, ("IDC", None))
    assert split(cohort, seed=0) != split(cohort, seed=1)


def test_a_class_with_fewer_patients_than_folds_is_named_with_the_remedy():
    labels: dict[str, str | None] = dict.fromkeys(PATIENTS, "IDC") | {"P001": "ILC", "P002": "ILC", "P003": None}
    with pytest.raises(DataError, match=r"(?s)5 patients of each class; lower `folds.count`.*class 'ILC' has 2"):
        make_folds(labels, {}, count=5, seed=0)


def test_more_folds_than_patients_are_refused():
    with pytest.raises(DataError, match="2 patients cannot be split into 3 folds"):
        inner_folds({"a": "x", "b": "x"}, count=3, seed=0)


@pytest.mark.parametrize("half", ["val", "test"])
@pytest.mark.parametrize("as_list", [False, True])
def test_the_users_folds_are_read_in_each_form(half, as_list, write_folds):
    part = {"train": ["b", "a"], half: ["c"]}
    read = read_folds(write_folds([part] if as_list else {"0": part}), ["a", "b", "c"])
    assert read.folds == (Fold(0, ("a", "b"), ("c",)),)


def test_strangers_are_left_out_and_reported_and_so_are_unused_patients(write_folds):
    path = write_folds({"0": {"train": ["a", "x"], "val": ["b"]}, "1": {"train": ["b"], "val": ["a"]}})
    read = read_folds(path, ["a", "b", "c"])
    assert read.folds[0] == Fold(0, ("a",), ("b",))
    assert read.unknown == {0: ("x",), 1: ()}
    assert read.unused == {0: ("c",), 1: ("c",)}


def test_a_patient_in_two_halves_stops_the_run_naming_every_fold_and_patient(write_folds):
    path = write_folds(
        {
            "0": {"train": ["a", "b"], "val": ["c"]},
            "1": {"train": ["a", "b", "c"], "val": ["b", "c"]},
            "2": {"train": ["a"], "val": ["a"]},
        }
    )
    with pytest.raises(LeakError) as caught:
        read_folds(path, ["a", "b", "c"])
    assert str(path) in str(caught.value)
    assert "fold 1: 2 patients in both halves: b, c" in str(caught.value)
    assert "fold 2: 1 patients in both halves: a" in str(caught.value)
    assert "fold 0" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "has no folds"),
        ({"0": {"train": ["a"]}}, r"fold 0 has \['train'\]"),
        ({"0": {"train": ["a"], "val": ["b"], "test": ["c"]}}, "one of `val` and `test`"),
        ({"0": {"train": "a", "val": "b"}}, "expected the lists"),
        ({"0": ["a", "b"]}, "expected the lists"),
        ({"0": {"train": ["x"], "val": ["b"]}}, "fold 0: a half has no patient of the cohort"),
    ],
)
def test_folds_of_another_form_are_refused(content, says, write_folds):
    with pytest.raises(DataError, match=rf"(?s)folds\.json.*{says}"):
        read_folds(write_folds(content), ["a", "b", "c"])


def test_a_missing_or_damaged_file_of_folds_is_refused(tmp_path):
    with pytest.raises(DataError, match="there are no folds"):
        read_folds(tmp_path / "none.json", ["a"])
    (tmp_path / "bad.json").write_text('{"0": ')
    with pytest.raises(DataError, match=r"bad\.json is not valid JSON"):
        read_folds(tmp_path / "bad.json", ["a"])


def test_folds_survive_a_round_trip(tmp_path):
    folds = split({patient: ("IDC", number % 2 == 0) for number, patient in enumerate(PATIENTS)})
    save_folds(tmp_path / "folds.json", folds)
    assert load_folds(tmp_path / "folds.json") == folds
    (tmp_path / "folds.json").write_text('{"schema": 1, "folds": [{"number": 0}]}')
    with pytest.raises(ArtefactError, match="does not hold folds"):
        load_folds(tmp_path / "folds.json")


def test_folds_keep_the_numbers_of_their_keys(write_folds):
    parts = {"1": {"train": ["a"], "val": ["b"]}, "3": {"train": ["b"], "val": ["a"]}}
    assert [fold.number for fold in read_folds(write_folds(parts), ["a", "b"]).folds] == [1, 3]
    named = {f"split {key}": part for key, part in parts.items()}
    assert [fold.number for fold in read_folds(write_folds(named), ["a", "b"]).folds] == [0, 1]
