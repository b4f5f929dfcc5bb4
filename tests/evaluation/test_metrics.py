"""Metrics agree with scikit-learn and lifelines, and say NaN where they mean nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from lifelines.utils import concordance_index
from sklearn import metrics as oracle

from mirror.evaluation import metrics


def random_task(classes: int, *, seed: int, patients: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = np.concatenate([np.arange(classes), rng.integers(classes, size=patients - classes)])
    # Rounded, so that there are ties; every row has one most probable class all the same.
    probabilities = np.round(rng.dirichlet(np.ones(classes), size=patients), 1) + 1e-3 * rng.random((patients, classes))
    return codes, probabilities / probabilities.sum(axis=1, keepdims=True)


def slow_calibration_error(codes: np.ndarray, p: np.ndarray) -> float:
    """Bin by bin, patient by patient."""
    total = 0.0
    for low in range(10):
        high = 1.1 if low == 9 else (low + 1) / 10
        inside = [row for row in range(len(p)) if low / 10 <= p[row].max() < high]
        if inside:
            right = np.mean([p[row].argmax() == codes[row] for row in inside])
            total += len(inside) * abs(right - np.mean([p[row].max() for row in inside]))
    return total / len(p)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_classification_metrics_equal_scikit_learn(classes: int, seed: int) -> None:
    codes, p = random_task(classes, seed=seed)
    predicted = p.argmax(axis=1)
    area = oracle.roc_auc_score(codes, p[:, 1] if classes == 2 else p, multi_class="ovr", average="macro")
    expected = {
        "accuracy": oracle.accuracy_score(codes, predicted),
        "balanced_accuracy": oracle.balanced_accuracy_score(codes, predicted),
        "macro_f1": oracle.f1_score(codes, predicted, average="macro"),
        "auroc": area,
        "calibration_error": slow_calibration_error(codes, p),
    }
    assert metrics.classification_metrics(codes, p) == pytest.approx(expected, abs=1e-12)


def test_a_class_never_predicted_counts_zero_in_macro_f1() -> None:
    codes = np.array([0, 0, 1])
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    assert metrics.macro_f1(codes, p) == pytest.approx(0.5 * 2 * 2 / 5)


def test_probabilities_that_come_true_have_no_calibration_error_and_sure_ones_that_fail_have_all_of_it() -> None:
    p = np.tile([[0.75, 0.25]], (4, 1))
    assert metrics.calibration_error(np.array([0, 0, 0, 1]), p) == 0.0
    assert metrics.calibration_error(np.array([1, 1]), np.array([[1.0, 0.0], [1.0, 0.0]])) == 1.0
    assert math.isnan(metrics.calibration_error(np.zeros(0, dtype=np.int64), np.zeros((0, 2))))


def test_a_class_that_nobody_has_leaves_what_needs_no_class() -> None:
    codes, p = np.array([0, 1, 1]), np.full((3, 3), 1 / 3)
    found = metrics.classification_metrics(codes, p)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["calibration_error"] == pytest.approx(0.0)
    assert all(math.isnan(found[name]) for name in ("balanced_accuracy", "macro_f1", "auroc"))


@pytest.mark.parametrize("seed", range(5))
def test_c_index_equals_lifelines_of_the_negative_risk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    time, event, risk = rng.integers(1, 20, 50).astype(float), rng.random(50) < 0.5, rng.integers(0, 9, 50) / 3
    assert metrics.c_index(time, event, risk) == concordance_index(time, -risk, event)


def test_c_index_is_one_when_the_risky_die_first_and_zero_the_other_way_round() -> None:
    time, event = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, True, False, True])
    assert metrics.c_index(time, event, -time) == 1.0
    assert metrics.c_index(time, event, time) == 0.0


@pytest.mark.parametrize("patients", [0, 1, 5])
def test_c_index_is_undefined_where_nobody_can_be_ordered(patients: int) -> None:
    time = np.arange(1.0, patients + 1)
    assert math.isnan(metrics.c_index(time, np.zeros(patients, dtype=bool), time))
