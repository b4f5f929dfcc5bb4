"""The support vector machines on a Gram matrix, and the columns that leave it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.svm import LinearSVC

from mirror.data import gram_pruning
from mirror.data.gram_pruning import Pruning, gram_of, importances_of, twins_of, weakest_first
from mirror.data.svm_dual import solve_squared_hinge
from mirror.errors import DataError


def problem(*, samples: int, features: int, machines: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features with a common offset, as expression has, and arbitrary one-vs-rest signs (both in each machine)."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((samples, features)) + rng.gamma(2, size=features)
    signs = np.where(rng.random((samples, machines)) < 0.4, 1.0, -1.0)
    signs[0], signs[1] = 1, -1
    return matrix, signs


@pytest.mark.parametrize(
    ("samples", "features", "cost", "dual"),
    [(40, 300, 1.0, True), (60, 12, 1.0, True), (50, 50, 0.01, False), (30, 4, 100.0, False)],
)
def test_coefficients_and_intercept_are_those_of_linear_svc(
    samples: int, features: int, cost: float, dual: bool
) -> None:
    matrix, signs = problem(samples=samples, features=features, machines=1, seed=features)
    weights = solve_squared_hinge(matrix @ matrix.T + 1, signs, cost=cost)[:, 0]
    machine = LinearSVC(C=cost, loss="squared_hinge", dual=dual, tol=1e-10, max_iter=200_000, random_state=0)
    machine.fit(matrix, signs[:, 0])
    assert_allclose(weights @ matrix, machine.coef_[0], rtol=1e-6, atol=1e-7)
    assert_allclose(weights.sum(), machine.intercept_[0], rtol=1e-6, atol=1e-7)


@given(st.integers(0, 10**6), st.integers(5, 30), st.integers(1, 60), st.sampled_from([0.01, 1.0, 100.0]))
def test_every_sample_weighs_what_its_hinge_pays(seed: int, samples: int, features: int, cost: float) -> None:
    matrix, signs = problem(samples=samples, features=features, machines=3, seed=seed)
    gram = matrix @ matrix.T + 1
    weights = solve_squared_hinge(gram, signs, cost=cost)
    slack = np.maximum(0, 1 - signs * (gram @ weights))
    assert_allclose(weights, 2 * cost * signs * slack, atol=1e-7 * np.abs(weights).max())


@given(st.integers(0, 10**6))
def test_where_the_solver_starts_does_not_move_the_answer(seed: int) -> None:
    matrix, signs = problem(samples=25, features=40, machines=3, seed=seed)
    gram = matrix @ matrix.T + 1
    start = np.random.default_rng(seed + 1).standard_normal(signs.shape) * (np.abs(signs) > 0)
    start[::2] = 0
    start[:, 0] = 0
    cold = solve_squared_hinge(gram, signs)
    assert_allclose(solve_squared_hinge(gram, signs, start=start), cold, rtol=1e-8, atol=1e-12)


def test_cells_too_large_for_float64_are_refused() -> None:
    matrix, signs = problem(samples=20, features=5, machines=2, seed=0)
    matrix *= 1e12
    with pytest.raises(DataError, match="log scale"):
        solve_squared_hinge(matrix @ matrix.T + 1, signs)


@given(st.lists(st.sampled_from([0.0, 1e-300, 0.25, 0.5, 3.0]), min_size=1, max_size=40), st.data())
def test_the_weakest_are_those_of_a_stable_sort(values: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(values)))
    expected = np.sort(np.argsort(values, kind="stable")[:count])
    assert_array_equal(weakest_first(np.array(values), count), expected)


def test_a_twin_is_the_last_equal_column() -> None:
    rng = np.random.default_rng(0)
    distinct = rng.standard_normal((3, 7))
    assert_array_equal(twins_of(distinct[[0, 1, 0, 2, 1, 0]]), [5, 4, 5, 3, 4, 5])


def test_subtracting_what_leaves_equals_computing_what_stays() -> None:
    matrix, signs = problem(samples=40, features=500, machines=3, seed=5)
    columns = np.ascontiguousarray(matrix.T)
    everyone = np.arange(40)
    pruning = Pruning(gram_of(columns, np.arange(500)) + 1, signs, train=everyone, test=everyone, features=500)
    for _ in range(11):
        pruning.fit()
        pruning.drop(importances_of(columns, [pruning])[0], 45, columns)
        expected = matrix[:, pruning.alive] @ matrix[:, pruning.alive].T + 1
        assert_allclose(pruning.gram_NN, expected, rtol=1e-10, atol=1e-10)
    assert len(pruning.alive) == 5


def test_values_of_samples_held_out_do_not_move_what_leaves() -> None:
    matrix, signs = problem(samples=40, features=200, machines=3, seed=1)
    train, test = np.arange(30), np.arange(30, 40)
    replaced = matrix.copy()
    replaced[test] = np.random.default_rng(9).standard_normal((10, 200)) * 5
    survivors: list[np.ndarray] = []
    for values in (matrix, replaced):
        columns = np.ascontiguousarray(values.T)
        pruning = Pruning(gram_of(columns, np.arange(200)) + 1, signs, train=train, test=test, features=200)
        for _ in range(6):
            pruning.fit()
            pruning.drop(importances_of(columns, [pruning])[0], 30, columns)
        survivors.append(pruning.alive)
    assert_array_equal(survivors[0], survivors[1])


def test_importances_are_squared_coefficients_summed_over_machines_whatever_the_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    columns = rng.standard_normal((23, 10)).astype(np.float32)
    some = SimpleNamespace(weights_NC=rng.standard_normal((10, 3)), alive=np.arange(0, 20, 2))
    others = SimpleNamespace(weights_NC=rng.standard_normal((10, 3)), alive=np.arange(5, 15))
    monkeypatch.setattr(gram_pruning, "_PRODUCT_CELLS", 40)
    found = importances_of(columns, [some, others])
    for row, pruning in zip(found, (some, others), strict=True):
        expected = ((columns.astype(np.float64) @ pruning.weights_NC) ** 2).sum(axis=1)
        assert_allclose(row[pruning.alive], expected[pruning.alive], rtol=1e-12)


def test_a_gram_matrix_of_float32_is_summed_in_float64_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (np.random.default_rng(0).standard_normal((300, 9)) + 1000).astype(np.float32)
    monkeypatch.setattr(gram_pruning, "_GRAM_CELLS", 50)
    chosen = np.arange(0, 300, 3)
    exact = columns[chosen].astype(np.float64)
    assert_allclose(gram_of(columns, chosen), exact.T @ exact, rtol=1e-13)


@pytest.mark.parametrize("seed", range(8))
def test_values_that_leave_float64_few_digits_do_not_run_without_end(seed: int) -> None:
    """Steps went to and fro for ever in two of these, as with raw counts; which are refused depends on the BLAS."""
    rng = np.random.default_rng(seed)
    matrix = np.c_[np.abs(rng.standard_normal((60, 3))) * 1e7, rng.standard_normal((60, 200))]
    signs = np.where(np.arange(60)[:, None] % 3 == np.arange(3), 1.0, -1.0)
    try:
        weights = solve_squared_hinge(matrix @ matrix.T + 1, signs)
    except DataError as error:
        assert "take raw values to a log scale" in str(error)
    else:
        assert np.isfinite(weights).all()
