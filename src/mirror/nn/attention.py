"""Attention over the tokens of a slide: Nystrom or exact, on the same parameters (METHOD section 1).

Legend: B slides, H heads, N tokens, M landmarks, C width of one head, E = H * C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mirror.errors import ConfigError
from mirror.nn.batch_maximum import batch_maximum

AUTO_TOKENS = 4096
"""`auto` is exact up to this many tokens and Nystrom above.

On a CPU at width 768 their costs cross at some 2,900; at 4,096 exact takes 1.24 times as long in three quarters of the
memory, and is what the other approximates (docs/scale.md).
"""

CONV_KERNEL = 33
PINV_STEPS = 6
_ROWS = 512
"""Rows of an attention matrix that `reach` holds at a time."""


@dataclass(frozen=True, slots=True)
class AttentionForm:
    """How slide tokens attend; every form has the same parameters, so weights move between forms.

    Attributes:
        heads: number of heads; divides the width.
        landmarks: at most this many landmarks (Nystrom only).
        kind: `nystrom` (published), `exact`, or `auto` by the number of tokens (`AUTO_TOKENS`).
        pinv_scaling: start of the pseudo-inverse from maxima over the `batch` and all heads (published: a slide's
            output depends slightly on its company), or over each `slide` and head by itself.
        mask_padding: False (published): zero rows in front fill up the last run and take part. True: there are none,
            and the first run is shorter instead.
        dropout: after the output projection.
    """

    heads: int
    landmarks: int
    kind: Literal["nystrom", "exact", "auto"] = "nystrom"
    pinv_scaling: Literal["batch", "slide"] = "batch"
    mask_padding: bool = False
    dropout: float = 0.1


class Heads(NamedTuple):
    """Queries, keys and values of every head (B, H, padding + N, C); the first `padding` rows are zero."""

    q_BHNC: Tensor
    k_BHNC: Tensor
    v_BHNC: Tensor
    padding: int


class TokenAttention(nn.Module):
    """Self-attention over (B, N, E) tokens plus a depthwise convolution of the values over the sequence.

    Raises `ConfigError` when the heads do not divide the width.
    """

    def __init__(self, width: int, form: AttentionForm) -> None:
        super().__init__()
        if width % form.heads:
            raise ConfigError(f"width {width} is not a multiple of {form.heads} slide heads; change either")
        self.form = form
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.value_conv = nn.Conv2d(form.heads, form.heads, (CONV_KERNEL, 1), groups=form.heads, bias=False)
        self.project = nn.Linear(width, width)
        self.dropout = nn.Dropout(form.dropout)

    def forward(self, tokens_BNE: Tensor) -> Tensor:
        """(B, N, E) to the same shape."""
        q_BHNC, k_BHNC, v_BHNC, padding = self.heads(tokens_BNE)
        if self._is_exact(tokens_BNE.shape[1]):
            mixed_BHNC = F.scaled_dot_product_attention(q_BHNC, k_BHNC, v_BHNC)
        else:
            mixed_BHNC = nystrom_attention(q_BHNC, k_BHNC, v_BHNC, form=self.form, padding=padding)
        # The rows in front are zero in v as well: without them the convolution sees its own zero padding instead.
        mixed_BNE = mixed_BHNC.transpose(1, 2).flatten(2) + self._convolve(v_BHNC[:, :, padding:])
        return self.dropout(self.project(mixed_BNE))

    def heads(self, tokens_BNE: Tensor) -> Heads:
        """What `forward` makes of the tokens first."""
        padding = self._front_padding(tokens_BNE.shape[1])
        qkv = self.qkv(F.pad(tokens_BNE, (0, 0, padding, 0)) if padding else tokens_BNE)
        q_BHNC, k_BHNC, v_BHNC = qkv.unflatten(2, (3, self.form.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return Heads(q_BHNC, k_BHNC, v_BHNC, padding)

    def reach(self, tokens_BNE: Tensor, weights_BN: Tensor) -> Tensor:
        """How much of each token arrives where `weights_BN` says: `weights @ A` of every head, (B, H, N).

        A is the attention matrix that `forward` applies to the values, or the product that stands for it; it is never
        formed: a one-hot weight gives one row of it, in memory that grows with N alone. What falls to padding is left
        out. Rows of the exact matrix sum to one; those of the product nearly, with entries that may be negative.
        """
        q_BHNC, k_BHNC, _, padding = self.heads(tokens_BNE)
        own_BHNC = q_BHNC[:, :, padding:]
        if self._is_exact(tokens_BNE.shape[1]):
            return _weighed_rows(own_BHNC, k_BHNC, weights_BN.unsqueeze(1))
        run = -(-q_BHNC.shape[2] // self.form.landmarks)
        q_BHMC, k_BHMC = run_means(q_BHNC, run), run_means(k_BHNC, run)
        scores_BHMM = q_BHMC @ k_BHMC.mT * q_BHMC.shape[-1] ** -0.5
        inverse_BHMM = iterative_pinv(scores_BHMM.softmax(dim=-1), scaling=self.form.pinv_scaling)
        landmarks_BHM = _weighed_rows(own_BHNC, k_BHMC, weights_BN.unsqueeze(1))
        landmarks_BHM = (landmarks_BHM.unsqueeze(2) @ inverse_BHMM).squeeze(2)
        return _weighed_rows(q_BHMC, k_BHNC, landmarks_BHM)[:, :, padding:]

    def _is_exact(self, tokens: int) -> bool:
        return self.form.kind == "exact" or (self.form.kind == "auto" and tokens <= AUTO_TOKENS)

    def _front_padding(self, tokens: int) -> int:
        if self.form.mask_padding or self._is_exact(tokens):
            return 0
        return -tokens % self.form.landmarks

    def _convolve(self, v_BHNC: Tensor) -> Tensor:
        """One filter a head along the sequence, to (B, N, E).

        The filter is repeated for each channel of its head: depthwise over E channels-last channels runs three times
        as fast as H groups over a (N, C) image.
        """
        channels_BEN1 = v_BHNC.transpose(1, 2).flatten(2).transpose(1, 2).unsqueeze(3)
        filter_E = self.value_conv.weight.repeat_interleave(v_BHNC.shape[3], dim=0)
        out = F.conv2d(channels_BEN1, filter_E, padding=(CONV_KERNEL // 2, 0), groups=filter_E.shape[0])
        return out.squeeze(3).transpose(1, 2)


def _weighed_rows(q_BHRC: Tensor, k_BHNC: Tensor, weights_BHR: Tensor) -> Tensor:
    """`weights @ softmax(q k)`, (B, H, N), a block of its rows at a time; blocks without weight are left out."""
    total = torch.zeros_like(k_BHNC[..., 0])
    for start in range(0, q_BHRC.shape[2], _ROWS):
        weights = weights_BHR[:, :, start : start + _ROWS]
        used = weights.reshape(-1, weights.shape[2]).any(dim=0).nonzero().squeeze(1)
        if len(used):
            scores = q_BHRC[:, :, start + used] @ k_BHNC.mT * q_BHRC.shape[-1] ** -0.5
            total = total + (weights[:, :, used].unsqueeze(2) @ scores.softmax(dim=-1)).squeeze(2)
    return total


def nystrom_attention(
    q_BHNC: Tensor, k_BHNC: Tensor, v_BHNC: Tensor, *, form: AttentionForm, padding: int = 0
) -> Tensor:
    """`F pinv(A) (C v)` for the queries after the first `padding` (METHOD section 1), (B, H, N - padding, C).

    Nothing of size N x M is kept: both large softmaxes run inside the fused kernel, and the products are taken from
    the right. The pseudo-inverse is computed in float32 at least, whatever the precision around it.
    """
    wide = torch.promote_types(q_BHNC.dtype, torch.float32)
    run = -(-q_BHNC.shape[2] // form.landmarks)
    q_BHMC, k_BHMC = run_means(q_BHNC, run), run_means(k_BHNC, run)
    with torch.autocast(q_BHNC.device.type, enabled=False):
        scores_BHMM = q_BHMC.to(wide) @ k_BHMC.to(wide).mT * q_BHMC.shape[-1] ** -0.5
        gathered_BHMC = F.scaled_dot_product_attention(q_BHMC, k_BHNC, v_BHNC)
        inverse_BHMM = iterative_pinv(scores_BHMM.softmax(dim=-1), scaling=form.pinv_scaling)
        weighed_BHMC = inverse_BHMM @ gathered_BHMC.to(wide)
    return F.scaled_dot_product_attention(q_BHNC[:, :, padding:], k_BHMC, weighed_BHMC.to(q_BHNC.dtype))


def run_means(x_BHNC: Tensor, run: int) -> Tensor:
    """Means of consecutive runs of `run` rows, counted from the end: only the first run may be shorter."""
    first = x_BHNC.shape[2] % run
    means = x_BHNC[:, :, first:].unflatten(2, (-1, run)).mean(dim=3)
    if first == 0:
        return means
    return torch.cat([x_BHNC[:, :, :first].mean(dim=2, keepdim=True), means], dim=2)


def iterative_pinv(a_BHMM: Tensor, *, scaling: Literal["batch", "slide"]) -> Tensor:
    """Six steps towards the Moore-Penrose inverse of matrices with non-negative entries (METHOD section 1).

    The start is the transpose over (largest row sum x largest column sum); `scaling` says whether the largest are
    sought over the whole batch and all heads, or within each matrix.
    """
    dims = (0, 1, 2) if scaling == "batch" else (2,)
    rows = a_BHMM.sum(dim=3).amax(dim=dims, keepdim=True)
    columns = a_BHMM.sum(dim=2).amax(dim=dims, keepdim=True)
    if scaling == "batch":
        rows, columns = batch_maximum(rows), batch_maximum(columns)
    z = a_BHMM.mT / (rows * columns).unsqueeze(3)
    for _ in range(PINV_STEPS):
        az = a_BHMM @ z
        inner = 7 * az - az @ az
        inner = 15 * az - az @ inner
        z = (13 * z - z @ inner) / 4
    return z
