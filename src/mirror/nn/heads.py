"""Downstream heads on both embeddings of a pair (METHOD section 7). Legend: B pairs, E width, C classes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mirror.nn.initialise import initialise_layers


class FusionHead(nn.Module):
    """One linear layer on class token and expression embedding: side by side (`concat`) or summed (`add`).

    Classes are subtypes, or the intervals of a discrete-time survival model.
    """

    def __init__(
        self, width: int, classes: int, *, generator: torch.Generator, fusion: Literal["concat", "add"] = "concat"
    ) -> None:
        super().__init__()
        self.fusion: Literal["concat", "add"] = fusion
        self.linear = nn.Linear(2 * width if fusion == "concat" else width, classes)
        with torch.no_grad():
            initialise_layers(self.linear, linear="fan_in", generator=generator)

    def forward(self, class_BE: Tensor, expression_BE: Tensor) -> Tensor:
        """Logits (B, C)."""
        if self.fusion == "add":
            return self.linear(class_BE + expression_BE)
        return self.linear(torch.cat([class_BE, expression_BE], dim=1))
