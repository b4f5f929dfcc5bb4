"""The ridge Cox model is lifelines' with Efron's ties, and behaves as its likelihood must."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from mirror.errors import MirrorError
from mirror.evaluation.cox import fit_cox, partial_log_likelihood


def cohort(*, patients: int = 90, columns: int = 5, seed: int = 0, ties: bool = True):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(patients, columns))
    x = (x - x.mean(0)) / x.std(0, ddof=1)
    time = rng.exponential(np.exp(-0.7 * x[:, 0])) * 20 + 0.1
    # Whole months: many deaths share one, and the censored share them too.
    return x, np.ceil(time) if ties else time, rng.random(patients) < 0.6


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("penalty", [0.01, 0.3, 3.0])
def test_ridge_cox_equals_lifelines(penalty: float, ties: bool) -> None:
    x, time, event = cohort(ties=ties, seed=int(10 * penalty))
    table = pd.DataFrame(x).rename(columns=str).assign(time=time, event=event)
    oracle = CoxPHFitter(penalizer=penalty, l1_ratio=0.0).fit(
        table, "time", "event", fit_options={"precision": 1e-13, "max_steps": 500}
    )
    ours = fit_cox(x, time, event, penalty=penalty)
    np.testing.assert_allclose(ours.coefficients, oracle.params_.to_numpy(), atol=1e-6)
    # lifelines reports the likelihood with the penalty taken off.
    penalised = partial_log_likelihood(ours.risk(x), time, event) - len(x) * penalty / 2 * np.sum(ours.coefficients**2)
    np.testing.assert_allclose(penalised, oracle.log_likelihood_, rtol=1e-9)


def test_likelihood_equals_a_loop_over_events_with_efron_ties() -> None:
    x, time, event = cohort(patients=40, seed=4)
    eta = x[:, 0]
    total = 0.0
    for moment in np.unique(time[event]):
        dead = event & (time == moment)
        at_risk, tied = np.exp(eta[time >= moment]).sum(), np.exp(eta[dead]).sum()
        total += eta[dead].sum() - sum(math.log(at_risk - k / dead.sum() * tied) for k in range(dead.sum()))
    assert partial_log_likelihood(eta, time, event) == pytest.approx(total, rel=1e-12)


def test_likelihood_without_risk_differences_is_that_of_a_random_order() -> None:
    event = np.ones(6, dtype=bool)
    assert partial_log_likelihood(np.zeros(6), np.arange(6.0), event) == pytest.approx(-math.log(math.factorial(6)))


def test_a_shift_of_all_risks_changes_nothing() -> None:
    x, time, event = cohort()
    assert partial_log_likelihood(x[:, 0] + 500.0, time, event) == pytest.approx(
        partial_log_likelihood(x[:, 0], time, event), rel=1e-9
    )


def test_the_start_only_shortens_the_way() -> None:
    x, time, event = cohort(columns=20)
    far = fit_cox(x, time, event, penalty=10.0)
    warm, cold = (fit_cox(x, time, event, penalty=0.1, start=start) for start in (far, None))
    np.testing.assert_allclose(warm.coefficients, cold.coefficients, atol=1e-6)


def test_coefficients_do_not_depend_on_the_order_of_patients() -> None:
    x, time, event = cohort()
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_allclose(
        fit_cox(x[order], time[order], event[order], penalty=0.1).coefficients,
        fit_cox(x, time, event, penalty=0.1).coefficients,
        atol=1e-7,
    )


def test_nobody_with_an_event_teaches_nothing() -> None:
    x, time, event = cohort()
    assert not fit_cox(x, time, np.zeros_like(event), penalty=0.1).coefficients.any()


def test_values_that_no_fit_can_follow_are_refused_instead_of_half_fitted() -> None:
    x, time, event = cohort()
    x[3, 0] = np.nan
    with pytest.raises(MirrorError, match="did not converge"):
        fit_cox(x, time, event, penalty=0.1)
