"""Where the numbers are computed, and in what precision."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

from mirror.errors import ConfigError


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """`auto` takes the GPU where there is one. Raises `ConfigError` when a GPU is asked for and none is there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("`device: cuda` was asked for, but torch sees no GPU; use `device: auto` or `cpu`")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def autocast(device: torch.device, precision: Literal["auto", "fp32", "bf16"]) -> AbstractContextManager[object]:
    """bf16 where asked for, or with `auto` on GPUs that compute in it; fp32 elsewhere."""
    able = device.type == "cuda" and torch.cuda.is_bf16_supported()
    wanted = precision == "bf16" or (precision == "auto" and able)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)
