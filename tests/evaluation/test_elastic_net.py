"""Elastic net: sparse, chosen inside, and by interval the likelihood of discrete-time hazards."""

from __future__ import annotations

import numpy as np
import pytest

from mirror.evaluation.elastic_net import Asked, ElasticNet, fit_classes, fit_hazards
from mirror.evaluation.metrics import auroc, c_index
from mirror.evaluation.supervised import Supervised

ASKED = Asked((0.01, 0.1), 0.5, 3, 0)


def genes(*, patients: int = 150, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(patients, 30))


def follow_up(x: np.ndarray, *, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    life, leaves = rng.exponential(40 * np.exp(-1.5 * x[:, 0])), rng.exponential(60, len(x))
    return np.minimum(life, leaves), life <= leaves


@pytest.mark.parametrize("classes", [2, 3])
def test_the_genes_that_tell_classes_apart_are_found_and_most_others_are_not(classes: int) -> None:
    codes, x = np.arange(150) % classes, genes()
    x[np.arange(150), codes] += 2.0
    net = fit_classes(x, codes, ASKED)
    used = np.any(net.coefficients != 0, axis=1)
    assert used[:classes].all() and used[classes:].mean() < 0.5
    new = genes(seed=5)
    new[np.arange(150), codes] += 2.0
    logits = net.logits(new)
    assert auroc(codes, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)) > 0.85


def as_supervised(net: ElasticNet, x: np.ndarray, edges: np.ndarray) -> Supervised:
    names = tuple(f"P{row}" for row in range(len(x)))
    return Supervised("elastic_net", "survival", names, net.logits(x), edges, 99.0, net.strength)


def test_hazards_find_who_is_at_risk() -> None:
    x, edges = genes(), np.array([8.0, 20.0, 40.0])
    time, event = follow_up(x)
    interval = np.searchsorted(edges, time, side="right")
    net = fit_hazards(x, time, event, interval, ASKED, intervals=4)
    new = genes(seed=7)
    found = as_supervised(net, new, edges)
    risk = found.survival_fit().model.risk(found.logits)
    assert c_index(*follow_up(new, seed=8), risk) > 0.65


def test_a_penalty_that_leaves_no_gene_leaves_the_share_of_events_among_those_at_risk() -> None:
    x, edges = genes(), np.array([8.0, 20.0])
    time, event = follow_up(x)
    interval = np.searchsorted(edges, time, side="right")
    net = fit_hazards(x, time, event, interval, ASKED._replace(strengths=(1e-5,)), intervals=3)
    assert not net.coefficients.any()
    for k in range(3):
        there = interval >= k
        share = (event[there] & (interval[there] == k)).mean()
        assert 1 / (1 + np.exp(-net.intercepts[k])) == pytest.approx(share, abs=0.01)


def test_an_interval_without_events_is_no_error() -> None:
    x, edges = genes(), np.array([8.0, 20.0])
    time, event = follow_up(x)
    event &= time < 20.0
    net = fit_hazards(x, time, event, np.searchsorted(edges, time, side="right"), ASKED, intervals=3)
    assert not net.coefficients[:, 2].any() and net.intercepts[2] < -3.0
