"""Both survival heads: the penalty is chosen inside, the signal is found, noise is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mirror.evaluation.metrics import c_index
from mirror.evaluation.representations import row_space
from mirror.evaluation.survival import (
    PENALTIES,
    SurvivalData,
    SurvivalFit,
    fit_cox_head,
    fit_discrete_head,
    why_not,
)

Head = Callable[[SurvivalData], SurvivalFit]
HEADS: dict[str, Head] = {
    "cox": lambda data: fit_cox_head(data, inner_folds=5, seed=3),
    "discrete": lambda data: fit_discrete_head(data, intervals=4, inner_folds=5, seed=3),
}


def cohort(*, patients: int = 150, columns: int = 8, signal: float = 1.0, seed: int = 0) -> SurvivalData:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(patients, columns))
    return SurvivalData(x, rng.exponential(np.exp(-signal * x[:, 0])) * 30, rng.random(patients) < 0.6)


@pytest.mark.parametrize("head", HEADS)
def test_a_factor_that_shortens_life_is_found(head: str) -> None:
    test = cohort(patients=400, seed=1)
    fit = HEADS[head](cohort(patients=400, seed=0))
    reachable = c_index(test.time, test.event, test.x[:, 0])
    assert reachable > 0.65
    assert c_index(test.time, test.event, fit.model.risk(test.x)) > reachable - 0.03


@pytest.mark.parametrize("head", HEADS)
def test_columns_without_any_signal_end_at_chance(head: str) -> None:
    test = cohort(signal=0.0, seed=100)
    fits = [HEADS[head](cohort(signal=0.0, seed=seed)) for seed in range(6)]
    assert np.mean([c_index(test.time, test.event, f.model.risk(test.x)) for f in fits]) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("head", HEADS)
def test_the_penalty_is_one_of_the_documented_grid(head: str) -> None:
    assert HEADS[head](cohort()).penalty in PENALTIES


@pytest.mark.parametrize("head", HEADS)
def test_more_columns_than_patients_give_the_same_risks_in_the_row_space(head: str) -> None:
    train, test = cohort(patients=60, columns=150), cohort(patients=30, columns=150, seed=1)
    basis = row_space(train.x)
    assert basis is not None
    assert basis.shape == (150, 60)
    wide = HEADS[head](train)
    narrow = HEADS[head](train._replace(x=train.x @ basis))
    assert wide.penalty == narrow.penalty
    np.testing.assert_allclose(wide.model.risk(test.x), narrow.model.risk(test.x @ basis), atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_two_deaths_are_enough_to_fit(head: str) -> None:
    data = cohort(patients=30)
    few = np.zeros(30, dtype=bool)
    few[[4, 9]] = True
    assert np.isfinite(HEADS[head](data._replace(event=few)).model.risk(data.x)).all()


def test_one_death_is_not_enough_and_the_reason_says_so() -> None:
    data = cohort(patients=10)
    assert "1 training patients with an event" in (why_not(data._replace(event=np.arange(10) == 3)) or "")
    assert why_not(data) is None
