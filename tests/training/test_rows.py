"""A batch whose rows are encoded in parts is the batch that is encoded in one go."""

from __future__ import annotations

from typing import NamedTuple

import joint_steps
import pytest
import torch
from torch import Tensor, nn

from mirror.seeding import generator_for
from mirror.training.rows import RowModel, map_rows

WHOLE = max(joint_steps.BATCHES)


@pytest.fixture(scope="module")
def in_one_go() -> joint_steps.Steps:
    return joint_steps.steps(rows_at_once=WHOLE)


@pytest.mark.parametrize("rows_at_once", [1, 3])
def test_terms_and_gradients_do_not_depend_on_the_rows_at_once(in_one_go: joint_steps.Steps, rows_at_once: int) -> None:
    for key, found in joint_steps.steps(rows_at_once=rows_at_once).items():
        for one, other in zip(found, in_one_go[key], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")


def test_dropout_is_that_of_the_forward_when_a_part_is_computed_again() -> None:
    model = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 2))
    x_B4 = torch.randn(7, 4, generator=generator_for(0, "rows"))

    def gradients(rows: Small) -> list[Tensor]:
        model.zero_grad()
        (rows.rows_B**2).sum().backward()
        return [one.grad.clone() for one in model.parameters() if one.grad is not None]

    torch.manual_seed(5)
    kept = Small(torch.cat([model(x_B4[:3]), model(x_B4[3:6]), model(x_B4[6:])]), torch.zeros(()))
    wanted = gradients(kept)
    torch.manual_seed(5)
    again = RowModel(model, lambda net, x: Small(net(x), torch.zeros(())), at_once=3)(x_B4)
    torch.testing.assert_close(again.rows_B, kept.rows_B, rtol=0, atol=0)
    torch.testing.assert_close(gradients(again), wanted)


class Small(NamedTuple):
    """Rows, and a number that all share."""

    rows_B: Tensor
    shared: Tensor


class Nested(NamedTuple):
    """Rows within rows."""

    small: Small
    other_B: Tensor


class Counted(nn.Module):
    """Counts the rows that it sees at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.seen: list[int] = []

    def forward(self, x_B: Tensor) -> Tensor:
        self.seen.append(len(x_B))
        return self.weight * x_B


def nested(model: Counted, x_B: Tensor) -> Nested:
    return Nested(Small(model(x_B), model.weight.exp()), -x_B)


def test_parts_are_joined_in_order_and_what_all_rows_share_counts_once() -> None:
    model = Counted()
    rows: Nested = RowModel(model, nested, at_once=3)(torch.arange(7.0))
    assert model.seen == [3, 3, 1]
    torch.testing.assert_close(rows.small.rows_B, 2 * torch.arange(7.0))
    torch.testing.assert_close(rows.other_B, -torch.arange(7.0))
    (rows.small.rows_B.sum() + rows.small.shared).backward()
    assert model.seen == [3, 3, 1, *reversed([3, 3, 1])], "the last part is computed again first"
    assert model.weight.grad == pytest.approx(21 + torch.tensor(2.0).exp().item())


def test_tuples_keep_their_kind() -> None:
    made = map_rows(
        lambda parts: parts[0] + parts[1], *(Nested(Small(torch.ones(2), torch.ones(())), torch.ones(1)),) * 2
    )
    assert isinstance(made, Nested)
    assert isinstance(made.small, Small)
    assert made.small.rows_B.tolist() == [2, 2]
