"""Discrete-time survival (METHOD section 7). Legend: B patients, C intervals.

The hazard of interval k, given survival up to it, is `h_k = sigmoid(logits_k)`. Both logarithms, of `h` and of
`1 - h`, are log-sigmoids of the logit and of its opposite: exact where `log(sigmoid(x))` would be minus infinity.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def survival_nll(logits_BC: Tensor, interval_B: Tensor, event_B: Tensor, *, alpha: float = 0.0) -> Tensor:
    """Negative log-likelihood of each patient, (B,), >= 0; not reduced.

    Args:
        logits_BC: of the hazards.
        interval_B: int64 in [0, C), the interval of the event or of the last sight.
        event_B: True (or 1) when the event happened, False (or 0) when the patient was censored.
        alpha: in [0, 1], blends towards the part of the patients with an event:
            `(1 - alpha) * nll + alpha * (nll where the event happened, else 0)`.
    """
    log_stay_BC = F.logsigmoid(-logits_BC)
    at_B1 = interval_B.unsqueeze(1)
    earlier_BC = torch.arange(logits_BC.shape[1], device=logits_BC.device) < at_B1
    before_B = log_stay_BC.where(earlier_BC, 0.0).sum(dim=1)
    hazard_B = F.logsigmoid(logits_BC.gather(1, at_B1).squeeze(1))
    stay_B = log_stay_BC.gather(1, at_B1).squeeze(1)
    happened_B = event_B.bool()
    nll_B = -(before_B + torch.where(happened_B, hazard_B, stay_B))
    return torch.where(happened_B, nll_B, (1 - alpha) * nll_B)


def survival_loss(logits_BC: Tensor, interval_B: Tensor, event_B: Tensor, *, alpha: float = 0.0) -> Tensor:
    """Mean over patients of `survival_nll`. A scalar."""
    return survival_nll(logits_BC, interval_B, event_B, alpha=alpha).mean()


def risk(logits_BC: Tensor) -> Tensor:
    """Minus the sum over intervals of the survival function, (B,), in [-C, 0]; larger means an earlier event."""
    return -F.logsigmoid(-logits_BC).cumsum(dim=1).exp().sum(dim=1)
