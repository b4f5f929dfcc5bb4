"""Prior divergence and prototype agreement."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence

from mirror.losses.style import cluster_divergence, prior_divergence

GENERATOR = torch.Generator().manual_seed(0)


def test_the_divergence_is_zero_at_the_prior() -> None:
    assert float(prior_divergence(torch.zeros(4, 3), torch.zeros(4, 3))) == 0.0


def test_the_divergence_is_that_of_normal_distributions() -> None:
    mean, log_variance = torch.randn(2, 5, 3, generator=GENERATOR, dtype=torch.float64)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(()), torch.ones(())))
    torch.testing.assert_close(prior_divergence(mean, log_variance), expected.sum(dim=1).mean())


def test_agreement_costs_nothing() -> None:
    scores = torch.randn(4, 9, generator=GENERATOR)
    assert float(cluster_divergence(scores, scores + 2.5)) == pytest.approx(0.0, abs=1e-6)


def test_the_cluster_term_is_the_mean_of_both_divergences() -> None:
    ours, other = torch.randn(2, 6, 11, generator=GENERATOR, dtype=torch.float64)
    p, q = Categorical(logits=ours), Categorical(logits=other)
    expected = (kl_divergence(p, q) + kl_divergence(q, p)).mean() / 2
    torch.testing.assert_close(cluster_divergence(ours, other), expected)


def test_the_cluster_term_stays_finite_for_certain_scores() -> None:
    scores = torch.tensor([[900.0, -900.0, 0.0]], requires_grad=True)
    term = cluster_divergence(scores, -scores.detach())
    term.backward()
    assert torch.isfinite(term)
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
