"""Pieces that several networks share. Legend: B pairs, N tokens, E width."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Mlp(nn.Module):
    """`Linear -> GELU -> [LayerNorm] -> Linear`, with dropout after the activation and at the end.

    Args:
        width, hidden, out: sizes of input, middle and output.
        dropout: probability of both dropouts.
        norm_eps: epsilon of a LayerNorm over the middle; none when `None`.
    """

    def __init__(
        self, width: int, hidden: int, out: int, *, dropout: float = 0.0, norm_eps: float | None = None
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.norm = None if norm_eps is None else nn.LayerNorm(hidden, eps=norm_eps)
        self.fc2 = nn.Linear(hidden, out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        middle = self.dropout(F.gelu(self.fc1(x)))
        return self.dropout(self.fc2(middle if self.norm is None else self.norm(middle)))


class PreNormResidual(nn.Module):
    """`x + inner(LayerNorm(x))`.

    With `recompute` nothing of the inside is kept for the backward pass, which runs it again from `x`, with the same
    dropout: the same gradients for the memory of one layer instead of all (Chen et al., 2016).
    """

    def __init__(self, width: int, inner: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = inner
        self.recompute = False

    def forward(self, x: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self._residual, x, use_reentrant=False)
        return self._residual(x)

    def _residual(self, x: Tensor) -> Tensor:
        return x + self.inner(self.norm(x))


def recompute_residuals(model: nn.Module, wanted: bool) -> None:
    """Let every residual layer of `model` keep its inside for the backward pass, or run it again."""
    for module in model.modules():
        if isinstance(module, PreNormResidual):
            module.recompute = wanted


class GridConvolution(nn.Module):
    """PPEG: tokens laid out as a square, `y + dw7x7(y) + dw5x5(y) + dw3x3(y)`, depthwise and biased (METHOD section 1).

    Convolution is linear in its kernel, so the three kernels are summed about their common centre and run as one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv7 = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.conv5 = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, tokens_BNE: Tensor, side: int) -> Tensor:
        """(B, side * side, E) to the same shape."""
        weight = self.conv7.weight + F.pad(self.conv5.weight, (1,) * 4) + F.pad(self.conv3.weight, (2,) * 4)
        convs = (self.conv7, self.conv5, self.conv3)
        bias = torch.stack([conv.bias for conv in convs if conv.bias is not None]).sum(dim=0)
        # Transposing makes a channels-last image without a copy; the result is flattened back the same way.
        image = tokens_BNE.transpose(1, 2).unflatten(2, (side, side))
        mixed = F.conv2d(image, weight, bias, padding=3, groups=weight.shape[0])
        return tokens_BNE + mixed.flatten(2).transpose(1, 2)
