"""A part of the slides for each of many workers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from mirror.errors import ConfigError

T = TypeVar("T")


class Shard(NamedTuple):
    """The part `number` of `parts`, counted from 1."""

    number: int
    parts: int

    def of(self, slides: Sequence[T]) -> list[T]:
        """Every `parts`-th slide from the `number`-th on: the parts are disjoint, and together they are all."""
        return list(slides[self.number - 1 :: self.parts])


def parse_shard(text: str) -> Shard:
    """`2/8` as the second of eight parts. Raises `ConfigError` for anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(f"'{text}' is no part of a whole; write --shard 1/8 ... --shard 8/8")
    return Shard(int(match[1]), int(match[2]))


def shard_of_array(environment: Mapping[str, str]) -> Shard | None:
    """The part that falls to a task of a Slurm job array, None outside one.

    Raises `ConfigError` when the array's numbers leave gaps, so that parts would be done by nobody.
    """
    if "SLURM_ARRAY_TASK_ID" not in environment or "SLURM_ARRAY_TASK_COUNT" not in environment:
        return None
    task, count = int(environment["SLURM_ARRAY_TASK_ID"]), int(environment["SLURM_ARRAY_TASK_COUNT"])
    step = max(1, int(environment.get("SLURM_ARRAY_TASK_STEP", "1")))
    first = int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
    last = int(environment.get("SLURM_ARRAY_TASK_MAX", str(first + step * (count - 1))))
    steps, beside = divmod(task - first, step)
    # The last number says it to every task, so that none of them works while others are refused.
    if beside or not 0 <= steps < count or last != first + step * (count - 1):
        raise ConfigError(
            f"the Slurm array has gaps (task {task}, {count} tasks from {first} to {last}); number it 0-{count - 1}, "
            "or give --shard"
        )
    return Shard(steps + 1, count)
