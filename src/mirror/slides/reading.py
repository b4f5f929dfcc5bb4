"""Tiles read ahead of the encoder, in threads. Legend: B tiles of a batch."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mirror.slides.scan import Scan, damaged

MOST_THREADS = 16
_BATCHES_AHEAD = 2


def reading_threads(wanted: int | None) -> int:
    """How many threads read: as wanted, else as many as this process may use CPUs."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return wanted or min(MOST_THREADS, usable)


class TileReader:
    """Iterates over a slide's tiles in batches (B, ...) of what `prepare` makes of a tile, RGB uint8 (px, px, 3).

    Threads and not processes: reading, resizing and torch's operators release the interpreter, an open slide may be
    read by several threads, and nothing has to be sent. `waited`: seconds that the taker has stood waiting.
    """

    def __init__(
        self, scan: Scan, prepare: Callable[[NDArray[np.uint8]], torch.Tensor], *, batch: int, threads: int
    ) -> None:
        self._scan = scan
        self._tiles = scan.ds.tile_images(tile_key="tiles")
        self._prepare = prepare
        self._batch, self._threads = batch, threads
        self.waited = 0.0

    def __len__(self) -> int:
        return len(self._tiles)

    def __iter__(self) -> Iterator[torch.Tensor]:
        _ = self._scan.reader.reader  # opened once, here, and not by each thread
        reading: deque[Future[torch.Tensor]] = deque()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="tiles")
        try:
            taken: list[torch.Tensor] = []
            upcoming = iter(range(len(self)))
            for _ in range(max(_BATCHES_AHEAD * self._batch, self._threads)):
                self._send(pool, upcoming, reading)
            while reading:
                begun = time.monotonic()
                taken.append(reading.popleft().result())
                self.waited += time.monotonic() - begun
                self._send(pool, upcoming, reading)
                if len(taken) == self._batch or not reading:
                    yield torch.stack(taken)
                    taken = []
        finally:
            pool.shutdown(cancel_futures=True)

    def _send(self, pool: ThreadPoolExecutor, upcoming: Iterator[int], reading: deque[Future[torch.Tensor]]) -> None:
        index = next(upcoming, None)
        if index is not None:
            reading.append(pool.submit(self._read, index))

    def _read(self, index: int) -> torch.Tensor:
        try:
            image: Any = self._tiles[index]["image"]
        except Exception as error:  # every reader fails in its own way
            x, y, *_ = self._scan.shapes["tiles"].geometry.iloc[index].bounds
            raise damaged(self._scan, error, x=int(x), y=int(y)) from error
        return self._prepare(image)
