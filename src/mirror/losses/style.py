"""Prior of the style code and agreement of the modalities' prototypes (METHOD section 5).

Legend: B pairs, Z style latent width, K (or P) prototypes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def prior_divergence(mean_BZ: Tensor, log_variance_BZ: Tensor) -> Tensor:
    """Divergence of a diagonal normal from the standard one: `sum_k(var + mean^2 - 1 - log var) / 2` of each row, (B,).

    >= 0, 0 at the prior itself. The published style term is the batch mean of its sum over the two modalities.
    """
    return (log_variance_BZ.exp() + mean_BZ**2 - 1 - log_variance_BZ).sum(dim=1) / 2


def cluster_divergence(scores_BK: Tensor, other_BK: Tensor) -> Tensor:
    """`(KL(p || q) + KL(q || p)) / 2` of the softmaxes of both scores, of each row, (B,). >= 0, symmetric.

    The published cluster term is its batch mean.
    """
    log_p, log_q = F.log_softmax(scores_BK, dim=1), F.log_softmax(other_BK, dim=1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=1) / 2


@torch.no_grad()
def balanced_assignment(scores_BP: Tensor, there_B: Tensor, *, rounds: int = 3) -> Tensor:
    """Soft assignment of rows to prototypes that uses all prototypes equally (Sinkhorn-Knopp; Caron et al., 2020).

    Rows that are there sum to one, others are zero; columns sum to about their number / P, closer with every round. No
    gradient. (B, P) to (B, P).
    """
    scores_BP = scores_BP.float().masked_fill(~there_B.unsqueeze(1), float("-inf"))
    # The largest is -inf where nobody is there, and its difference to itself not a number.
    q_BP = (scores_BP - scores_BP.max()).exp().where(there_B.unsqueeze(1), 0.0)
    for _ in range(rounds):
        q_BP = q_BP / q_BP.sum(dim=0, keepdim=True).clamp(min=1e-12)
        q_BP = q_BP / q_BP.sum(dim=1, keepdim=True).clamp(min=1e-12)
    return q_BP


def balanced_agreement(
    slide_BP: Tensor, expression_BP: Tensor, *, has_slide_B: Tensor, has_expression_B: Tensor
) -> Tensor:
    """Cross-entropy of either modality's prototypes against the balanced assignment of the other. A scalar >= 0.

    Of pairs each modality predicts the other's assignment; where one is missing, the other predicts that of its own.
    The mean over the modalities that anyone has. No term has a minimum where all rows share one prototype, because
    assignments are balanced.
    """
    scores, there = (slide_BP, expression_BP), (has_slide_B, has_expression_B)
    pair_B1 = (has_slide_B & has_expression_B).unsqueeze(1)
    assigned = [balanced_assignment(score_BP, has_B) for score_BP, has_B in zip(scores, there, strict=True)]
    terms: list[Tensor] = []
    for score_BP, has_B, own_BP, other_BP in zip(scores, there, assigned, reversed(assigned), strict=True):
        # Targets of absent rows are zero, so these are no part of the sum.
        target_BP = torch.where(pair_B1, other_BP, own_BP)
        terms.append(-(target_BP * F.log_softmax(score_BP.float(), dim=1)).sum() / has_B.sum().clamp(min=1))
    anyone = torch.stack([has_B.any() for has_B in there])
    return torch.stack(terms).sum() / anyone.sum().clamp(min=1)
