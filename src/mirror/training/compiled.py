"""Compilation of a model, which training must not depend on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from torch import nn

log = logging.getLogger(__name__)


def compile_in_place(model: nn.Module, *, backend: str | Callable[..., Any] = "inductor") -> None:
    """Have `model` compiled when it is first called; where that fails, it runs as it is from then on, with a warning.

    Names and weights stay what they are.
    """
    # The compiler takes as long to import as all the rest of torch, and most commands compile nothing.
    from torch._dynamo.exc import TorchDynamoException
    from torch._functorch import config as functorch_config

    model.compile(backend=backend)
    compiled: Callable[..., Any] = model._compiled_call_impl  # pyright: ignore[reportAssignmentType, reportPrivateUsage]

    def call(*inputs: Any, **named: Any) -> Any:
        try:
            # The backward pass is compiled here, too: left to itself it fails later, where nobody could step in.
            with functorch_config.patch(force_non_lazy_backward_lowering=True):
                return compiled(*inputs, **named)
        except TorchDynamoException as error:
            log.warning("torch.compile failed, training goes on without it (`pretraining.compile`): %s", error)
            model._compiled_call_impl = None  # pyright: ignore[reportPrivateUsage]
            return model(*inputs, **named)

    model._compiled_call_impl = call  # pyright: ignore[reportPrivateUsage]
