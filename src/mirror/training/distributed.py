"""One run on several devices: the processes that torchrun starts compute together what one process would.

Every rank encodes its rows of the batch; what the terms need of a row is gathered, so that each rank computes the terms
of the *joint* batch: negatives, balanced assignments and means are those of one process. `DistributedDataParallel`
takes the mean of the ranks' gradients, so whatever is gathered hands its own rows' gradient back `world` times.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mirror.training.rows import Rows, map_rows
from mirror.types import Share

_PATIENCE = timedelta(hours=24)
"""How long ranks wait for each other: the first one builds the cohort alone, which reads every feature file."""


class Ranks:
    """The processes of one run, as one of them sees them; `Ranks()` is a process alone."""

    def __init__(self, share: Share = Share()) -> None:  # noqa: B008 - immutable
        self.share = share

    @property
    def first(self) -> bool:
        """True in the one process that writes files and speaks."""
        return self.share.rank == 0

    def wait(self) -> None:
        """Go on when every rank has come here."""
        if self.share.world > 1:
            dist.all_reduce(torch.zeros(()))  # on the CPU, whatever device the run has

    @contextmanager
    def first_goes_ahead(self) -> Generator[None]:
        """The first rank runs the block, then the others do, who find what it left."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model to call in training: weights and buffers become the first rank's, its gradients the mean."""
        return model if self.share.world == 1 else DistributedDataParallel(model)

    def joint(self, batch: int) -> Joint:
        """The view on a batch of that many rows in all."""
        return Joint(self.share, batch)


class Joint:
    """A batch of which this rank computes some rows: what all ranks know of theirs, gradient included."""

    def __init__(self, share: Share, batch: int) -> None:
        self._share = share
        self._sizes = [len(Share(rank, share.world).rows(batch)) for rank in range(share.world)]
        self.computed = share.computed(batch)

    def every(self, rows: Rows) -> Rows:
        """The rows of the whole batch from those that each rank computed; scalars stay what they are here."""
        return map_rows(lambda parts: self._gathered(parts[0]), rows)

    def _gathered(self, rows_B: Tensor) -> Tensor:
        if self._share.world == 1 or rows_B.ndim == 0:
            return rows_B
        if rows_B.dtype == torch.bool:
            return self._gathered(rows_B.byte()).bool()
        # A rank without rows of its own computed one all the same, which does not count.
        own_B = rows_B[: self._sizes[self._share.rank]]
        gathered: Tensor = _Gather.apply(own_B, self._sizes, self._share.rank)  # pyright: ignore
        return gathered


class _Gather(torch.autograd.Function):
    """Rows of every rank, one after another. Backward: the gradient of the own ones, `world` times."""

    @staticmethod
    def forward(ctx: Any, rows_B: Tensor, sizes: list[int], rank: int) -> Tensor:
        padded = rows_B.new_zeros(max(sizes), *rows_B.shape[1:])  # collectives want equal sizes
        padded[: sizes[rank]] = rows_B
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        ctx.own, ctx.world = slice(sum(sizes[:rank]), sum(sizes[: rank + 1])), len(sizes)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.own] * ctx.world, None, None


def started_by_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """True in one of several processes that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in environment and int(environment.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined_ranks(environment: Mapping[str, str] = os.environ) -> Generator[Ranks]:
    """The ranks that torchrun started, this process with its own GPU where there are GPUs; alone without torchrun."""
    if not started_by_torchrun(environment):
        yield Ranks()
        return
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(environment["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=_PATIENCE)
    try:
        yield Ranks(Share(dist.get_rank(), dist.get_world_size()))
    finally:
        dist.destroy_process_group()
