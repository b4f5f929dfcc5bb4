"""The expression encoder: one profile to one embedding (METHOD section 2).

Legend: B patients, G expression features, E width, H heads, C = E / H.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mirror.errors import ConfigError
from mirror.nn.initialise import TOKEN_STD, initialise_layers
from mirror.nn.layers import Mlp

EPS = 1e-6
"""Epsilon of every LayerNorm on the expression side."""


class ChunkAttention(nn.Module):
    """Attention among the H chunks of one vector: (B, E) to (B, E).

    A patient has a single vector, so its chunks of width C are the tokens. The result is flattened chunk-last
    (transposed to (C, H) first), as published. Raises `ConfigError` when the heads do not divide the width.
    """

    def __init__(self, width: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"width {width} is not a multiple of {heads} expression heads; change either")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BE: Tensor) -> Tensor:
        q_BHC, k_BHC, v_BHC = self.qkv(x_BE).unflatten(1, (3, self.heads, -1)).unbind(1)
        mixed_BHC = F.scaled_dot_product_attention(q_BHC, k_BHC, v_BHC)
        return self.dropout(self.project(mixed_BHC.mT.flatten(1)))


class ExpressionBlock(nn.Module):
    """Attention among chunks, then an MLP, both pre-norm and residual: (B, E) to (B, E)."""

    def __init__(self, width: int, *, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attention = ChunkAttention(width, heads=heads, dropout=dropout)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio), width, dropout=dropout)

    def forward(self, x_BE: Tensor) -> Tensor:
        x_BE = x_BE + self.attention(self.norm1(x_BE))
        return x_BE + self.mlp(self.norm2(x_BE))


class ExpressionEncoder(nn.Module):
    """(B, G) to (B, E)."""

    def __init__(self, genes: int, width: int, *, heads: int, depth: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.embed = Mlp(genes, 2 * width, width, norm_eps=EPS)
        self.offset = nn.Parameter(torch.zeros(1, width))
        self.blocks = nn.Sequential(
            *(ExpressionBlock(width, heads=heads, mlp_ratio=mlp_ratio, dropout=dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width, eps=EPS)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """First weights (METHOD section 6)."""
        initialise_layers(self, linear="fan_in", generator=generator)
        nn.init.normal_(self.offset, std=TOKEN_STD, generator=generator)

    def forward(self, expression_BG: Tensor) -> Tensor:
        return self.norm(self.blocks(self.embed(expression_BG) + self.offset))
