"""Intervals and paired differences: equal to the slow way, and true by construction where they must be."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifelines.utils import concordance_index
from made_predictions import subtyping, survival
from scipy.stats import norm
from sklearn import metrics as oracle

from mirror.errors import DataError
from mirror.evaluation import bootstrap, metrics, weighted
from mirror.evaluation.bootstrap import (
    distribution,
    draw_resamples,
    holm,
    paired_difference,
    pooled_interval,
    shared_patients,
)

CLASSIFICATION = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "calibration_error")


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def by_library(cell: pd.DataFrame, metric: str) -> float:
    """One cell (fold, seed, draw) with repeated rows, measured by scikit-learn or lifelines."""
    if metric == "c_index":
        try:
            return concordance_index(cell["time"], -cell["risk"], cell["event"])
        except ZeroDivisionError:
            return math.nan
    columns = [name for name in cell if str(name).startswith("probability_")]
    classes = [name.removeprefix("probability_") for name in columns]
    if metric == "calibration_error":
        codes = cell["label"].map({name: code for code, name in enumerate(classes)}).to_numpy(np.int64)
        return metrics.calibration_error(codes, cell[columns].to_numpy())
    if metric != "accuracy" and cell["label"].nunique() < len(classes):
        return math.nan
    if metric == "accuracy":
        return oracle.accuracy_score(cell["label"], cell["predicted"])
    if metric == "balanced_accuracy":
        return oracle.balanced_accuracy_score(cell["label"], cell["predicted"])
    if metric == "macro_f1":
        return oracle.f1_score(cell["label"], cell["predicted"], labels=classes, average="macro", zero_division=0.0)
    pairs = list(zip(classes, columns, strict=True))[1 if len(classes) == 2 else 0 :]
    return float(np.mean([oracle.roc_auc_score(cell["label"] == name, cell[column]) for name, column in pairs]))


def slowly(predictions: pd.DataFrame, counts: dict[str, int], metric: str) -> float:
    """Rows repeated as often as drawn; mean over draws, seeds and folds, one after the other."""
    folds = []
    for _, of_fold in predictions.groupby("fold"):
        seeds = []
        for _, of_seed in of_fold.groupby("seed"):
            cells = [cell.loc[cell.index.repeat(cell["patient"].map(counts))] for _, cell in of_seed.groupby("draw")]
            seeds.append(np.mean([by_library(cell, metric) for cell in cells]))
        folds.append(np.mean(seeds))
    known = [value for value in folds if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def by_slow_loop(predictions: pd.DataFrame, metric: str, resamples: int) -> list[float]:
    drawn = draw_resamples(predictions, resamples=resamples, rng=rng())
    counts = [dict(zip(drawn.patients, row.astype(int), strict=True)) for row in drawn.weights]
    return [slowly(predictions, count, metric) for count in counts]


@pytest.mark.parametrize("metric", CLASSIFICATION)
@pytest.mark.parametrize("classes", [2, 3])
def test_resampled_classification_equals_scikit_learn_on_repeated_rows(metric: str, classes: int) -> None:
    # Few patients, so that some resamples miss a class in a fold and some in every fold.
    predictions = subtyping(seed=1, classes=classes, patients=7 * classes, folds=2)
    expected = np.array(by_slow_loop(predictions, metric, 25))
    drawn = draw_resamples(predictions, resamples=25, rng=rng())
    found = distribution(predictions, drawn, metric=metric)
    np.testing.assert_allclose(np.nanmean(found.resampled, axis=0), expected, atol=1e-12)


def test_resampled_c_index_equals_lifelines_on_repeated_rows() -> None:
    predictions = survival(seed=1, patients=40, seeds=2)
    drawn = draw_resamples(predictions, resamples=25, rng=rng())
    found = distribution(predictions, drawn, metric="c_index").resampled.mean(axis=0)
    np.testing.assert_allclose(found, by_slow_loop(predictions, "c_index", 25), atol=1e-12)


@pytest.mark.parametrize("metric", [*CLASSIFICATION, "c_index"])
def test_the_estimate_is_the_number_of_the_table_of_scores(metric: str) -> None:
    predictions = survival(seed=3) if metric == "c_index" else subtyping(seed=3)
    once = dict.fromkeys(predictions["patient"], 1)
    found = pooled_interval(predictions, metric=metric, resamples=50, rng=rng())
    assert found.estimate == pytest.approx(slowly(predictions, once, metric), abs=1e-12)
    assert found.low <= found.estimate <= found.high
    assert math.isnan(found.p)


@pytest.mark.parametrize("metric", [*CLASSIFICATION, "c_index"])
def test_a_thing_differs_from_itself_by_exactly_nothing(metric: str) -> None:
    predictions = survival(seed=3) if metric == "c_index" else subtyping(seed=3)
    found = paired_difference(predictions, predictions, metric=metric, resamples=40, rng=rng())
    assert found[:4] == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("metric", [*CLASSIFICATION, "c_index"])
def test_swapping_the_sides_turns_the_sign(metric: str) -> None:
    make = survival if metric == "c_index" else subtyping
    one, other = make(seed=3), make(seed=4)
    there = paired_difference(one, other, metric=metric, resamples=200, rng=rng())
    back = paired_difference(other, one, metric=metric, resamples=200, rng=rng())
    assert there.estimate != 0.0
    assert (there.estimate, there.p) == (-back.estimate, back.p)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-12)


def test_the_difference_is_of_the_two_estimates_and_smaller_in_spread_than_unpaired() -> None:
    base = survival(seed=3, patients=120)
    close = base.assign(risk=base["risk"] + np.random.default_rng(0).normal(scale=0.05, size=len(base)))
    paired = paired_difference(base, close, metric="c_index", resamples=300, rng=rng())
    alone = pooled_interval(base, metric="c_index", resamples=300, rng=rng())
    other = pooled_interval(close, metric="c_index", resamples=300, rng=rng())
    assert paired.estimate == pytest.approx(alone.estimate - other.estimate, abs=1e-12)
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)


def test_every_fold_keeps_its_number_of_patients_in_every_resample() -> None:
    predictions = subtyping(seed=0)
    drawn = draw_resamples(predictions, resamples=30, rng=rng())
    for _, part in predictions.groupby("fold"):
        names = sorted(part["patient"].unique())
        assert set(drawn.of(names).sum(axis=1)) == {float(len(names))}


def test_a_patient_tested_in_two_folds_is_drawn_once_for_both() -> None:
    predictions = survival(seed=0)
    twice = pd.concat([predictions, predictions[predictions["fold"] == 0].assign(fold=7)])
    drawn = draw_resamples(twice, resamples=30, rng=rng())
    found = distribution(twice, drawn, metric="c_index").resampled
    np.testing.assert_array_equal(found[0], found[3])
    assert set(drawn.weights.sum(axis=1)) == {60.0}


def test_neither_the_order_of_rows_nor_of_another_call_moves_an_interval() -> None:
    predictions = subtyping(seed=0)
    wanted = {"metric": "auroc", "resamples": 40, "reference": 0.5}
    one = pooled_interval(predictions, **wanted, rng=rng())
    assert one == pooled_interval(predictions.sample(frac=1, random_state=5), **wanted, rng=rng())


def test_patients_judged_on_one_side_only_are_named() -> None:
    both, fewer = survival(seed=0), survival(seed=1)[lambda rows: rows["patient"] != "P004"]
    with pytest.raises(DataError, match="P004: only on the first side"):
        paired_difference(both, fewer, metric="c_index", resamples=10, rng=rng())
    cut, same = shared_patients(both, fewer)
    assert (len(cut), len(same)) == (59, 59)
    assert paired_difference(cut, same, metric="c_index", resamples=10, rng=rng()).undefined == 0


def test_other_outcomes_of_the_same_patients_are_refused() -> None:
    one, other = survival(seed=0), survival(seed=0)
    other.loc[3, "time"] += 1.0
    with pytest.raises(DataError, match="fold 0: time"):
        paired_difference(one, other, metric="c_index", resamples=10, rng=rng())


def test_two_representations_at_once_are_refused() -> None:
    mixed = pd.concat([survival(seed=0), survival(seed=0).assign(representation="slide")])
    with pytest.raises(DataError, match="representation fused, slide"):
        pooled_interval(mixed, metric="c_index", resamples=10, rng=rng())


def test_a_seed_that_lacks_a_patient_is_refused() -> None:
    predictions = survival(seed=0, seeds=2)
    hole = predictions[(predictions["patient"] != "P003") | (predictions["seed"] != 1)]
    with pytest.raises(DataError, match=r"fold 0 has 20 test patients.*\n.*seed 1, draw 0: 19 patients in 19 rows"):
        pooled_interval(hole, metric="c_index", resamples=10, rng=rng())


def test_a_metric_without_a_weighted_form_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="'beauty'; there are accuracy"):
        pooled_interval(survival(seed=0), metric="beauty", resamples=10, rng=rng())


def test_a_fold_where_nobody_can_be_ordered_is_left_out_and_alone_undefined() -> None:
    predictions = survival(seed=0)
    quiet = predictions.assign(event=predictions["event"] & (predictions["fold"] != 1))
    others = predictions[predictions["fold"] != 1]
    found = pooled_interval(quiet, metric="c_index", resamples=20, rng=rng())
    assert found.estimate == pooled_interval(others, metric="c_index", resamples=20, rng=rng()).estimate
    alone = pooled_interval(quiet[quiet["fold"] == 1], metric="c_index", resamples=20, rng=rng(), reference=0.5)
    assert np.isnan(alone[:4]).all()
    assert alone.undefined == 20


def test_a_clear_signal_is_surely_above_chance_and_chance_is_not() -> None:
    clear = pooled_interval(survival(seed=0, signal=3.0), metric="c_index", rng=rng(), reference=0.5)
    noise = pooled_interval(survival(seed=0, signal=0.0), metric="c_index", rng=rng(), reference=0.5)
    assert clear.p == pytest.approx(2 / (bootstrap.RESAMPLES + 1))
    assert clear.low > 0.5
    assert noise.low < 0.5 < noise.high
    assert noise.p > 0.05


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Two classes, scores normal with means 1 and 0.6 apart: the true areas, and their difference, are known."""
    simulation, patients, hits = np.random.default_rng(11), 120, {"area": 0, "difference": 0}
    truth = [norm.cdf(gap / math.sqrt(2)) for gap in (1.0, 0.6)]
    frame = pd.DataFrame({"patient": [f"P{n:03d}" for n in range(patients)], "fold": np.arange(patients) % 3})
    frame = frame.assign(seed=0, draw=0, representation="r", protocol="linear", predicted="a")
    for _ in range(200):
        sick = simulation.random(patients) < 0.5
        shared = simulation.normal(size=patients)
        sides = []
        for gap in (1.0, 0.6):
            score = gap * sick + math.sqrt(0.5) * (shared + simulation.normal(size=patients))
            label = np.where(sick, "b", "a")
            sides.append(frame.assign(label=label, probability_a=-score, probability_b=score))
        alone = pooled_interval(sides[0], metric="auroc", resamples=300, rng=simulation)
        apart = paired_difference(*sides, metric="auroc", resamples=300, rng=simulation)
        hits["area"] += alone.low <= truth[0] <= alone.high
        hits["difference"] += apart.low <= truth[0] - truth[1] <= apart.high
    # 95 of 100 is promised; 200 trials of a true 95 % end below 178 once in about 600.
    assert all(178 <= count <= 199 for count in hits.values()), hits


def test_holm_equals_the_worked_example() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=12))
def test_holm_keeps_the_order_and_never_makes_anything_surer(p: list[float]) -> None:
    given_p, corrected = np.array(p), holm(p)
    np.testing.assert_array_equal(np.isnan(given_p), np.isnan(corrected))
    known = ~np.isnan(given_p)
    before, after = given_p[known], corrected[known]
    assert np.all(after >= before)
    assert np.all(after <= np.minimum(1.0, before * known.sum()))
    assert np.all(np.diff(after[np.argsort(before, kind="stable")]) >= 0)


def test_every_metric_that_is_scored_has_a_weighted_form() -> None:
    from mirror.evaluation.metrics import CLASSIFICATION_METRICS, SURVIVAL_METRICS

    assert set(weighted.STATISTICS) >= {*CLASSIFICATION_METRICS, *SURVIVAL_METRICS}
