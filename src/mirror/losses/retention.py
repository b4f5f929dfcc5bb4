"""Reconstruction of hidden positions (METHOD section 4)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def retention_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the hidden positions. A scalar >= 0; 0 when nothing is hidden.

    Args:
        prediction, target: (B, T, E) tile tokens, or (B, E) expression embeddings.
        mask: True = hidden; (B, T) hides whole tokens (the error is meaned over E first), (B, E) single coordinates.
    """
    error = F.mse_loss(prediction, target, reduction="none")
    if error.ndim > mask.ndim:
        error = error.mean(dim=-1)
    return error.where(mask, 0.0).sum() / mask.sum().clamp(min=1)
