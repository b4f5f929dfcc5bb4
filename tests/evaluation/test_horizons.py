"""Time-dependent AUROC and Brier score: as scikit-survival and a slow loop give them, and true where they must be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter

from mirror.evaluation import horizons
from mirror.evaluation.cox import cox_curves, fit_cox
from mirror.evaluation.hazards import HazardCurves, fit_hazards
from mirror.evaluation.horizons import Watched, fit_censoring, watched
from mirror.evaluation.metrics import c_index

MONTHS = np.array([12.0, 24.0, 36.0, 48.0, 60.0])


def follow_up(*, seed: int, patients: int, ties: bool) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    life, leaves = rng.exponential(40, patients), rng.exponential(60, patients)
    time = np.minimum(life, leaves) + 0.1
    return np.ceil(time / 4) * 4 if ties else time, life <= leaves, rng


def judged(*, ties: bool) -> tuple[Watched, np.ndarray, np.ndarray]:
    """150 training patients, 60 test patients, their risk and survival at the horizons."""
    time, event, _ = follow_up(seed=0, patients=150, ties=ties)
    tested, happened, rng = follow_up(seed=1, patients=60, ties=ties)
    risk = np.round(rng.normal(size=60) - tested / 40, 1)
    survival = np.exp(-np.outer(np.exp(0.5 * risk), MONTHS) / 50)
    return watched(tested, happened, months=MONTHS, censoring=fit_censoring(time, event)), risk, survival


RECORDED = {
    False: (
        [0.731267530396, 0.716495345519, 0.780682098501, 0.888717037407, 0.888717037407],
        0.7739845158325154,
        [0.175912065582, 0.214700045492, 0.210932294064, 0.178723570949, 0.142354923932],
        0.19087235131559122,
    ),
    True: (
        [0.734446939921, 0.721700401552, 0.778728207584, 0.8876828246, 0.8876828246],
        0.7762558824108149,
        [0.180799401668, 0.2228218481, 0.222547634577, 0.191592890417, 0.152723550855],
        0.20093096233880936,
    ),
}
"""scikit-survival 0.28.0 on `judged`: cumulative_dynamic_auc, its mean, brier_score, integrated_brier_score."""


@pytest.mark.parametrize("ties", [False, True])
def test_values_are_those_recorded_from_scikit_survival(ties: bool) -> None:
    seen, risk, survival = judged(ties=ties)
    areas, area, scores, score = RECORDED[ties]
    once = np.ones((1, 60))
    np.testing.assert_allclose(horizons.areas_at(seen, risk[None], once)[0], areas, atol=1e-9)
    assert horizons.mean_area(seen, risk[None], once)[0] == pytest.approx(area, abs=1e-9)
    np.testing.assert_allclose(horizons.brier_losses(seen, survival).mean(axis=0), scores, atol=1e-9)
    assert horizons.integrated_losses(seen, survival).mean() == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize(("ties", "recorded"), [(False, 0.7012302284710018), (True, 0.7060660124888493)])
def test_the_c_index_is_that_recorded_from_scikit_survival(ties: bool, recorded: float) -> None:
    """Of scikit-survival 0.28.0: concordance_index_censored."""
    seen, risk, _ = judged(ties=ties)
    assert c_index(seen.time, seen.event, risk) == pytest.approx(recorded, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_weights_of_patients_are_repeated_rows(seed: int) -> None:
    seen, risk, survival = judged(ties=True)
    counts = np.random.default_rng(seed).multinomial(60, np.full(60, 1 / 60))
    rows = np.repeat(np.arange(60), counts)
    repeated = seen._replace(time=seen.time[rows], event=seen.event[rows], uncensored=seen.uncensored[rows])
    weighted = horizons.mean_area(seen, risk[None], counts[None].astype(float))
    assert weighted == pytest.approx(horizons.mean_area(repeated, risk[None, rows], np.ones((1, 60))), abs=1e-12)
    losses = horizons.integrated_losses(seen, survival) @ counts / 60
    assert losses == pytest.approx(horizons.integrated_losses(repeated, survival[rows]).mean(), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_area_at_a_horizon_is_that_of_a_slow_loop(seed: int) -> None:
    seen, risk, _ = judged(ties=True)
    risk = np.round(np.random.default_rng(seed).normal(size=60), 1)
    for place, month in enumerate(MONTHS):
        part = whole = 0.0
        for i in range(60):
            for j in range(60):
                if seen.event[i] and seen.time[i] <= month < seen.time[j]:
                    whole += 1 / seen.uncensored[i]
                    part += (1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0) / seen.uncensored[i]
        found = horizons.areas_at(seen, risk[None], np.ones((1, 60)))[0, place]
        assert found == pytest.approx(part / whole, abs=1e-12)


def test_without_censoring_the_brier_score_is_the_plain_one() -> None:
    rng = np.random.default_rng(0)
    time, survival = rng.exponential(40, 50), rng.random((50, 2))
    months = np.array([12.0, 30.0])
    everybody = np.ones(50, dtype=bool)
    seen = watched(time, everybody, months=months, censoring=fit_censoring(rng.exponential(40, 90), np.ones(90, bool)))
    plain = (survival - (time[:, None] > months)) ** 2
    np.testing.assert_allclose(horizons.brier_losses(seen, survival), plain, atol=1e-12)


def test_the_chance_to_be_uncensored_is_kaplan_meier_of_the_censored() -> None:
    time, event, _ = follow_up(seed=5, patients=80, ties=False)
    months = np.array([0.0, 3.0, 20.0, 44.0, 70.0])
    oracle = KaplanMeierFitter().fit(time, ~event).survival_function_at_times(months)
    np.testing.assert_allclose(fit_censoring(time, event).probability(months), oracle, atol=1e-12)


def test_of_equal_times_the_event_comes_before_the_censoring() -> None:
    censoring = fit_censoring(np.array([5.0, 5.0, 9.0]), np.array([True, False, True]))
    assert censoring.probability(np.array([4.9, 5.0])).tolist() == [1.0, 0.5]


def test_a_horizon_that_few_training_patients_reach_is_left_out() -> None:
    time = np.array([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0])
    censoring = fit_censoring(time, np.ones(7, dtype=bool))
    assert censoring.usable(np.array([12.0, 20.0, 29.0, 30.0])).tolist() == [12.0, 20.0, 29.0]
    seen = watched(time, np.ones(7, dtype=bool), months=np.array([40.0]), censoring=censoring)
    assert np.isnan(horizons.mean_area(seen, time[None], np.ones((1, 7)))).all()
    assert np.isnan(horizons.integrated_losses(seen, np.ones((7, 0)))).all()


def test_the_perfect_order_has_area_one_and_the_perfect_forecast_brier_zero() -> None:
    seen, _, _ = judged(ties=False)
    assert horizons.mean_area(seen, -seen.time[None], np.ones((1, 60)))[0] == pytest.approx(1.0)
    truth = (seen.time[:, None] > MONTHS).astype(float)
    assert horizons.integrated_losses(seen, truth).sum() == 0.0


def model_data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(120, 3))
    life, leaves = rng.exponential(40 * np.exp(-x[:, 0])), rng.exponential(60, 120)
    return x, np.ceil(np.minimum(life, leaves)), life <= leaves


def test_curves_of_the_cox_model_are_those_of_lifelines() -> None:
    x, time, event = model_data()
    frame = pd.DataFrame((x - x.mean(axis=0)) / x.std(axis=0, ddof=1), columns=list("abc"))
    oracle = CoxPHFitter(penalizer=0.1).fit(frame.assign(t=time, e=event), "t", "e")
    # Its penalty is on columns of its own scale, so only the curves of given coefficients are compared.
    model = fit_cox(frame.to_numpy(), time, event, penalty=0.1)
    model = type(model)(oracle.params_.to_numpy())
    moments = np.unique(time)  # between them lifelines interpolates, and a hazard of Breslow's stands still
    found = cox_curves(model, frame.to_numpy(), time, event).survival(frame.to_numpy()[:7], moments)
    np.testing.assert_allclose(found, oracle.predict_survival_function(frame[:7], times=moments).T, atol=1e-9)


def test_curves_of_the_hazards_pass_through_the_intervals_and_never_rise() -> None:
    x, time, event = model_data()
    model = fit_hazards(x, time, event, edges=np.array([10.0, 20.0, 35.0]), penalty=0.1)
    curves = HazardCurves(model, float(time.max()))
    at_edges = curves.survival(x, np.array([0.0, 10.0, 20.0, 35.0, time.max(), 999.0]))
    np.testing.assert_allclose(at_edges[:, 1:5], model.survival(x), atol=1e-12)
    assert np.all(at_edges[:, 0] == 1.0)
    np.testing.assert_array_equal(at_edges[:, 4], at_edges[:, 5])
    assert np.all(np.diff(curves.survival(x, np.linspace(0, 80, 50)), axis=1) <= 0)
    halfway = curves.survival(x, np.array([10.0, 15.0, 20.0]))
    np.testing.assert_allclose(halfway[:, 1] ** 2, halfway[:, 0] * halfway[:, 2], atol=1e-12)


@pytest.mark.parametrize("kind", ["cox", "discrete"])
def test_predicted_survival_is_on_average_what_is_observed_in_training(kind: str) -> None:
    x, time, event = model_data()
    if kind == "cox":
        curves = cox_curves(fit_cox(x, time, event, penalty=0.01), x, time, event)
    else:
        # Nobody censored: METHOD's likelihood takes who is censored in an interval for a survivor of all of it.
        time, event = time + np.random.default_rng(0).random(120), np.ones(120, dtype=bool)
        curves = HazardCurves(fit_hazards(x, time, event, edges=MONTHS[:3], penalty=0.01), time.max())
    observed = KaplanMeierFitter().fit(time, event).survival_function_at_times(MONTHS[:3])
    np.testing.assert_allclose(curves.survival(x, MONTHS[:3]).mean(axis=0), observed, atol=0.04)
