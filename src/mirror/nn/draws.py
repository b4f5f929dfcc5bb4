"""What a training forward leaves to chance, drawn ahead of it. Legend: B pairs, T tiles, E width, Z style latent."""

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
