"""Rows stored in a random order, mapped: a sample is a few contiguous blocks, and no other byte is read.

Legend: T tiles, D feature width.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK_BYTES = 64 << 10
"""Large against the pages (4 KiB) that a block's ends waste, small enough that a sample has many blocks."""

_ADVISED_BYTES = 128 << 10
"""Linux cuts what one call asks for to the device's read-ahead, of which this is the usual size."""

_LEAST_BLOCKS = 64
"""Of a small file, whose samples would else be put together from a few lots only."""


def draw_blocks(available: int, wanted: int, *, block: int, generator: torch.Generator) -> NDArray[np.intp]:
    """Rows of `wanted` <= `available` tiles, without repeats and in random order, from blocks of `block` rows.

    The blocks are cut afresh each time from a random row on, around the end, so that every row is drawn with the same
    probability. Rows of one block come together; a file in random order makes them a random lot, and which lots make
    up a sample is drawn without replacement. Samples are uniform; two samples of one file are a little less varied
    than if each row were drawn by itself.
    """
    first = int(torch.randint(available, (1,), generator=generator))
    starts = block * torch.randperm(-(-available // block), generator=generator).numpy().astype(np.intp)
    places = (starts[: -(-wanted // block) + 1, None] + np.arange(block)).ravel()
    rows = (places[places < available][:wanted] + first) % available
    return rows[torch.randperm(wanted, generator=generator).numpy()]


class MappedRows:
    """Features (T, D) that lie in one piece in a file, in random order. No byte is read until `take` asks for it.

    `block` is how many neighbouring rows a sample is best made of.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, int], *, offset: int) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        count = shape[0] * shape[1]
        self._rows_TD = np.frombuffer(self._map, dtype, count, offset).reshape(shape)
        self._offset, self._row_bytes, self.shape = offset, shape[1] * dtype.itemsize, shape
        self.block = max(1, min(BLOCK_BYTES // self._row_bytes, shape[0] // _LEAST_BLOCKS))
        # Without this the kernel reads 128 KiB around every page that is touched.
        self._map.madvise(mmap.MADV_RANDOM)

    def take(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """The `rows` in the order asked for. Whole runs of neighbours are asked of the disk in one piece each."""
        if not len(rows):
            return self._rows_TD[rows]
        wanted = np.unique(rows)
        runs = np.flatnonzero(np.diff(wanted, prepend=-2) > 1)
        ends = np.append(runs[1:], len(wanted)) - 1
        for start, end in zip(wanted[runs].tolist(), wanted[ends].tolist(), strict=True):
            first = self._offset + start * self._row_bytes
            stop = self._offset + (end + 1) * self._row_bytes
            for piece in range(first - first % mmap.PAGESIZE, stop, _ADVISED_BYTES):
                self._map.madvise(mmap.MADV_WILLNEED, piece, min(_ADVISED_BYTES, stop - piece))
        return self._rows_TD[rows]
