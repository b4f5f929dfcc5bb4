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
        slides, tiles, _ = tiles_BTD.shape
        if tiles == 0:
            raise DataError("a slide without tiles cannot be encoded; exclude it from the cohort")
        side = math.isqrt(tiles - 1) + 1
        grid_BTE = self.embed(tiles_BTD).relu()
        filling_BTE = grid_BTE[:, : side * side - tiles]
        tokens = torch.cat([self.class_token.expand(slides, -1, -1), grid_BTE, filling_BTE], dim=1)
        tokens = self.attention1(tokens)
        tokens = torch.cat([tokens[:, :1], self.grid(tokens[:, 1:], side)], dim=1)
        tokens = self.attention2(tokens)
        return self.norm(tokens[:, : 1 + tiles])
