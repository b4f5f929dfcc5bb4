"""Named random streams: the same seed and names give the same numbers in any process, order or worker."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def stream_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called `names` (for example `"tiles", slide, epoch`) under `seed`."""
    text = "\x1f".join(str(part) for part in (seed, *names))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_for(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator for a named stream."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, *names))


def rng_for(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator for a named stream."""
    return np.random.default_rng(stream_seed(seed, *names))
