"""Who works on which slide, among any number of processes on any number of machines.

A claim is a lock of the operating system on one byte of a common file, a byte a slide. The system gives it back when a
process ends, however it ends: there is no stale lock to detect and nothing to clear up. Network file systems pass these
locks on (NFS does; Lustre when mounted with `flock`). Where a file system has none, work may be done twice but files
stay whole, because they are written aside and renamed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mirror.errors import MirrorError
from mirror.seeding import stream_seed


class Claims:
    """Claims on slides of one output folder. One object a process: a system's lock knows processes, not objects.

    Raises `MirrorError` when the folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise MirrorError(f"could not write {path}: {error.strerror}; choose another `output`") from error

    @contextmanager
    def claim(self, slide: str) -> Generator[bool]:
        """Yield True when the slide is this process's for the length of the block, False when another one has it."""
        # Offsets are 63 bits wide: two slides on one byte would only wait for each other.
        place = stream_seed(0, "claim", slide) >> 1
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            yield False
            return
        except OSError:  # no locks here: better twice than never
            yield True
            return
        try:
            yield True
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def close(self) -> None:
        """Give back whatever is held."""
        os.close(self._file)
