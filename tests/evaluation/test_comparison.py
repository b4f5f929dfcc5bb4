"""Comparisons name the better side, correct over the whole table, and say who and what was left out."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from made_predictions import subtyping, survival

from mirror.errors import DataError
from mirror.evaluation.bootstrap import holm, paired_difference, pooled_interval
from mirror.evaluation.comparison import Side, compare_representations, compare_runs
from mirror.evaluation.intervals import INTERVAL_COLUMNS, TASK_METRICS, interval_table, spread_over_seeds
from mirror.evaluation.scores import COLUMNS, summarise
from mirror.evaluation.weighted import STATISTICS
from mirror.seeding import rng_for


def run(*, seed: int, signal: float = 1.0, names: tuple[str, ...] = ("fused", "slide")) -> pd.DataFrame:
    """One run: both tasks, representations alike but for chance."""
    parts = [
        made.assign(representation=name)
        for place, name in enumerate(names)
        for made in (subtyping(seed=seed + place), survival(seed=seed + place, signal=signal))
    ]
    return pd.concat(parts, ignore_index=True).assign(cohort="demo", preset="published")


def test_the_rows_are_paired_differences_and_the_correction_is_over_all_of_them() -> None:
    one, other = run(seed=0), run(seed=10)
    found = compare_runs([Side("a", one), Side("b", other)], seed=3, resamples=200)
    assert [(row.representation, row.protocol, row.metric) for row in found.rows] == [
        ("fused", "shot4", "auroc"),
        ("fused", "cox", "c_index"),
        ("slide", "shot4", "auroc"),
        ("slide", "cox", "c_index"),
    ]
    np.testing.assert_array_equal([row.p_holm for row in found.rows], holm(row.p for row in found.rows))
    row = found.rows[1]
    sides = [part.query("representation == 'fused' and protocol == 'cox'") for part in (one, other)]
    rng = rng_for(3, "bootstrap", "comparison")
    expected = paired_difference(*sides, metric="c_index", resamples=200, rng=rng)
    assert (row.difference, row.low, row.high, row.p) == expected[:4]
    assert row.first_value - row.second_value == pytest.approx(row.difference, abs=1e-12)
    assert (row.patients, row.left_out, row.seeds) == (60, 0, "1 and 1")


def test_a_much_better_run_surely_wins_and_the_same_run_twice_is_not_compared() -> None:
    weak, strong = survival(seed=0, signal=0.0), survival(seed=0, signal=4.0)
    found = compare_runs([Side("weak", weak), Side("strong", strong)], seed=0, resamples=300)
    (row,) = found.rows
    assert (row.ahead, row.verdict) == ("strong", "sure")
    assert row.high < 0
    again = compare_runs([Side("a", weak), Side("b", weak.sample(frac=1, random_state=1))], seed=0)
    assert again.rows == []
    assert again.same == ["fused, cox: a = b"]


def test_the_lower_calibration_error_is_the_better_one() -> None:
    sides = [Side("a", subtyping(seed=0)), Side("b", subtyping(seed=4))]
    (row,) = compare_runs(sides, seed=0, metrics=["calibration_error"], resamples=50).rows
    assert row.ahead == ("a" if row.first_value < row.second_value else "b")


def test_three_runs_are_three_pairs() -> None:
    sides = [Side(name, survival(seed=place)) for place, name in enumerate("abc")]
    found = compare_runs(sides, seed=0, resamples=50)
    assert [(row.first, row.second) for row in found.rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert list(found.table().columns)[:6] == ["task", "protocol", "metric", "representation", "first", "second"]


def test_the_representations_of_a_run_are_compared_with_one_of_them_on_shared_patients() -> None:
    whole = run(seed=0, names=("fused", "slide", "raw_slide"))
    fewer = whole[(whole["representation"] != "fused") | (whole["patient"] != "P005")]
    found = compare_representations(Side("run", fewer), against="fused", seed=0, resamples=50)
    assert {(row.first, row.second) for row in found.rows} == {("slide", "fused"), ("raw_slide", "fused")}
    assert {(row.task, row.patients, row.left_out) for row in found.rows} == {
        ("subtyping", 35, 1),
        ("survival", 59, 1),
    }
    with pytest.raises(DataError, match=r"no predictions of 'pca8_fused'; it has fused, slide, raw_slide"):
        compare_representations(Side("run", fewer), against="pca8_fused", seed=0)


def test_sides_without_a_common_patient_are_undefined_and_no_comparison() -> None:
    left, right = survival(seed=0), survival(seed=1)
    right["patient"] = "X" + right["patient"]
    (row,) = compare_runs([Side("a", left), Side("b", right)], seed=0).rows
    assert row.verdict == "undefined"
    assert math.isnan(row.p_holm)
    assert (row.patients, row.left_out) == (0, 120)


def test_an_unknown_metric_is_refused_with_those_there_are() -> None:
    with pytest.raises(DataError, match=r"no metric beauty; there are accuracy, auroc"):
        compare_runs([Side("a", survival(seed=0)), Side("b", survival(seed=1))], seed=0, metrics=["beauty"])


def scores_of(predictions: pd.DataFrame) -> pd.DataFrame:
    """What the table of scores says of these predictions: a row a fold and seed."""
    keys = ["cohort", "fold", "seed", "preset", "representation", "protocol", "task"]
    rows = []
    for key, part in predictions.groupby(keys, sort=False):
        for metric in ("accuracy", "auroc") if key[-1] == "subtyping" else ("c_index",):
            value = pooled_interval(part, metric=metric, resamples=1, rng=np.random.default_rng(0)).estimate
            rows.append((*key, metric, value))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_the_intervals_are_around_the_means_of_the_table_of_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASK_METRICS, "subtyping", ("accuracy", "auroc"))
    monkeypatch.setitem(TASK_METRICS, "survival", ("c_index",))
    predictions = run(seed=0)
    scores = scores_of(predictions)
    table = interval_table(scores, predictions, seed=5, resamples=100)
    assert tuple(table.columns) == INTERVAL_COLUMNS
    keys = ["representation", "protocol", "metric"]
    joined = summarise(scores).merge(table, on=keys, validate="1:1")
    np.testing.assert_allclose(joined["estimate"], joined["mean"], atol=1e-12)
    assert joined.query("low <= estimate <= high").shape[0] == len(joined) == 6
    pd.testing.assert_frame_equal(table, interval_table(scores, predictions, seed=5, resamples=100))


def test_the_spread_over_seeds_is_of_means_over_folds() -> None:
    values = {(0, 0): 0.8, (1, 0): 0.6, (0, 1): 0.9, (1, 1): 0.9}
    rows = [
        ("demo", fold, seed, "published", "fused", "cox", "survival", "c_index", value)
        for (fold, seed), value in values.items()
    ]
    (spread,) = spread_over_seeds(pd.DataFrame(rows, columns=list(COLUMNS))).itertuples()
    assert spread.seeds == 2
    assert spread.seed_sd == pytest.approx(np.std([0.7, 0.9], ddof=1))


def test_every_metric_of_a_task_has_an_interval() -> None:
    assert {name for names in TASK_METRICS.values() for name in names} == set(STATISTICS)


def test_among_many_comparisons_a_difference_that_no_drawing_denies_is_still_sure() -> None:
    """With 100 drawings no p is below 0.02, which times 20 rows is no verdict."""
    strong = survival(seed=0, signal=4.0).assign(representation="fused")
    weak = [survival(seed=0, signal=0.0).assign(representation=f"pca{place}_fused") for place in range(20)]
    run = Side("run", pd.concat([strong, *weak], ignore_index=True).assign(cohort="demo", preset="published"))
    found = compare_representations(run, against="fused", seed=0, resamples=100)
    assert len(found.rows) == 20
    assert {(row.ahead, row.verdict, row.resamples) for row in found.rows} == {("fused", "sure", 1600)}
    # Drawn more often or not, a row is the paired difference of its two sides.
    row = found.rows[0]
    rng = rng_for(0, "bootstrap", "comparison")
    expected = paired_difference(weak[0], strong, metric="c_index", resamples=1600, rng=rng)
    assert (row.difference, row.low, row.high, row.p) == expected[:4]
