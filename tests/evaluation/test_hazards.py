"""The discrete-time head: likelihood by a slow loop, optimum by scikit-learn, edges and risk by their meaning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from mirror.data.endpoints import assign_intervals, interval_edges
from mirror.evaluation.hazards import (
    Hazards,
    fit_hazards,
    negative_log_likelihood,
)
from mirror.losses.survival import survival_nll


def cohort(*, patients: int = 120, columns: int = 6, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(patients, columns))
    return x, rng.exponential(np.exp(-x[:, 0])) * 30, rng.random(patients) < 0.6


def test_likelihood_equals_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    logits, interval, event = rng.normal(size=(50, 4)), rng.integers(4, size=50), rng.random(50) < 0.5
    expected: list[float] = []
    for h, k, happened in zip(expit(logits), interval, event, strict=True):
        before = sum(np.log(1 - h[j]) for j in range(k))
        expected.append(-np.log(h[k]) - before if happened else -before - np.log(1 - h[k]))
    np.testing.assert_allclose(negative_log_likelihood(logits, interval, event), expected, rtol=1e-12)


def test_likelihood_equals_the_loss_that_networks_are_trained_with() -> None:
    rng = np.random.default_rng(1)
    logits, interval, event = rng.normal(size=(50, 4)) * 30, rng.integers(4, size=50), rng.random(50) < 0.5
    torch_value = survival_nll(torch.tensor(logits), torch.tensor(interval), torch.tensor(event))
    np.testing.assert_allclose(negative_log_likelihood(logits, interval, event), torch_value.numpy(), rtol=1e-9)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_the_fit_is_a_logistic_regression_an_interval_among_those_who_reached_it(penalty: float) -> None:
    x, time, event = cohort()
    edges = interval_edges(time, event, 4)
    head, interval = fit_hazards(x, time, event, edges=edges, penalty=penalty), assign_intervals(time, edges)
    for k in range(4):
        reached = interval >= k
        # scikit-learn penalises the summed loss by |w|^2 / (2 C); ours the mean over all patients.
        oracle = LogisticRegression(C=1 / (penalty * len(x)), tol=1e-10, max_iter=10_000, solver="newton-cg")
        oracle.fit(x[reached], (event & (interval == k))[reached])
        np.testing.assert_allclose(head.weights[:, k], oracle.coef_[0], atol=1e-5)
        np.testing.assert_allclose(head.bias[k], oracle.intercept_[0], atol=1e-5)


def test_without_columns_that_matter_the_hazards_are_the_life_table() -> None:
    x, time, event = cohort()
    edges = interval_edges(time, event, 4)
    interval = assign_intervals(time, edges)
    head = fit_hazards(np.zeros_like(x), time, event, edges=edges, penalty=1.0)
    table = [np.mean((event & (interval == k))[interval >= k]) for k in range(4)]
    np.testing.assert_allclose(expit(head.bias), table, atol=1e-6)


def test_edges_are_the_quartiles_of_the_times_of_those_who_died() -> None:
    time = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 99.0, 0.1])
    event = np.array([True, True, True, True, True, False, False])
    np.testing.assert_array_equal(interval_edges(time, event, 4), [2.0, 3.0, 4.0])


def test_risk_is_minus_the_sum_of_survival_over_intervals() -> None:
    head = Hazards(np.array([1.0]), np.zeros((1, 2)), logit(np.array([0.25, 0.5])))
    np.testing.assert_allclose(head.survival(np.zeros((1, 1))), [[0.75, 0.375]])
    np.testing.assert_allclose(head.risk(np.zeros((1, 1))), [-1.125])


def test_an_interval_in_which_nobody_dies_ends_finite() -> None:
    x, time, event = cohort()
    edges = np.array([1e-9, 10.0])
    head = fit_hazards(x, time, event & (time < 10.0), edges=edges, penalty=0.1)
    assert np.isfinite(head.risk(x)).all()
    assert expit(head.bias[[0, 2]]).max() < 1e-3
