"""Alignment: both modalities in one space, every pair of the batch compared (METHOD section 3).

Legend: B pairs, E width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mirror.nn.initialise import initialise_layers

FIRST_LOG_SCALE = math.log(1 / 0.07)
MAX_LOG_SCALE = math.log(100)


class AlignmentOutput(NamedTuple):
    """Projections of both modalities, and the scale (the exponential of its parameter) of their products."""

    slide_BE: Tensor
    expression_BE: Tensor
    scale: Tensor

    @property
    def logits_BB(self) -> Tensor:
        """The scaled products of every pair, slides in rows."""
        return self.scale * self.slide_BE @ self.expression_BE.mT


class Alignment(nn.Module):
    """Embeddings are normalised, then projected; so the logits (slides in rows) are not cosines. Published so."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.slide = nn.Linear(width, width)
        self.expression = nn.Linear(width, width)
        self.log_scale = nn.Parameter(torch.tensor(FIRST_LOG_SCALE))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """First weights (METHOD section 6)."""
        initialise_layers(self.slide, linear="xavier", generator=generator)
        initialise_layers(self.expression, linear="fan_in", generator=generator)
        self.log_scale.fill_(FIRST_LOG_SCALE)

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """Keep the scale within [1, 100], in place."""
        self.log_scale.clamp_(0.0, MAX_LOG_SCALE)

    def forward(self, class_BE: Tensor, expression_BE: Tensor) -> AlignmentOutput:
        slide_BE = self.slide(F.normalize(class_BE, dim=1))
        expression_BE = self.expression(F.normalize(expression_BE, dim=1))
        return AlignmentOutput(slide_BE, expression_BE, self.log_scale.exp())
