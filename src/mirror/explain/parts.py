"""What a head's output owes to what the modalities share, and to what only one of them says.

The fused view of a canonical model is, up to a rotation, shared, slide's own, expression's own and tail columns side by
side (`CanonicalMirror.fused`). So the output of a head on it is a sum of four parts, one of each, in one way only:
`f = constant + f_shared + f_slide + f_expression + f_tail`. The share of a part is `cov(f_part, f) / var(f)` over
patients: shares add up to 1, each variance is counted once, what two parts have in common is split between them, and a
part that works against the others has a negative share. For the representation itself, without any head, the share is
the part's variance over that of all columns.

Legend: N patients, F columns of the fused view.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mirror.evaluation.metrics import Floats
from mirror.nn.canonical import CanonicalMirror

PARTS = ("shared", "slide", "expression", "tail")
"""`expression` is along the canonical directions; `tail` what expression varies by beyond them, its own too."""


class PartShares(NamedTuple):
    """Share of each of `PARTS`; they add up to 1. `patients` is how many they are over."""

    of: str
    shares: dict[str, float]
    patients: int


def has_parts(model: object) -> bool:
    """Whether a model tells the parts apart: a canonical one that gives its private parts any weight."""
    return isinstance(model, CanonicalMirror) and model.sizes.private > 0


def part_columns(model: CanonicalMirror, fused_NF: Floats) -> dict[str, Floats]:
    """The columns of each part before the readout, centred as the readout centres them, from fused views (N, F)."""
    rotation = model.fused_readout.rotation.double().cpu().numpy()
    columns = fused_NF @ rotation.T  # rows of the rotation are orthonormal, so this undoes it
    k, tail = model.sizes.components, model.sizes.tail
    edges = np.cumsum([0, k, k, k, tail])
    return {name: columns[:, start:end] for name, start, end in zip(PARTS, edges[:-1], edges[1:], strict=True)}


def head_shares(name: str, model: CanonicalMirror, weights_F: Floats, fused_NF: Floats) -> PartShares:
    """Shares of the output of a head with `weights` (F,) on the fused view, over patients with views (N, F)."""
    rotated = model.fused_readout.rotation.double().cpu().numpy() @ weights_F
    columns = part_columns(model, fused_NF)
    edges = np.cumsum([0, *(part.shape[1] for part in columns.values())])
    outputs = np.stack(
        [part @ rotated[start:end] for part, start, end in zip(columns.values(), edges[:-1], edges[1:], strict=True)]
    )
    centred = outputs - outputs.mean(axis=1, keepdims=True)
    total = centred.sum(axis=0)
    variance = float(total @ total)
    shares = centred @ total / variance if variance > 0 else np.full(len(PARTS), np.nan)
    return PartShares(name, dict(zip(PARTS, map(float, shares), strict=True)), len(fused_NF))


def variance_shares(model: CanonicalMirror, fused_NF: Floats) -> PartShares:
    """Shares of the variance of the fused view, over patients with views (N, F)."""
    variances = {name: float(part.var(axis=0).sum()) for name, part in part_columns(model, fused_NF).items()}
    total = sum(variances.values())
    return PartShares("representation", {name: value / total for name, value in variances.items()}, len(fused_NF))
