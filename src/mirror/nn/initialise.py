"""First weights, a function of a generator alone (METHOD section 6)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

TOKEN_STD = 0.02
"""Standard deviation of learned tokens, vectors and tables at the start."""


def initialise_layers(module: nn.Module, *, linear: Literal["xavier", "fan_in"], generator: torch.Generator) -> None:
    """Fill every Linear, Conv2d and LayerNorm below `module`, in the order of their registration.

    `xavier`: Linear weights Xavier-uniform, biases zero. `fan_in`: uniform in +-1/sqrt(fan in), biases too, which is
    also what convolutions get either way. LayerNorms start as the identity. Tokens and tables are the modules' own.
    """
    for layer in module.modules():
        if isinstance(layer, nn.LayerNorm):
            layer.reset_parameters()
        elif isinstance(layer, nn.Linear) and linear == "xavier":
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear | nn.Conv2d):
            bound = layer.weight[0].numel() ** -0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
