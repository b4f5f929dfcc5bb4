"""Compilation of a model, which training must not depend on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from torch import nn
from torch._dynamo.exc import TorchDynamoException

log = logging.getLogger(__name__)


def compile_in_place(model: nn.Module, *, backend: str | Callable[..., Any] = "inductor") -> None:
    """Have `model` compiled when it is first called; where that fails, it runs as it is from then on, with a warning.

    Names and weights stay what they are.
    """
    model.compile(backend=backend)
    compiled: Callable[..., Any] = model._compiled_call_impl  # pyright: ignore[reportAssignmentType, reportPrivateUsage]

    def call(*inputs: Any, **named: Any) -> Any:
        try:
            return compiled(*inputs, **named)
        except TorchDynamoException as error:
            log.warning("torch.compile failed, training goes on without it (`pretraining.compile`): %s", error)
            model._compiled_call_impl = None  # pyright: ignore[reportPrivateUsage]
            return model(*inputs, **named)

    model._compiled_call_impl = call  # pyright: ignore[reportPrivateUsage]
