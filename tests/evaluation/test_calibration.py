"""Groups of patients by predicted chance hold everybody once, and say what was seen of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from made_predictions import subtyping, survival
from scipy.stats import binomtest

from mirror.evaluation.calibration import nearest_horizon, reliability, survival_reliability
from mirror.evaluation.metrics import calibration_error


def test_the_gaps_of_the_groups_are_the_calibration_error() -> None:
    predictions = subtyping(seed=0, folds=1, seeds=1, draws=1)
    groups = reliability(predictions)
    names = sorted(predictions["label"].unique())
    codes = predictions["label"].map({name: code for code, name in enumerate(names)}).to_numpy()
    p = predictions[[f"probability_{name}" for name in names]].to_numpy()
    assert sum(group.patients for group in groups) == len(predictions)
    gap = sum(group.patients * abs(group.predicted - group.observed) for group in groups) / len(predictions)
    assert gap == pytest.approx(calibration_error(codes, p), abs=1e-12)


def test_a_patient_in_many_draws_is_one_patient_in_the_interval() -> None:
    once = subtyping(seed=0, seeds=1, draws=1)
    thrice = pd.concat([once.assign(draw=draw) for draw in range(3)])
    np.testing.assert_allclose(reliability(thrice), reliability(once), atol=1e-12)


def test_the_interval_of_a_share_is_wilsons() -> None:
    for group in reliability(subtyping(seed=0, seeds=1, draws=1)):
        right = round(group.observed * group.patients)
        oracle = binomtest(right, group.patients).proportion_ci(method="wilson")
        assert (group.low, group.high) == pytest.approx((oracle.low, oracle.high), abs=1e-6)


def with_curves(*, seeds: int = 1) -> pd.DataFrame:
    predictions = survival(seed=1, seeds=seeds)
    chance = 1 / (1 + np.exp(predictions["risk"]))
    return predictions.assign(survival_6=chance, survival_12=chance**2, survival_60=np.nan)


def test_quarters_by_predicted_survival_hold_everybody_and_show_kaplan_meier() -> None:
    predictions = with_curves()
    groups = survival_reliability(predictions, months=12.0)
    assert [group.patients for group in groups] == [15, 15, 15, 15]
    assert [group.predicted for group in groups] == sorted(group.predicted for group in groups)
    lowest = predictions.sort_values("survival_12", kind="stable").iloc[:15]
    fitted = KaplanMeierFitter().fit(lowest["time"], lowest["event"])
    assert groups[0].observed == pytest.approx(fitted.predict(12.0))
    assert all(group.low <= group.observed <= group.high for group in groups)


def test_seeds_of_a_patient_are_averaged_before_the_groups_are_made() -> None:
    groups = survival_reliability(with_curves(seeds=3), months=12.0)
    assert sum(group.patients for group in groups) == 60


def test_a_horizon_that_was_not_predicted_has_no_groups() -> None:
    assert survival_reliability(with_curves(), months=60.0) == []
    assert survival_reliability(with_curves(), months=48.0) == []


def test_the_horizon_nearest_to_three_years_that_every_fold_has_is_taken() -> None:
    predictions = with_curves()
    assert nearest_horizon(predictions) == 12.0
    predictions.loc[predictions["fold"] == 1, "survival_12"] = np.nan
    assert nearest_horizon(predictions) == 6.0
    assert nearest_horizon(survival(seed=0)) is None
