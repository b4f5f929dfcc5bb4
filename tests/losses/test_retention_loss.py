"""Masked mean squared error."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mirror.losses.retention import retention_loss

GENERATOR = torch.Generator().manual_seed(0)


def case(*, tokens: bool) -> tuple[Tensor, Tensor, Tensor]:
    shape = (3, 7, 4) if tokens else (3, 7)
    mask = torch.rand(3, 7, generator=GENERATOR) < 0.6
    return torch.randn(shape, generator=GENERATOR), torch.randn(shape, generator=GENERATOR), mask


@pytest.mark.parametrize("tokens", [True, False])
def test_it_equals_a_slow_loop(tokens: bool) -> None:
    prediction, target, mask = case(tokens=tokens)
    errors = [float(((prediction[i, j] - target[i, j]) ** 2).mean()) for i in range(3) for j in range(7) if mask[i, j]]
    assert float(retention_loss(prediction, target, mask)) == pytest.approx(sum(errors) / len(errors))


@pytest.mark.parametrize("tokens", [True, False])
def test_visible_positions_are_ignored(tokens: bool) -> None:
    prediction, target, mask = case(tokens=tokens)
    changed = prediction.clone()
    changed[~mask] = torch.inf
    assert torch.equal(retention_loss(changed, target, mask), retention_loss(prediction, target, mask))


@pytest.mark.parametrize("tokens", [True, False])
def test_visible_positions_get_no_gradient(tokens: bool) -> None:
    prediction, target, mask = case(tokens=tokens)
    prediction.requires_grad_()
    retention_loss(prediction, target, mask).backward()
    assert prediction.grad is not None
    assert (prediction.grad[~mask] == 0).all()
    assert (prediction.grad[mask] != 0).all()


def test_a_perfect_reconstruction_costs_nothing() -> None:
    _, target, mask = case(tokens=True)
    assert float(retention_loss(target, target, mask)) == 0.0


def test_nothing_hidden_costs_nothing() -> None:
    prediction, target, mask = case(tokens=True)
    assert float(retention_loss(prediction, target, torch.zeros_like(mask))) == 0.0
