"""What a batch's rows come to, computed a few at a time.

A contrastive batch wants many pairs, and the networks of many pairs do not fit in memory. What the objectives need of a
pair is little: two vectors, a few sums. So the rows are computed in parts, of each part just that is kept, and the
backward pass computes the part again with the same dropout: the gradients of the whole batch for the memory of a part
and the time of a third pass (cached gradients; Gao et al., 2021, in the form of checkpointing; Chen et al., 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Rows = TypeVar("Rows", bound=tuple[Any, ...])
"""A NamedTuple of tensors (b, ...) with a row each, of scalars that all rows share, and of other such tuples."""


class RowModel(nn.Module):
    """`rows_of(model, *inputs)` for `inputs` (b, ...), at most `at_once` rows of them together (None: all).

    Nothing in a row may depend on the others. The parts are joined in order; a scalar is the first part's.
    """

    def __init__(self, model: nn.Module, rows_of: Callable[..., Rows], *, at_once: int | None) -> None:
        super().__init__()
        self.model = model
        self._rows_of = rows_of
        self._at_once = at_once

    def forward(self, *inputs: Tensor) -> Any:
        count = len(inputs[0])
        if self._at_once is None or count <= self._at_once:
            return self._rows_of(self.model, *inputs)
        parts: list[Any] = []
        for start in range(0, count, self._at_once):
            part = [rows[start : start + self._at_once] for rows in inputs]
            parts.append(checkpoint(self._rows_of, self.model, *part, use_reentrant=False))
        return map_rows(_joined, *parts)


def map_rows(of: Callable[[Sequence[Tensor]], Tensor], *rows: Rows) -> Rows:
    """A tuple like each of `rows`, of what `of` makes of the tensors that stand at the same place in them."""
    made = (
        map_rows(of, *(cast("tuple[Any, ...]", part) for part in parts)) if isinstance(parts[0], tuple) else of(parts)
        for parts in zip(*rows, strict=True)
    )
    return type(rows[0])(*made)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if parts[0].ndim == 0 else torch.cat(list(parts))
