"""Prior of the style code and agreement of the modalities' prototypes (METHOD section 5).

Legend: B pairs, Z style latent width, K prototypes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def prior_divergence(mean_BZ: Tensor, log_variance_BZ: Tensor) -> Tensor:
    """Divergence of a diagonal normal from the standard one: batch mean of `sum_k(var + mean^2 - 1 - log var) / 2`.

    A scalar >= 0, 0 at the prior itself. The published style term is the sum of it over the two modalities.
    """
    return (log_variance_BZ.exp() + mean_BZ**2 - 1 - log_variance_BZ).sum(dim=1).mean() / 2


def cluster_divergence(scores_BK: Tensor, other_BK: Tensor) -> Tensor:
    """`(KL(p || q) + KL(q || p)) / 2` of the softmaxes of both scores, batch mean. A scalar >= 0, symmetric."""
    log_p, log_q = F.log_softmax(scores_BK, dim=1), F.log_softmax(other_BK, dim=1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=1).mean() / 2
