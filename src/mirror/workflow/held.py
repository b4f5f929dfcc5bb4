"""Folders that one workflow at a time works on, and looks ahead that leave nothing behind in them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mirror.errors import ConfigError


@contextmanager
def held(folders: Iterable[Path], *, traceless: bool = False) -> Generator[None]:
    """Keep other workflows off these folders, which are made; however this process ends, they are free then.

    With `traceless` all that is in them is as it was at the end, files' times included: a look ahead must not make
    anything run again. Raises `ConfigError` where another workflow holds one.
    """
    with ExitStack() as stack:
        for folder in dict.fromkeys(folders):
            new = [path for path in (folder / ".held", folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((folder / ".held").open("a"))  # "w" would change its time
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"another `mirror workflow` works on {folder.parent}; wait for it") from None
            if traceless:  # called before the lock is given back
                stack.callback(_put_back, folder, _content(folder), new)
        yield


def _content(folder: Path) -> dict[Path, tuple[bytes, int] | None]:
    """Everything in a folder; of the files in itself, which are small (settings, receipts), content and time."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) if path.parent == folder and path.is_file() else None
        for path in folder.rglob("*")
    }


def _put_back(folder: Path, before: dict[Path, tuple[bytes, int] | None], new: list[Path]) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):  # a folder after what is in it
        if path not in before:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for path, known in before.items():
        if known is not None and known != _state(path):
            path.write_bytes(known[0])
            os.utime(path, ns=(known[1], known[1]))
    for path in new:  # the lock, then the folder and those above it that were made
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


def _state(path: Path) -> tuple[bytes, int] | None:
    return (path.read_bytes(), path.stat().st_mtime_ns) if path.exists() else None
