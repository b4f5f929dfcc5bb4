"""What prototypes stand for: tests that equal a library's, by patients; stability, coverage, shared and private."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from lifelines.statistics import logrank_test
from scipy.stats import fisher_exact
from test_genes import canonical

from mirror.evaluation.prototypes import Membership
from mirror.explain.parts import PARTS, head_shares, variance_shares
from mirror.explain.prototypes import associations, corrected, coverage, stability


def members(prototype: np.ndarray, *, names: list[str] | None = None, of: int = 4) -> Membership:
    count = len(prototype)
    closeness = np.zeros((count, of))
    closeness[np.arange(count), prototype] = 1.0
    roles = tuple("test" if row % 3 == 0 else "train" for row in range(count))
    return Membership(tuple(names or [f"P{row:03d}" for row in range(count)]), prototype, closeness, roles)


def people(count: int, *, ill: np.ndarray) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    label = np.where(ill, "ILC", "IDC").astype(object)
    label[::7] = None
    time = rng.exponential(np.where(ill, 10.0, 40.0))
    time[::11] = np.nan
    index = [f"P{row:03d}" for row in range(count)]
    return pd.DataFrame({"label": label, "time": time, "event": rng.random(count) < 0.7}, index=index)


def test_labels_and_survival_are_tested_by_patients_as_libraries_do() -> None:
    prototype = np.repeat([0, 1, 2], [30, 50, 3])
    ill = np.arange(83) < 25
    table = people(83, ill=ill)
    tests = associations("r", members(prototype), table, ("IDC", "ILC"))
    found = {(one.prototype, one.outcome, one.among): one for one in tests}
    assert not any(number == 2 for number, *_ in found)  # three patients are too few to speak of
    assert not any(outcome == "label:IDC" for _, outcome, _ in found)  # of two classes it would be the same test
    inside, labelled = prototype == 0, table["label"].notna().to_numpy()
    is_ilc = (table["label"] == "ILC").to_numpy()
    own = found[0, "label:ILC", "all"]
    counts = [[(side & part & labelled).sum() for part in (is_ilc, ~is_ilc)] for side in (inside, ~inside)]
    assert (own.value, own.p) == pytest.approx(tuple(fisher_exact(counts)))
    assert (own.inside, own.outside) == ((inside & labelled).sum(), (~inside & labelled).sum())
    known = table["time"].notna().to_numpy()
    of_test = np.arange(83) % 3 == 0
    for among, some in (("all", known), ("test", known & of_test)):
        sides = [table[some & side] for side in (inside, ~inside)]
        p = logrank_test(sides[0]["time"], sides[1]["time"], sides[0]["event"], sides[1]["event"]).p_value
        assert found[0, "survival", among].p == pytest.approx(p)
        assert found[0, "survival", among].inside == len(sides[0])
    assert found[0, "survival", "all"].value > 1  # they die sooner than expected
    holm = corrected(tests)
    assert min(one.p_holm for one in holm) == pytest.approx(len(tests) * min(one.p for one in tests))


def test_where_there_is_nothing_little_is_found_after_correction() -> None:
    found = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        table = people(90, ill=rng.random(90) < 0.3)
        table["time"] = rng.exponential(20.0, 90)
        tests = corrected(associations("r", members(rng.integers(0, 4, 90)), table, ("IDC", "ILC")))
        found += any(one.p_holm < 0.05 for one in tests)
    assert found <= 3  # binomial(12, 0.05) is above that in 2 of 1,000


def test_stability_is_of_the_patients_and_not_of_numbers() -> None:
    first = members(np.array([0, 0, 0, 1, 1, 1]))
    renamed = members(np.array([3, 3, 3, 0, 0, 0]))
    same = stability(first, renamed)
    assert same is not None and same.adjusted_rand == 1.0 and same.best_match == {0: 1.0, 1: 1.0}
    half = stability(first, members(np.array([0, 0, 1, 2, 2, 2])))
    assert half is not None and half.best_match == {0: pytest.approx(2 / 3), 1: 1.0}
    assert stability(first, members(np.array([0]), names=["another"])) is None


def test_coverage_counts_patients_and_effective_prototypes() -> None:
    even = coverage(members(np.repeat([0, 1], [20, 20])), temperature=0.1)
    assert (even.total, even.in_use, even.large, even.share_large) == (4, 2, 2, 1.0)
    assert even.effective == pytest.approx(2.0) and even.share_sure == 1.0
    odd = coverage(members(np.repeat([0, 1], [20, 4])), temperature=100.0)
    assert odd.large == 1 and odd.share_large == pytest.approx(20 / 24) and 1 < odd.effective < 2
    assert odd.share_sure == 0.0  # at that temperature nobody is surely anywhere


def test_parts_of_a_head_add_up_to_it_and_private_directions_are_told_from_shared_ones() -> None:
    model = canonical()
    with torch.no_grad():
        model.correlations.copy_(torch.tensor([0.9, 0.5, 0.2]))
        rotation = torch.linalg.qr(torch.randn(*model.fused_readout.rotation.shape[::-1])).Q.T
        model.fused_readout.rotation.copy_(rotation)
    rng = np.random.default_rng(0)
    slide, expression = rng.normal(size=(500, 6)), rng.normal(size=(500, 8))
    views = model.double().views(torch.from_numpy(slide), torch.from_numpy(expression))
    fused = views["X_fused"].numpy()
    u, v, tail = slide[:, -3:], expression[:, -5:-2], expression[:, -2:]
    rho = model.correlations.numpy()
    wanted = {
        "shared": rho * (u + v),
        "slide": 0.3 * (u - rho * v),
        "expression": 0.3 * (v - rho * u),
        "tail": 0.3 * tail,
    }
    rotation = model.fused_readout.rotation.numpy()
    for name, columns in wanted.items():
        start = {"shared": 0, "slide": 3, "expression": 6, "tail": 9}[name]
        weights = columns.std() * rotation[start : start + columns.shape[1]].T @ np.ones(columns.shape[1])
        found = head_shares("class:B", model, weights, fused)
        assert found.shares[name] == pytest.approx(1.0, abs=1e-6)
        assert sum(found.shares.values()) == pytest.approx(1.0)
    mixed = head_shares("class:B", model, rng.normal(size=fused.shape[1]), fused)
    assert sum(mixed.shares.values()) == pytest.approx(1.0) and len(mixed.shares) == len(PARTS)
    total = {name: columns.var(axis=0).sum() for name, columns in wanted.items()}
    represented = variance_shares(model, fused).shares
    assert represented == pytest.approx({name: value / sum(total.values()) for name, value in total.items()})
