"""Few-shot probes: drawn as they say, and all draws at once the probes that scikit-learn fits one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from mirror.errors import DataError
from mirror.evaluation.few_shot import few_shot_probabilities, few_shot_rows


def draw(codes: np.ndarray, *, shots: int, draws: int = 1, seed: int = 0) -> np.ndarray:
    return few_shot_rows(codes, keys=np.random.default_rng(seed).random((draws, len(codes))), shots=shots)


def task(*, classes: int, columns: int, patients: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = np.arange(patients) % classes
    x = rng.normal(size=(patients, columns)) + rng.normal(size=(patients, 1))
    x[np.arange(patients), codes] += 2.0
    return x, codes


def predict(x: np.ndarray, codes: np.ndarray, new: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return few_shot_probabilities(x @ x.T, new @ x.T, codes, rows)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("columns", [8, 400])
@pytest.mark.parametrize("shots", [1, 10])
def test_every_draw_is_the_logistic_regression_of_scikit_learn(classes: int, columns: int, shots: int) -> None:
    (x, codes), (new, _) = task(classes=classes, columns=columns), task(classes=classes, columns=columns, seed=1)
    rows = draw(codes, shots=shots, draws=3)
    oracle = LogisticRegression(C=0.03, tol=1e-12, max_iter=100_000, solver="newton-cg")
    expected = np.stack([oracle.fit(x[own], codes[own]).predict_proba(new) for own in rows])
    np.testing.assert_allclose(predict(x, codes, new, rows), expected, atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), shots=st.integers(1, 5), extra=st.lists(st.integers(0, 2), max_size=30))
def test_shots_are_drawn_per_class_and_nobody_twice(seed: int, shots: int, extra: list[int]) -> None:
    codes = np.array([*np.repeat(np.arange(3), 5), *extra])
    for rows in draw(codes, shots=shots, draws=4, seed=seed):
        assert len(set(rows)) == len(rows) == 3 * shots
        np.testing.assert_array_equal(np.bincount(codes[rows]), [shots] * 3)


def test_fewer_shots_are_a_part_of_more() -> None:
    codes = np.arange(60) % 2
    for few, more in zip(draw(codes, shots=4, draws=5), draw(codes, shots=10, draws=5), strict=True):
        assert set(few) < set(more)


def test_every_patient_is_drawn_as_often_as_the_next() -> None:
    drawn = np.bincount(draw(np.arange(20) % 2, shots=3, draws=4000).ravel())
    # 4,000 draws of 3 of 10: 1,200 each, standard deviation 29.
    assert np.abs(drawn - 1200).max() < 130


def test_a_few_shot_probe_sees_only_the_drawn_patients() -> None:
    (x, codes), (new, _) = task(classes=3, columns=12), task(classes=3, columns=12, seed=1)
    rows = draw(codes, shots=5)
    noisy = np.random.default_rng(1).normal(size=x.shape)
    noisy[rows[0]] = x[rows[0]]
    np.testing.assert_array_equal(predict(x, codes, new, rows), predict(noisy, codes, new, rows))


def test_a_class_with_fewer_patients_than_shots_is_refused() -> None:
    with pytest.raises(DataError, match="4 shots"):
        draw(np.array([0, 0, 0, 0, 1, 1]), shots=4)
