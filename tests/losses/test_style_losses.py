"""Prior divergence and prototype agreement."""

from __future__ import annotations

import torch
from torch.distributions import Categorical, Normal, kl_divergence

from mirror.losses.style import balanced_agreement, balanced_assignment, cluster_divergence, prior_divergence

GENERATOR = torch.Generator().manual_seed(0)


def test_the_divergence_is_zero_at_the_prior() -> None:
    assert torch.equal(prior_divergence(torch.zeros(4, 3), torch.zeros(4, 3)), torch.zeros(4))


def test_the_divergence_is_that_of_normal_distributions() -> None:
    mean, log_variance = torch.randn(2, 5, 3, generator=GENERATOR, dtype=torch.float64)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(()), torch.ones(())))
    torch.testing.assert_close(prior_divergence(mean, log_variance), expected.sum(dim=1))


def test_agreement_costs_nothing() -> None:
    scores = torch.randn(4, 9, generator=GENERATOR)
    torch.testing.assert_close(cluster_divergence(scores, scores + 2.5), torch.zeros(4), rtol=0, atol=1e-6)


def test_the_cluster_term_is_the_mean_of_both_divergences() -> None:
    ours, other = torch.randn(2, 6, 11, generator=GENERATOR, dtype=torch.float64)
    p, q = Categorical(logits=ours), Categorical(logits=other)
    expected = (kl_divergence(p, q) + kl_divergence(q, p)) / 2
    torch.testing.assert_close(cluster_divergence(ours, other), expected)


def test_the_cluster_term_stays_finite_for_certain_scores() -> None:
    scores = torch.tensor([[900.0, -900.0, 0.0]], requires_grad=True)
    term = cluster_divergence(scores, -scores.detach()).mean()
    term.backward()
    assert torch.isfinite(term)
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


def test_a_balanced_assignment_uses_every_prototype_alike() -> None:
    scores = torch.randn(60, 6, generator=GENERATOR) + torch.tensor([4.0, 0, 0, 0, 0, 0])
    assigned = balanced_assignment(scores, torch.ones(60, dtype=torch.bool), rounds=50)
    torch.testing.assert_close(assigned.sum(dim=1), torch.ones(60))
    torch.testing.assert_close(assigned.sum(dim=0), torch.full((6,), 10.0), rtol=1e-3, atol=1e-3)


def test_absent_rows_have_no_part_in_a_balanced_assignment() -> None:
    scores, there = torch.randn(9, 4, generator=GENERATOR), torch.arange(9) % 3 > 0
    assigned = balanced_assignment(scores, there)
    torch.testing.assert_close(assigned[there], balanced_assignment(scores[there], there[there]))
    assert not assigned[~there].any()
    assert not balanced_assignment(scores, torch.zeros(9, dtype=torch.bool)).any()


def test_sharing_one_prototype_is_no_minimum_of_the_agreement() -> None:
    together = torch.zeros(6, 3)
    together[:, 0] = 10.0
    apart = 10.0 * torch.eye(3).repeat(2, 1)
    everyone = {"has_slide_B": torch.ones(6, dtype=torch.bool), "has_expression_B": torch.ones(6, dtype=torch.bool)}
    assert balanced_agreement(apart, apart, **everyone) < balanced_agreement(together, together, **everyone) - 1


def test_the_scores_of_an_absent_modality_have_no_part_and_both_modalities_are_alike() -> None:
    slide, expression, noise = torch.randn(3, 6, 3, generator=GENERATOR).unbind()
    has_slide = torch.tensor([True, True, True, False, False, True])
    has_expression = torch.tensor([True, True, False, True, True, True])
    agreement = balanced_agreement(slide, expression, has_slide_B=has_slide, has_expression_B=has_expression)
    others = (
        torch.where(has.unsqueeze(1), scores, 100 * noise)
        for scores, has in ((slide, has_slide), (expression, has_expression))
    )
    torch.testing.assert_close(
        agreement, balanced_agreement(*others, has_slide_B=has_slide, has_expression_B=has_expression)
    )
    torch.testing.assert_close(
        agreement, balanced_agreement(expression, slide, has_slide_B=has_expression, has_expression_B=has_slide)
    )


def test_without_any_pair_a_modality_agrees_with_its_own_assignment() -> None:
    scores = torch.randn(6, 3, generator=GENERATOR)
    everyone, nobody = torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)
    expected = -(balanced_assignment(scores, everyone) * scores.log_softmax(dim=1)).sum(dim=1).mean()
    found = balanced_agreement(scores, torch.zeros(6, 3), has_slide_B=everyone, has_expression_B=nobody)
    torch.testing.assert_close(found, expected)
    found = balanced_agreement(torch.zeros(6, 3), scores, has_slide_B=nobody, has_expression_B=everyone)
    torch.testing.assert_close(found, expected)
