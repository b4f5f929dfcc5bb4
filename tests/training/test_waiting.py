"""The host prepares the next steps while a device computes: no step asks for a number that is still being computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import joint_steps
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mirror.training.distributed import Ranks
from mirror.training.loop import Schedule, train_epoch
from mirror.types import PairedBatch, Share

ATEN = torch.ops.aten
NUMBERS = {ATEN._local_scalar_dense, ATEN.nonzero, ATEN.masked_select, ATEN.equal, ATEN.repeat_interleave}
"""Operations whose result, or its size, is read on the host."""


class Waits(TorchDispatchMode):
    """Counts the operations for which the host would wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        indices = args[1] if func.overloadpacket in (ATEN.index, ATEN.index_put, ATEN.index_put_) else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        self.count += func.overloadpacket in NUMBERS or by_mask
        return func(*args, **kwargs or {})


class Same:
    """An epoch of some batches."""

    def __init__(self, batches: int, *, lone: bool) -> None:
        self._batches = [joint_steps.batch_of(7, Share(), lone=lone)] * batches

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, number: int) -> Iterable[PairedBatch]:
        del number
        return self._batches


@pytest.mark.parametrize("preset", joint_steps.PRESETS)
@pytest.mark.parametrize("rows_at_once", [None, 3])
def test_the_host_waits_once_an_epoch_for_each_term_and_never_for_a_step(preset: str, rows_at_once: int | None) -> None:
    task = joint_steps.task_of(preset, Ranks(), dropout=0.1, rows_at_once=rows_at_once)
    optimiser = torch.optim.AdamW(task.model.parameters(), lr=1e-4, fused=True)
    schedule = Schedule(epochs=1, seed=0, device=torch.device("cpu"), precision="fp32", checkpoint_seconds=0)
    waited: list[int] = []
    for batches in (1, 3):
        with Waits() as waits:
            terms = train_epoch(task, Same(batches, lone=preset != "published"), optimiser, 0, schedule)
        waited.append(waits.count)
        assert waits.count >= len(terms), "the means of the epoch are read at its end"
    assert waited[0] == waited[1]


def test_an_operation_that_waits_is_counted() -> None:
    x = torch.arange(4.0)
    with Waits() as waits:
        float(x.sum())
        x[x > 1]
        x[torch.tensor([0, 1])]
        x.nonzero()
    assert waits.count == 3
