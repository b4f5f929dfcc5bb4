"""Probes: fitted on what they say, drawn as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.errors import DataError
from mirror.evaluation.metrics import auroc
from mirror.evaluation.probes import (
    LINEAR_STRENGTHS,
    few_shot_rows,
    fit_few_shot_probe,
    fit_linear_probe,
    fit_probe,
    why_not,
)
from mirror.evaluation.representations import row_space


def task(*, patients: int = 90, columns: int = 12, classes: int = 3, signal: float = 1.5, seed: int = 0):
    rng = np.random.default_rng(seed)
    codes = np.arange(patients) % classes
    x = rng.normal(size=(patients, columns))
    x[np.arange(patients), codes] += signal
    return x, codes


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_that_differ_are_told_apart(classes: int) -> None:
    probe = fit_linear_probe(*task(classes=classes), inner_folds=5, seed=0)
    x, codes = task(classes=classes, seed=1)
    assert auroc(codes, probe.probabilities(x)) > 0.8
    assert probe.strength in LINEAR_STRENGTHS


@pytest.mark.parametrize("strength", [0.01, 10.0])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_row_space_gives_the_same_probabilities(strength: float, classes: int) -> None:
    (x, codes), (new, _) = task(patients=40, columns=120, classes=classes), task(columns=120, seed=1)
    basis = row_space(x)
    assert basis is not None
    wide, narrow = fit_probe(x, codes, strength=strength), fit_probe(x @ basis, codes, strength=strength)
    np.testing.assert_allclose(wide.probabilities(new), narrow.probabilities(new @ basis), atol=1e-5)


def test_a_rare_class_weighs_as_much_as_a_common_one() -> None:
    x, codes = task(classes=2, signal=0.0)
    rare = np.concatenate([np.flatnonzero(codes == 0), np.flatnonzero(codes == 1)[:5]])
    # Against a penalty this strong only the intercept is left, and it knows no majority.
    p = fit_probe(x[rare], codes[rare], strength=1e-9).probabilities(x)
    np.testing.assert_allclose(p, 0.5, atol=1e-3)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), shots=st.integers(1, 5), extra=st.lists(st.integers(0, 2), max_size=30))
def test_shots_are_drawn_per_class_and_nobody_twice(seed: int, shots: int, extra: list[int]) -> None:
    codes = np.array([*np.repeat(np.arange(3), 5), *extra])
    rows = few_shot_rows(codes, keys=np.random.default_rng(seed).random(len(codes)), shots=shots)
    assert len(set(rows)) == len(rows) == 3 * shots
    np.testing.assert_array_equal(np.bincount(codes[rows]), [shots] * 3)


def test_fewer_shots_are_a_part_of_more() -> None:
    codes, keys = np.arange(60) % 2, np.random.default_rng(0).random(60)
    assert set(few_shot_rows(codes, keys=keys, shots=4)) < set(few_shot_rows(codes, keys=keys, shots=10))


def test_every_patient_is_drawn_as_often_as_the_next() -> None:
    codes, rng = np.arange(20) % 2, np.random.default_rng(0)
    drawn = np.bincount(np.concatenate([few_shot_rows(codes, keys=rng.random(20), shots=3) for _ in range(4000)]))
    # 4,000 draws of 3 of 10: 1,200 each, standard deviation 29.
    assert np.abs(drawn - 1200).max() < 130


def test_a_few_shot_probe_sees_only_the_drawn_patients() -> None:
    x, codes = task()
    keys = np.random.default_rng(0).random(len(x))
    drawn = few_shot_rows(codes, keys=keys, shots=5)
    noisy = np.random.default_rng(1).normal(size=x.shape)
    noisy[drawn] = x[drawn]
    one, other = (fit_few_shot_probe(values, codes, keys=keys, shots=5) for values in (x, noisy))
    np.testing.assert_array_equal(one.model.coef_, other.model.coef_)


def test_a_class_with_fewer_patients_than_shots_is_refused() -> None:
    with pytest.raises(DataError, match="4 shots"):
        few_shot_rows(np.array([0, 0, 0, 0, 1, 1]), keys=np.zeros(6), shots=4)


def test_a_linear_probe_refuses_a_class_of_one_patient() -> None:
    x, codes = task(patients=11, classes=2)
    with pytest.raises(DataError, match="each class needs two"):
        fit_linear_probe(x[:10], np.where(np.arange(10) == 4, 1, 0) * codes[1], inner_folds=5, seed=0)


def test_inner_folds_shrink_to_the_rarest_class() -> None:
    x, codes = task(classes=2)
    few = np.concatenate([np.flatnonzero(codes == 0), np.flatnonzero(codes == 1)[:2]])
    assert fit_linear_probe(x[few], codes[few], inner_folds=5, seed=0).strength in LINEAR_STRENGTHS


def test_the_reason_names_the_class_that_is_too_thin() -> None:
    assert why_not(np.array([0, 0, 2]), ("IDC", "ILC", "MDLC"), needed=2) == (
        "2 training patients a class are needed and ILC has 0, MDLC has 1"
    )
    assert why_not(np.array([0, 0, 1, 1]), ("IDC", "ILC"), needed=2) is None
