"""What all files of a fetch share: so many bytes a second, so many bytes on the disk."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

from mirror.errors import MirrorError


class DiskFull(MirrorError):
    """There is no room for what comes next; what is there stays, and the same command goes on."""


class Bandwidth:
    """Holds back whoever is ahead of `rate` bytes a second, all threads together; None lets everybody pass."""

    def __init__(self, rate: float | None, stop: threading.Event) -> None:
        self._rate, self._stop = rate, stop
        self._lock, self._next = threading.Lock(), 0.0

    def take(self, count: int) -> None:
        """Return when `count` more bytes are within the rate."""
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            begin = max(self._next, now)
            self._next = begin + count / self._rate
        self._stop.wait(max(0.0, self._next - now))


class Disk:
    """The bytes that a folder may have in all; `limit` None leaves it to what the disk has free."""

    def __init__(self, folder: Path, limit: int | None) -> None:
        self._folder, self._limit = folder, limit
        self._lock = threading.Lock()
        self._used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def require(self, count: int) -> None:
        """Raise `DiskFull` when `count` more bytes would not fit, before any of them is fetched."""
        free = shutil.disk_usage(self._folder).free
        if count > free:
            raise DiskFull(
                f"{size(count)} are to be fetched, {self._folder} has {size(free)} free; make room, fetch fewer "
                "`--parts`, or choose another --output"
            )
        if self._limit is not None and self._used + count > self._limit:
            raise DiskFull(
                f"{size(count)} are to be fetched to the {size(self._used)} in {self._folder}, which is more than the "
                f"budget of {size(self._limit)}; raise `transfer.disk` (--disk), or fetch fewer `--parts`"
            )

    def take(self, count: int) -> None:
        """Account for `count` bytes about to be written. Raises `DiskFull` when they are beyond the budget."""
        with self._lock:
            if self._limit is not None and self._used + count > self._limit:
                raise DiskFull(
                    f"the budget of {size(self._limit)} for {self._folder} is used up; raise `transfer.disk` (--disk) "
                    "and give the same command again"
                )
            self._used += count

    def give_back(self, count: int) -> None:
        """Account for `count` bytes that were removed."""
        with self._lock:
            self._used -= count


def size(count: float) -> str:
    """Bytes as people say them: `1.3 GB` (of a thousand million)."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"
