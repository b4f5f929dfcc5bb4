"""InfoNCE."""

from __future__ import annotations

import math

import pytest
import torch

from mirror.losses.alignment import alignment_loss


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
