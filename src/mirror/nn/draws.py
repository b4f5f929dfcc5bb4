"""What a training forward leaves to chance, drawn ahead of it.

Legend: B pairs, T tiles, S those of them that are seen, D tile-feature width, E width, Z style latent.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Draws(NamedTuple):
    """Masks (bool, True = hidden) and the standard normal noise of both style codes."""

    slide_mask_BT: Tensor
    expression_mask_BE: Tensor
    slide_noise_BZ: Tensor
    expression_noise_BZ: Tensor


def hidden_count(positions: int, mask_ratio: float) -> int:
    """How many of `positions` are hidden: all but `int(positions * (1 - mask_ratio))`."""
    return positions - int(positions * (1 - mask_ratio))


def draw_mask(rows: int, positions: int, *, mask_ratio: float, generator: torch.Generator) -> Tensor:
    """(rows, positions) bool on the generator's device, True at exactly `hidden_count` places of each row."""
    order = torch.rand(rows, positions, generator=generator, device=generator.device).argsort(dim=1)
    mask = torch.zeros(rows, positions, dtype=torch.bool, device=generator.device)
    return mask.scatter_(1, order[:, : hidden_count(positions, mask_ratio)], True)


def parted(tiles_BTD: Tensor, mask_BT: Tensor, *, mask_ratio: float) -> tuple[Tensor, Tensor]:
    """The tiles that a mask of `draw_mask` leaves (B, S, D), and those it hides (B, T - S, D), each in their order.

    How many there are of either follows from `mask_ratio` and is not read from the mask, which a device would have to
    be waited for.
    """
    tiles = tiles_BTD.shape[1]
    order_BT = mask_BT.byte().argsort(dim=1, stable=True)
    rows_B1 = torch.arange(len(tiles_BTD), device=tiles_BTD.device).unsqueeze(1)
    seen = tiles - hidden_count(tiles, mask_ratio)
    return tiles_BTD[rows_B1, order_BT[:, :seen]], tiles_BTD[rows_B1, order_BT[:, seen:]]
