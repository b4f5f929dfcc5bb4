"""Contrastive alignment of slides and expression (METHOD section 3). Legend: B pairs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def alignment_loss(logits_BB: Tensor) -> Tensor:
    """Mean of the two cross-entropies, along rows and along columns, against the diagonal. A scalar >= 0.

    Equal logits everywhere give log B.
    """
    own_B = torch.arange(logits_BB.shape[0], device=logits_BB.device)
    return (F.cross_entropy(logits_BB, own_B) + F.cross_entropy(logits_BB.mT, own_B)) / 2
