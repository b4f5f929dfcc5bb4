"""All files of a lock: side by side, within the budgets, each of them whole or not there."""

from __future__ import annotations

import fcntl
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from mirror.acquire.budget import Bandwidth, Disk, DiskFull, size
from mirror.acquire.client import Client, SourceError, Stopped
from mirror.acquire.download import Fetched, Means, download
from mirror.acquire.lock import Lock
from mirror.acquire.manifest import Manifest
from mirror.acquire.remote import RemoteFile, checksum_of
from mirror.acquire.settings import TransferConfig
from mirror.errors import ArtefactError, MirrorError
from mirror.types import Progress, silent

_LOOK_UP = 0.1
"""Seconds between looks at how far the threads are."""


class FetchReport(NamedTuple):
    """What a fetch did: files that came, files that were here, and those that failed, each with its reason."""

    fetched: int
    here: int
    failed: tuple[tuple[RemoteFile, str], ...]
    bytes: int
    seconds: float


def fetch(
    lock: Lock, folder: Path, client: Client, transfer: TransferConfig, *, progress: Progress = silent
) -> FetchReport:
    """Fetch what is not here yet, and write the manifest and the lock with the checksums that are new.

    One file's failure does not end the others'. Raises `DiskFull` when the disk or the budget has no room,
    `SourceError` for controlled files without a token, and `KeyboardInterrupt` after the threads have put away what
    they had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _require_token(lock, client)
    with _alone(folder):
        manifest = Manifest(folder)
        missing = [file for file in lock.files if not _is_here(file, folder, manifest)]
        here = len(lock.files) - len(missing)
        disk = Disk(folder, None if transfer.disk is None else int(transfer.disk * 1e9))
        waiting = sum(file.size or 0 for file in missing) - sum(_part_size(file, folder) for file in missing)
        disk.require(max(waiting, 0))
        try:
            report = _fetch(missing, folder, client, transfer, disk, manifest, progress)
        except BaseException:
            # Where the disk is full there is no room for these either; the next fetch finds what came by its checksum.
            with suppress(MirrorError):
                _write_down(lock, folder, manifest)
            raise
        _write_down(lock, folder, manifest)
        return report._replace(here=here)


def _write_down(lock: Lock, folder: Path, manifest: Manifest) -> None:
    manifest.save()
    lock.pinned({entry.path: (entry.size, entry.checksum) for entry in manifest.entries()}).save(folder)


def _fetch(
    missing: list[RemoteFile],
    folder: Path,
    client: Client,
    transfer: TransferConfig,
    disk: Disk,
    manifest: Manifest,
    progress: Progress,
) -> FetchReport:
    tally = _Tally(sum(file.size or 0 for file in missing), len(missing))
    limit = None if transfer.bandwidth is None else transfer.bandwidth * 1e6
    means = Means(client, Bandwidth(limit, client.stop), disk, tally.hear)
    failed: list[tuple[RemoteFile, str]] = []
    fatal: MirrorError | None = None
    with (
        _interrupted_between_looks() as look,
        ThreadPoolExecutor(transfer.workers, thread_name_prefix="fetch") as pool,
    ):
        running: dict[Future[Fetched], RemoteFile] = {
            pool.submit(download, file, folder, means): file for file in missing
        }
        try:
            while running:
                done, _ = wait(running, timeout=_LOOK_UP, return_when=FIRST_COMPLETED)
                for future in done:
                    file = running.pop(future)
                    error = future.exception() if not future.cancelled() else Stopped()
                    if error is None:
                        came = future.result()
                        manifest.add(
                            file, size=came.size, checksum=came.checksum, etag=came.etag, modified=came.modified
                        )
                        tally.files += 1
                    elif isinstance(error, DiskFull):
                        fatal = fatal or error
                        _call_off(client, running)
                    elif isinstance(error, MirrorError):
                        failed.append((file, str(error)))
                    elif not isinstance(error, Stopped):
                        raise error
                progress(*tally.state())
                look()
        finally:
            if running:  # Ctrl-C, or a defect: nobody may go on writing behind the back of who gave up
                _call_off(client, running)
    if fatal is not None:
        raise fatal
    return FetchReport(tally.files, 0, tuple(failed), tally.bytes, tally.seconds)


def _call_off(client: Client, running: Mapping[Future[Fetched], RemoteFile]) -> None:
    client.call_off()
    for future in running:
        future.cancel()


@contextmanager
def _interrupted_between_looks() -> Generator[Callable[[], None]]:
    """What raises the `KeyboardInterrupt` of a Ctrl-C that came since it was last called.

    Raised wherever the main thread happens to be, it can leave a lock of the executor taken that every worker needs to
    end, and the process would hang. A second Ctrl-C is raised at once, as ever.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: None  # Ctrl-C is not ours to hear
        return
    heard = False

    def hear(_signal: int, _frame: FrameType | None) -> None:
        nonlocal heard
        heard = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def look() -> None:
        if heard:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, hear)
    try:
        yield look
        look()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Tally:
    """How far a fetch is; told by all threads."""

    def __init__(self, expected: int, files: int) -> None:
        self._lock, self._began = threading.Lock(), time.monotonic()
        self._expected, self._all = expected, files
        self.bytes, self.files = 0, 0

    def hear(self, count: int) -> None:
        with self._lock:
            self.bytes += count

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def state(self) -> tuple[int, int, str]:
        """Done and total in MB (files where no size is known), and the rest in words."""
        rate = f"{size(self.bytes / max(self.seconds, 1e-3))}/s"
        if not self._expected:
            return self.files, self._all, f"files, {rate}"
        done = min(self.bytes, self._expected)
        return done // 1_000_000, max(1, self._expected // 1_000_000), f"MB, {self.files}/{self._all} files, {rate}"


def _is_here(file: RemoteFile, folder: Path, manifest: Manifest) -> bool:
    """Whether the file is under its final name, as the lock wants it. One that the manifest does not know (its process
    ended in between) is read and compared; one that is another file than the lock's is fetched again."""
    path = folder / file.path
    if not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
        return False
    entry = manifest.get(file.path)
    if entry is not None and entry.size == path.stat().st_size and entry.checksum == (file.checksum or entry.checksum):
        return entry.release == file.release or file.checksum is not None
    if file.checksum is None or checksum_of(path, file.checksum.split(":", 1)[0]) != file.checksum:
        return False
    manifest.add(file, size=path.stat().st_size, checksum=file.checksum)
    return True


def _part_size(file: RemoteFile, folder: Path) -> int:
    part = folder / f"{file.path}.part"
    return part.stat().st_size if file.size is not None and part.exists() else 0


def _require_token(lock: Lock, client: Client) -> None:
    controlled = [file.path for file in lock.files if file.controlled]
    if controlled and not client.has_token:
        raise SourceError(
            f"{len(controlled)} files are of controlled access, such as {controlled[0]}: give --token FILE with your "
            "token of the GDC (it is neither written nor printed), or write `access: open` into the recipe"
        )


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """One fetch a folder: two would write into the same parts."""
    with (folder / ".fetching").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArtefactError(f"another fetch is at work in {folder}; wait for it, or end it") from None
        yield
