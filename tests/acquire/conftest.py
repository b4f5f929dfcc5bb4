"""An archive that misbehaves on demand, a file in it, and a client whose patience is short."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from misbehaving import BadArchive, serving

from mirror.acquire.budget import Bandwidth, Disk
from mirror.acquire.client import Client
from mirror.acquire.download import Means
from mirror.acquire.remote import RemoteFile
from mirror.acquire.settings import TransferConfig
from mirror.simulate.archive import Content, Served

BODY = np.random.default_rng(0).bytes(1_500_000)
PATH = "/gdc/data/one"
QUICK = TransferConfig(workers=3, connect_timeout=2, read_timeout=0.3, attempts=4, backoff=0.01, backoff_most=0.05)


@pytest.fixture
def archive() -> Generator[BadArchive]:
    """Holds one file, `BODY` at `PATH`, with an ETag and a date."""
    with serving(Content(files={PATH: Served(BODY, etag='"first"')})) as server:
        yield server


@pytest.fixture
def file(archive: BadArchive) -> RemoteFile:
    """The file, as a source with md5 lists it."""
    return RemoteFile(
        path="slides/one.svs",
        url=f"{archive.url}{PATH}",
        part="slides",
        source="gdc",
        release="R1",
        size=len(BODY),
        checksum=f"md5:{hashlib.md5(BODY).hexdigest()}",
    )


@pytest.fixture
def nameless(file: RemoteFile) -> RemoteFile:
    """The file, as a source that tells neither size nor checksum lists it."""
    return replace(file, size=None, checksum=None)


@pytest.fixture
def client() -> Client:
    return Client(QUICK)


@pytest.fixture
def means(client: Client, tmp_path: Path) -> Means:
    return Means(client, Bandwidth(None, client.stop), Disk(tmp_path, None), lambda count: None)


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Callable[[int], Path]]:
    """Make a file system of so many kB; skips where one cannot be mounted."""
    made: list[Path] = []

    def mount(kilobytes: int) -> Path:
        folder = tmp_path / f"disk{len(made)}"
        folder.mkdir()
        if shutil.which("mount") is None:
            pytest.skip("needs `mount`, to have a disk that is really full")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"needs the right to mount a small file system: {done.stderr.strip()}")
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def after() -> Generator[Callable[[float, Callable[[], None]], None]]:
    """Do something in another thread, later."""
    timers: list[threading.Timer] = []

    def later(seconds: float, what: Callable[[], None]) -> None:
        timers.append(threading.Timer(seconds, what))
        timers[-1].start()

    yield later
    for timer in timers:
        timer.join()
