"""Memory of a process and of the machine, bytes."""

from __future__ import annotations

import resource
from pathlib import Path

import torch


def resident_peak(device: torch.device) -> int:
    """The most that this process has held so far; of a GPU what torch has allocated there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def available_bytes() -> int:
    """What the machine has free."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
