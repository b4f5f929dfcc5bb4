"""Probes: fitted on what they say, drawn as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestCentroid

from mirror.errors import DataError
from mirror.evaluation.metrics import auroc
from mirror.evaluation.probes import (
    LINEAR_STRENGTHS,
    fit_linear_probe,
    fit_probe,
    fit_prototypes,
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


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 4), columns=st.integers(1, 30))
def test_the_nearest_prototype_is_the_nearest_centroid(seed: int, classes: int, columns: int) -> None:
    (x, codes), (new, _) = (task(classes=classes, columns=columns + 4, seed=number) for number in (seed, seed + 1))
    found = fit_prototypes(x, codes).probabilities(new)
    np.testing.assert_array_equal(found.argmax(axis=1), NearestCentroid().fit(x, codes).predict(new))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_chances_of_prototypes_stay_in_order_however_wide_the_representation() -> None:
    x, codes = task(classes=2, columns=3000)
    found = fit_prototypes(x, codes).probabilities(task(classes=2, columns=3000, seed=1)[0])
    assert len(np.unique(found[:, 1])) == len(found)
    assert np.all((found > 0.0) & (found < 1.0))


def test_patients_who_are_their_prototypes_leave_no_doubt_and_no_nan() -> None:
    x = np.array([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_array_equal(fit_prototypes(x, np.array([0, 1])).probabilities(x), np.eye(2))


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
