"""Retention: rebuild hidden parts of each modality's own representation (METHOD section 4).

Legend: B pairs, T tiles, S = 1 + T, E width. Masks are True where something is hidden.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mirror.errors import ConfigError
from mirror.nn.attention import AttentionForm, TokenAttention
from mirror.nn.expression_encoder import EPS, ExpressionBlock
from mirror.nn.initialise import TOKEN_STD, initialise_layers
from mirror.nn.layers import PreNormResidual


class RetentionOutput(NamedTuple):
    """What a decoder rebuilt: `prediction` and `target` (B, T, E) or (B, E); `mask` (B, T) or (B, E)."""

    prediction: Tensor
    target: Tensor
    mask: Tensor


class SlideRetention(nn.Module):
    """Rebuilds hidden tile tokens from the visible ones and the class token.

    `tiles` is the number of rows of the position table; only slides of exactly that many tiles can be decoded.
    """

    def __init__(self, width: int, tiles: int, *, attention: AttentionForm) -> None:
        super().__init__()
        self.embed = nn.Linear(width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, 1 + tiles, width))
        self.block = PreNormResidual(width, TokenAttention(width, attention))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, width)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """First weights (METHOD section 6)."""
        initialise_layers(self, linear="xavier", generator=generator)
        nn.init.normal_(self.mask_token, std=TOKEN_STD, generator=generator)
        nn.init.trunc_normal_(self.position, std=TOKEN_STD, generator=generator)

    def forward(self, tokens_BSE: Tensor, mask_BT: Tensor) -> RetentionOutput:
        """The class token is never hidden. Raises `ConfigError` when T is not the table's."""
        tiles, rows = tokens_BSE.shape[1] - 1, self.position.shape[1] - 1
        if tiles != rows:
            raise ConfigError(
                f"slides of {tiles} tiles meet a position table of {rows}; "
                f"draw {rows} tiles a slide, or build the model for {tiles}"
            )
        u_BSE = self.embed(tokens_BSE)
        u_BTE = torch.where(mask_BT.unsqueeze(2), self.mask_token.to(u_BSE.dtype), u_BSE[:, 1:])
        u_BSE = self.block(torch.cat([u_BSE[:, :1], u_BTE], dim=1) + self.position)
        return RetentionOutput(self.head(self.norm(u_BSE[:, 1:])), tokens_BSE[:, 1:], mask_BT)


class ExpressionRetention(nn.Module):
    """Rebuilds hidden coordinates of the expression embedding from the visible ones."""

    def __init__(self, width: int, *, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Linear(width, width)
        self.mask_scalar = nn.Parameter(torch.zeros(1, 1))
        self.offset = nn.Parameter(torch.zeros(1, width))
        self.block = ExpressionBlock(width, heads=heads, mlp_ratio=mlp_ratio, dropout=dropout)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.head = nn.Linear(width, width)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """First weights (METHOD section 6)."""
        initialise_layers(self, linear="fan_in", generator=generator)
        # The recorded model's block starts with both residual projections divided by sqrt 2; its encoder blocks do not.
        self.block.attention.project.weight.mul_(0.5**0.5)
        self.block.mlp.fc2.weight.mul_(0.5**0.5)
        nn.init.normal_(self.mask_scalar, std=TOKEN_STD, generator=generator)
        nn.init.normal_(self.offset, std=TOKEN_STD, generator=generator)

    def forward(self, embedding_BE: Tensor, mask_BE: Tensor) -> RetentionOutput:
        u_BE = self.embed(embedding_BE)
        u_BE = torch.where(mask_BE, self.mask_scalar.to(u_BE.dtype), u_BE)
        return RetentionOutput(self.head(self.norm(self.block(u_BE + self.offset))), embedding_BE, mask_BE)
