"""InfoNCE."""

from __future__ import annotations

import math

import pytest
import torch

from mirror.losses.alignment import alignment_loss, patient_alignment_loss


@pytest.mark.parametrize("pairs", [1, 2, 7, 64])
def test_constant_embeddings_give_log_n(pairs: int) -> None:
    assert float(alignment_loss(torch.full((pairs, pairs), 3.7))) == pytest.approx(math.log(pairs), abs=1e-6)


def test_it_equals_a_slow_loop() -> None:
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    total = 0.0
    for i in range(5):
        row = sum(math.exp(float(logits[i, j])) for j in range(5))
        column = sum(math.exp(float(logits[j, i])) for j in range(5))
        total -= math.log(math.exp(float(logits[i, i])) / row) + math.log(math.exp(float(logits[i, i])) / column)
    assert float(alignment_loss(logits)) == pytest.approx(total / 10)


def test_slides_and_expression_may_change_places() -> None:
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(alignment_loss(logits), alignment_loss(logits.mT))


def test_it_vanishes_when_every_pair_finds_itself() -> None:
    assert float(alignment_loss(1e4 * torch.eye(4))) == 0.0


def test_other_slides_of_a_patient_are_no_negatives() -> None:
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    changed = logits.clone()
    changed[0, 1] = changed[1, 0] = 50.0
    patients, pairs = torch.tensor([0, 0, 1, 2]), torch.ones(4, dtype=torch.bool)
    torch.testing.assert_close(
        patient_alignment_loss(logits, patients, pairs), patient_alignment_loss(changed, patients, pairs)
    )
    apart = torch.arange(4)
    assert patient_alignment_loss(changed, apart, pairs) > patient_alignment_loss(logits, apart, pairs) + 10


def test_with_one_slide_a_patient_it_is_the_published_loss() -> None:
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    pairs = torch.ones(5, dtype=torch.bool)
    torch.testing.assert_close(patient_alignment_loss(logits, torch.arange(5), pairs), alignment_loss(logits))


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_rows_that_are_no_pair_have_no_part_and_no_gradient(count: int) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(5, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    patients = torch.tensor([0, 1, 0, 2, 3])
    pairs = torch.zeros(5, dtype=torch.bool)
    chosen = torch.randperm(5, generator=generator)[:count]
    pairs[chosen] = True
    loss = patient_alignment_loss(logits, patients, pairs)
    (gradient,) = torch.autograd.grad(loss, logits)
    kept = logits.detach()[pairs][:, pairs].requires_grad_()
    if count == 0:
        assert float(loss.detach()) == 0
        assert not gradient.any()
        return
    alone = patient_alignment_loss(kept, patients[pairs], torch.ones(count, dtype=torch.bool))
    (expected,) = torch.autograd.grad(alone, kept)
    torch.testing.assert_close(loss, alone)
    torch.testing.assert_close(gradient[pairs][:, pairs], expected)
    assert not gradient[~pairs].any()
    assert not gradient[:, ~pairs].any()
