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


def patient_alignment_loss(logits_BB: Tensor, patient_B: Tensor) -> Tensor:
    """As `alignment_loss`, but other slides of a row's own patient are left out of its negatives. A scalar >= 0.

    Args:
        logits_BB: slides in rows, expression in columns, pairs on the diagonal.
        patient_B: a number for each pair's patient. Zero pairs give 0.
    """
    if not len(patient_B):
        return logits_BB.sum()
    same_BB = patient_B.unsqueeze(0) == patient_B.unsqueeze(1)
    other_BB = same_BB & ~torch.eye(len(patient_B), dtype=torch.bool, device=patient_B.device)
    return alignment_loss(logits_BB.masked_fill(other_BB, float("-inf")))
