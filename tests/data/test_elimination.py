"""Recursive feature elimination: the answers of scikit-learn's RFECV, and what they may depend on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.feature_selection import RFE, RFECV
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC

from mirror.data.elimination import Elimination, eliminate
from mirror.errors import ConfigError, DataError

EXACT = LinearSVC(C=1, loss="squared_hinge", dual=True, tol=1e-8, max_iter=50_000, random_state=0)


def cohort(
    *, samples: int = 60, features: int = 80, classes: int = 3, informative: int = 4, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Expression-like values, in which every class shifts a few columns of its own; class names out of order."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((samples, features)) + rng.gamma(2, size=features)
    codes = rng.permutation(np.arange(samples) % classes)
    for code in range(classes):
        matrix[np.ix_(codes == code, rng.choice(features, informative, replace=False))] += 1.2
    return matrix, np.array(["LUAD", "BRCA", "COAD", "KIRC"])[codes]


def reference(matrix: np.ndarray, labels: np.ndarray, *, step: float, folds: int, minimum: int) -> RFECV:
    search = RFECV(EXACT, step=step, cv=StratifiedKFold(folds), scoring="accuracy", min_features_to_select=minimum)
    return search.fit(matrix, labels)


def assert_same(ours: Elimination, theirs: RFECV) -> None:
    found = theirs.cv_results_
    assert_array_equal(ours.sizes, found["n_features"][::-1])
    for fold, scores in enumerate(ours.scores):
        assert_array_equal(scores, found[f"split{fold}_test_score"][::-1])
    assert_allclose(ours.mean_score, found["mean_test_score"][::-1], rtol=1e-12)
    assert_allclose(ours.std_score, found["std_test_score"][::-1], atol=1e-12)
    assert ours.best_size == theirs.n_features_
    assert_array_equal(ours.kept, np.flatnonzero(theirs.support_))
    assert_array_equal(ours.ranking, theirs.ranking_)


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize(("step", "folds", "minimum"), [(0.08, 5, 1), (0.3, 3, 2), (7, 4, 10)])
def test_scores_sizes_and_selection_are_those_of_scikit_learn(
    classes: int, step: float, folds: int, minimum: int
) -> None:
    matrix, labels = cohort(classes=classes, seed=folds)
    ours = eliminate(matrix, labels, step=step, folds=folds, minimum=minimum)
    assert_same(ours, reference(matrix, labels, step=step, folds=folds, minimum=minimum))


def test_more_samples_than_features_give_the_same_as_scikit_learn() -> None:
    matrix, labels = cohort(samples=90, features=15, informative=2)
    assert_same(eliminate(matrix, labels, step=4, folds=3), reference(matrix, labels, step=4, folds=3, minimum=1))


def test_constant_and_repeated_columns_leave_in_the_order_of_scikit_learn() -> None:
    matrix, labels = cohort(features=150, classes=2, seed=1)
    rng = np.random.default_rng(0)
    for values in (np.full((60, 1), -9.9658), matrix[:, [149]].copy()):
        matrix[:, rng.choice(150, 40, replace=False)] = values
    plan = {"step": 13, "folds": 2, "minimum": 10}
    assert_same(eliminate(matrix, labels, **plan), reference(matrix, labels, **plan))


def test_every_size_of_one_elimination_is_the_panel_of_rfe_at_that_size() -> None:
    matrix, labels = cohort()
    result = eliminate(matrix, labels)
    for size in (72, 40, 4, 1):
        support = RFE(EXACT, n_features_to_select=size, step=0.05).fit(matrix, labels).support_
        assert_array_equal(result.kept_at(size), np.flatnonzero(support))


def test_a_size_that_no_round_had_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no round .* 79 features"):
        eliminate(*cohort()).kept_at(79)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_permuted_columns_permute_the_result(seed: int, classes: int) -> None:
    matrix, labels = cohort(features=60, classes=classes, seed=seed)
    order = np.random.default_rng(seed).permutation(60)
    result, permuted = eliminate(matrix, labels), eliminate(matrix[:, order], labels)
    assert_array_equal(permuted.survived, result.survived[order])
    assert_array_equal(permuted.scores, result.scores)


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("arrange", [np.ascontiguousarray, np.asfortranarray], ids=["rows", "columns"])
def test_storage_does_not_move_the_result(dtype: type, arrange: Callable[[np.ndarray], np.ndarray]) -> None:
    matrix, labels = cohort()
    stored = (matrix * 100).astype(dtype)
    result = eliminate(arrange(stored), labels, cost=1e-3)
    expected = eliminate(stored.astype(np.float64), labels, cost=1e-3)
    assert_array_equal(result.survived, expected.survived)
    assert_array_equal(result.scores, expected.scores)


@pytest.mark.parametrize("threads", [2, 9])
def test_threads_do_not_move_the_result(threads: int) -> None:
    matrix, labels = cohort(classes=4)
    result, expected = eliminate(matrix, labels, threads=threads), eliminate(matrix, labels)
    assert_array_equal(result.survived, expected.survived)
    assert_array_equal(result.scores, expected.scores)


def test_the_matrix_is_left_as_it_was() -> None:
    matrix, labels = cohort()
    before = matrix.copy()
    eliminate(np.asfortranarray(matrix), labels)
    eliminate(matrix, labels)
    assert_array_equal(matrix, before)


def test_names_of_classes_do_not_move_the_result() -> None:
    matrix, labels = cohort()
    renamed = np.unique(labels, return_inverse=True)[1]
    assert_array_equal(eliminate(matrix, renamed.tolist()).survived, eliminate(matrix, labels).survived)


def test_progress_counts_every_round_once() -> None:
    seen: list[tuple[int, int]] = []
    result = eliminate(*cohort(), progress=lambda done, total, _="": seen.append((done, total)))
    assert seen == [(done + 1, len(result.sizes)) for done in range(len(result.sizes))]


@pytest.mark.parametrize("cell", [np.nan, np.inf, -np.inf])
def test_a_cell_that_is_no_finite_number_is_named(cell: float) -> None:
    matrix, labels = cohort()
    matrix[7, 31] = cell
    with pytest.raises(DataError, match=f"row 7, column 31 is {cell}"):
        eliminate(matrix, labels)


def test_a_class_smaller_than_the_folds_is_named_with_its_count() -> None:
    matrix, labels = cohort()
    labels[:] = np.where(np.arange(60) % 2, "BRCA", "LUAD")
    labels[:3] = "KIRC"
    with pytest.raises(DataError, match=r"5 folds need 5 members(.|\n)*KIRC has 3"):
        eliminate(matrix, labels)


def test_labels_that_name_one_class_are_refused() -> None:
    matrix, _ = cohort()
    with pytest.raises(DataError, match=r"at least two classes.*BRCA"):
        eliminate(matrix, ["BRCA"] * 60)


def test_labels_of_another_length_are_refused() -> None:
    matrix, labels = cohort()
    with pytest.raises(DataError, match="60 samples need 60 labels"):
        eliminate(matrix, labels[:-1])


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_label_is_named_by_its_row(missing: float | None) -> None:
    matrix, labels = cohort()
    with pytest.raises(DataError, match="row 4"):
        eliminate(matrix, np.array([*labels[:4], missing, *labels[5:]], dtype=object))


def test_a_matrix_of_text_is_refused() -> None:
    _, labels = cohort()
    with pytest.raises(DataError, match="matrix of numbers"):
        eliminate(np.full((60, 3), "x"), labels)


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"step": 0.0}, "step"),
        ({"folds": 1}, "folds"),
        ({"minimum": 0}, "minimum"),
        ({"cost": 0}, "cost"),
        ({"threads": 0}, "threads"),
    ],
)
def test_settings_out_of_range_are_named(setting: dict[str, float], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        eliminate(*cohort(), **setting)


def test_fewer_features_than_the_minimum_are_refused() -> None:
    with pytest.raises(DataError, match="fewer than the 81 to keep"):
        eliminate(*cohort(), minimum=81)
