"""A compiled model computes the same; one that cannot be compiled runs all the same."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd

from mirror.training.compiled import compile_in_place


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 1))


def gradient(model: nn.Module) -> list[torch.Tensor]:
    model.zero_grad()
    (model(torch.ones(3, 4)) ** 2).sum().backward()
    return [one.grad.clone() for one in model.parameters() if one.grad is not None]


def test_it_computes_the_same_under_the_same_names() -> None:
    model, seen = small(), list[Any]()

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        seen.append(inputs)
        return graph

    wanted, names = gradient(model), list(model.state_dict())
    compile_in_place(model, backend=backend)
    torch.testing.assert_close(gradient(model), wanted)
    assert seen, "the backend was asked"
    assert list(model.state_dict()) == names


def broken(*_: Any) -> Any:
    raise RuntimeError("no compiler here")


def as_it_is(graph: Any, _: Any) -> Any:
    return make_boxed_func(graph.forward)


@pytest.mark.parametrize(
    "backend",
    [broken, aot_autograd(fw_compiler=broken), aot_autograd(fw_compiler=as_it_is, bw_compiler=broken)],
    ids=["at once", "in the forward pass", "in the backward pass"],
)
def test_where_it_fails_training_goes_on_and_says_so(backend: Any, caplog: pytest.LogCaptureFixture) -> None:
    model = small()
    wanted = gradient(model)
    compile_in_place(model, backend=backend)
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(gradient(model), wanted)
        gradient(model)
    assert [record.message for record in caplog.records if "no compiler here" in record.message], caplog.text
    assert caplog.text.count("training goes on without it") == 1
