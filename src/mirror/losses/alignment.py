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


def patient_alignment_loss(logits_BB: Tensor, patient_B: Tensor, pair_B: Tensor) -> Tensor:
    """As `alignment_loss` of the pairs, but other slides of a row's own patient are no negatives. A scalar >= 0.

    Args:
        logits_BB: slides in rows, expression in columns, pairs on the diagonal; finite.
        patient_B: a number for each row's patient.
        pair_B: True = both modalities are there; the other rows have no part. Zero pairs give 0.
    """
    same_BB = patient_B.unsqueeze(0) == patient_B.unsqueeze(1)
    apart_BB = same_BB | ~(pair_B.unsqueeze(0) & pair_B.unsqueeze(1))
    apart_BB = apart_BB & ~torch.eye(len(patient_B), dtype=torch.bool, device=patient_B.device)
    # A row that is no pair is left alone with itself, which costs nothing and has no gradient. To take it out instead,
    # the host would have to know how many pairs there are, and wait for the device.
    loss = alignment_loss(logits_BB.masked_fill(apart_BB, float("-inf")))
    return loss * len(pair_B) / pair_B.sum().clamp(min=1)
