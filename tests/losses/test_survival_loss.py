"""Discrete-time survival likelihood and risk."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mirror.losses.survival import risk, survival_loss, survival_nll

LOGITS = st.lists(st.floats(-6, 6), min_size=4, max_size=4)


def slow_nll(logits: list[float], interval: int, event: bool, alpha: float) -> float:
    hazards = [1 / (1 + math.exp(-x)) for x in logits]
    nll = 0.0
    for k in range(interval + 1):
        dies_here = event and k == interval
        nll -= math.log(hazards[k]) if dies_here else math.log(1 - hazards[k])
    return (1 - alpha) * nll + alpha * (nll if event else 0.0)


@given(LOGITS, st.integers(0, 3), st.booleans(), st.floats(0, 1))
def test_the_likelihood_equals_a_slow_loop(logits: list[float], interval: int, event: bool, alpha: float) -> None:
    given_ = torch.tensor([logits], dtype=torch.float64)
    ours = survival_nll(given_, torch.tensor([interval]), torch.tensor([event]), alpha=alpha)
    assert float(ours) == pytest.approx(slow_nll(logits, interval, event, alpha), rel=1e-9, abs=1e-12)


@given(LOGITS)
def test_risk_is_minus_the_summed_survival(logits: list[float]) -> None:
    survival, total = 1.0, 0.0
    for x in logits:
        survival *= 1 - 1 / (1 + math.exp(-x))
        total += survival
    assert float(risk(torch.tensor([logits], dtype=torch.float64))) == pytest.approx(-total)


@given(LOGITS)
def test_all_outcomes_together_are_certain(logits: list[float]) -> None:
    """An event in one of the intervals, or none through the last one."""
    rows = torch.tensor([logits] * 5, dtype=torch.float64)
    interval, event = torch.tensor([0, 1, 2, 3, 3]), torch.tensor([1, 1, 1, 1, 0])
    assert float((-survival_nll(rows, interval, event)).exp().sum()) == pytest.approx(1.0)


def test_a_higher_hazard_means_a_higher_risk() -> None:
    logits = torch.zeros(2, 4)
    logits[1, 2] = 1.0
    low, high = risk(logits)
    assert high > low


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[500.0, -500.0, 500.0]] * 2, requires_grad=True)
    nll = survival_nll(logits, torch.tensor([1, 2]), torch.tensor([1, 0]))
    nll.sum().backward()
    torch.testing.assert_close(nll, torch.tensor([1000.0, 1000.0]))
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_loss_is_the_mean_over_patients() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    interval, event = torch.arange(6) % 4, torch.arange(6) % 2
    mean = survival_nll(logits, interval, event, alpha=0.4).mean()
    assert torch.equal(survival_loss(logits, interval, event, alpha=0.4), mean)


def test_an_interval_that_does_not_exist_is_refused() -> None:
    with pytest.raises((IndexError, RuntimeError)):
        survival_nll(torch.zeros(1, 4), torch.tensor([4]), torch.tensor([1]))
