"""Reconstruction of hidden positions (METHOD section 4). Legend: B rows, each of a slide or a patient."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class HiddenErrors(NamedTuple):
    """Of each row, both (B,): the sum of its squared errors over what is hidden, and how many positions that is."""

    sum_B: Tensor
    count_B: Tensor

    @property
    def mean(self) -> Tensor:
        """Over the hidden positions of all rows. A scalar >= 0; 0 when nothing is hidden."""
        return self.sum_B.sum() / self.count_B.sum().clamp(min=1)

    def where(self, wanted_B: Tensor) -> HiddenErrors:
        """The same with nothing hidden in rows that are not wanted."""
        return HiddenErrors(self.sum_B.where(wanted_B, 0.0), self.count_B.where(wanted_B, 0))


def hidden_errors(prediction: Tensor, target: Tensor, mask: Tensor) -> HiddenErrors:
    """Squared errors over the hidden positions, row by row.

    Args:
        prediction, target: (B, T, E) tile tokens, or (B, E) expression embeddings.
        mask: True = hidden; (B, T) hides whole tokens (the error is meaned over E first), (B, E) single coordinates.
    """
    error = F.mse_loss(prediction, target, reduction="none")
    if error.ndim > mask.ndim:
        error = error.mean(dim=-1)
    return HiddenErrors(error.where(mask, 0.0).sum(dim=1), mask.sum(dim=1))


def retention_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The mean over the hidden positions of `hidden_errors`. A scalar >= 0; 0 when nothing is hidden."""
    return hidden_errors(prediction, target, mask).mean
