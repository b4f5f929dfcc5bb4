"""The slide encoder: tile features to a class token and tile tokens (METHOD section 1).

Legend: B slides, T tiles, D tile-feature width, S = 1 + T, E width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mirror.errors import DataError
from mirror.nn.attention import AttentionForm, TokenAttention
from mirror.nn.initialise import TOKEN_STD, initialise_layers
from mirror.nn.layers import GridConvolution, PreNormResidual


class SlideEncoder(nn.Module):
    """TransMIL over tile features: (B, T, D) to (B, 1 + T, E), class token first. Any T from 1 on."""

    def __init__(self, tile_dim: int, width: int, *, attention: AttentionForm) -> None:
        super().__init__()
        self.embed = nn.Linear(tile_dim, width)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.attention1 = PreNormResidual(width, TokenAttention(width, attention))
        self.grid = GridConvolution(width)
        self.attention2 = PreNormResidual(width, TokenAttention(width, attention))
        self.norm = nn.LayerNorm(width)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """First weights (METHOD section 6)."""
        initialise_layers(self, linear="xavier", generator=generator)
        nn.init.normal_(self.class_token, std=TOKEN_STD, generator=generator)

    def forward(self, tiles_BTD: Tensor) -> Tensor:
        """Raises `DataError` when the slides have no tiles."""
        tokens = self.attention2(self.between(self.tokens(tiles_BTD)))
        return self.norm(tokens[:, : 1 + tiles_BTD.shape[1]])

    def tokens(self, tiles_BTD: Tensor) -> Tensor:
        """What the first attention layer gets (B, N, E): class token, tiles, and the first tiles again to fill up a
        square. Raises `DataError` when the slides have no tiles."""
        slides, tiles, _ = tiles_BTD.shape
        if tiles == 0:
            raise DataError("a slide without tiles cannot be encoded; exclude it from the cohort")
        grid_BTE = self.embed(tiles_BTD).relu()
        filling_BTE = grid_BTE[:, : _side(tiles) ** 2 - tiles]
        return torch.cat([self.class_token.expand(slides, -1, -1), grid_BTE, filling_BTE], dim=1)

    def between(self, tokens_BNE: Tensor) -> Tensor:
        """What the second attention layer gets, from what the first one got; both (B, N, E)."""
        tokens = self.attention1(tokens_BNE)
        return torch.cat([tokens[:, :1], self.grid(tokens[:, 1:], _side(tokens.shape[1] - 1))], dim=1)


def _side(tiles: int) -> int:
    """Side of the least square that holds so many."""
    return math.isqrt(tiles - 1) + 1
