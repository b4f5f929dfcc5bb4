"""One file, from its source to its final name: aside first, resumed where it broke off, checked before it is renamed.

Beside `name.part` lies `name.part.json`, which says what the bytes are of: they are only added to when the server
confirms that it still has the same file, or when a checksum will tell.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import urllib3

from mirror.acquire.budget import Bandwidth, Disk, DiskFull
from mirror.acquire.client import Client, SourceError, Stopped, Trouble
from mirror.acquire.remote import RemoteFile, checksum_of
from mirror.artefacts import read_json, write_json
from mirror.errors import ArtefactError, MirrorError

_PIECE = 256 << 10
_WHOLE_ATTEMPTS = 3
"""How often a file that came whole but wrong is fetched again from its first byte."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RANGE = re.compile(r"^bytes (\d+)-(\d+)/(\d+|\*)$")


class Fetched(NamedTuple):
    """A file under its final name: `checksum` as its source (or its first fetch) said it, or its sha256 now."""

    file: RemoteFile
    size: int
    checksum: str
    etag: str | None
    modified: str | None


def _nobody(count: int) -> None:
    del count


@dataclass(frozen=True, slots=True)
class Means:
    """What downloads share: the connections, the budgets, and who is told of bytes that have come."""

    client: Client
    bandwidth: Bandwidth
    disk: Disk
    heard: Callable[[int], None] = _nobody


def download(file: RemoteFile, folder: Path, means: Means) -> Fetched:
    """Fetch `file` into `folder`, going on where an earlier call stopped.

    Raises `SourceError` when the source gives up or gives something else, `DiskFull`, and `Stopped`; what had come
    then stays aside, and nothing is under the final name.
    """
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(path, file)
    problem: str | None = None
    for _ in range(_WHOLE_ATTEMPTS):
        means.client.patiently(lambda: _one_attempt(part, file, means))
        problem = _wrong_with(part.path, file)
        if problem is None:
            found = _finished(part, file, path)
            part.forget()
            return found
        means.disk.give_back(part.discard())
    raise SourceError(
        f"{file.url} came {_WHOLE_ATTEMPTS} times, each time {problem}; nothing was kept. The source may have replaced "
        "it: plan again, and if it stays so, report it there"
    )


def _one_attempt(part: _Part, file: RemoteFile, means: Means) -> None:
    """Add what is missing to the part. Raises `Trouble` when the connection ends before that."""
    begin = part.resumable()
    if not begin:
        means.disk.give_back(part.discard())
    elif begin == file.size:
        return  # all of it had come, and the process ended before it was checked
    asked = part.headers(begin)
    came = 0
    try:
        with means.client.get(file.url, headers=asked, controlled=file.controlled) as response:
            if response.status == 416:
                if _total(response) == begin and begin:
                    return
                means.disk.give_back(part.discard())
                raise Trouble(f"{file.url} has no byte {begin}: it is another file than before")
            at = _place(response)
            if at != begin:
                means.disk.give_back(part.discard())
                begin = 0
                if response.status == 206:
                    raise Trouble(f"{file.url} sends other bytes than were asked for")
            _refuse_other_size(file, response)
            part.remember(response)
            with part.open(begin) as target:
                # What there is, not what would fill a piece: of a slow connection, too, every byte is kept.
                while piece := response.read1(_PIECE):
                    if means.client.stop.is_set():
                        raise Stopped
                    means.disk.take(len(piece))
                    means.bandwidth.take(len(piece))
                    _write_all(target, piece)
                    came += len(piece)
                    means.heard(len(piece))
                if means.client.stop.is_set():  # then the end may be of our own making
                    raise Stopped
                os.fsync(target.fileno())
    except Trouble as trouble:
        trouble.progress = came > 0
        raise
    except OSError as error:
        raise _no_room(part, file, error) from error
    except MirrorError as error:
        if isinstance(error.__cause__, OSError):  # the notes of the part
            raise _no_room(part, file, error.__cause__) from error
        raise
    if file.size is not None and part.size < file.size:
        raise Trouble(f"{file.url} ended at byte {part.size} of {file.size}", progress=came > 0)


def _no_room(part: _Part, file: RemoteFile, error: OSError) -> DiskFull:
    if error.errno not in _NO_ROOM:
        return DiskFull(f"{part.path} cannot be written: {error.strerror or error}")
    return DiskFull(
        f"the disk of {part.path.parent} is full; make room and give the same command again: it goes on at byte "
        f"{part.size} of {file.path}"
    )


def _place(response: urllib3.BaseHTTPResponse) -> int:
    """The byte at which what follows belongs: 0 when the server sends the whole file in spite of the range."""
    if response.status != 206:
        return 0
    match = _RANGE.match(response.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def _total(response: urllib3.BaseHTTPResponse) -> int | None:
    text = response.headers.get("Content-Range", "").rsplit("/", 1)[-1]
    return int(text) if text.isdecimal() else None


def _refuse_other_size(file: RemoteFile, response: urllib3.BaseHTTPResponse) -> None:
    length = response.headers.get("Content-Length", "")
    total = _total(response) if response.status == 206 else int(length) if length.isdecimal() else None
    if file.size is not None and total is not None and total != file.size:
        raise SourceError(
            f"{file.url} has {total} bytes, the plan says {file.size}: it was replaced since; plan again "
            f"(`mirror data plan --renew`), or look at what the source sends"
        )


def _wrong_with(path: Path, file: RemoteFile) -> str | None:
    there = path.stat().st_size
    if file.size is not None and there != file.size:
        return f"with {there} bytes in the place of {file.size}"
    if file.checksum is not None:
        found = checksum_of(path, file.checksum.split(":", 1)[0])
        return None if found == file.checksum else f"with another checksum ({found} in the place of {file.checksum})"
    if file.path.endswith(".json"):  # the one kind of file whose end shows in itself
        try:
            json.loads(path.read_bytes())
        except ValueError:
            return "as something that is no JSON"
    return None


def _finished(part: _Part, file: RemoteFile, path: Path) -> Fetched:
    checksum = file.checksum or checksum_of(part.path, "sha256")
    notes = part.notes()
    found = Fetched(file, part.size, checksum, notes.get("etag"), notes.get("modified"))
    part.path.replace(path)
    return found


def _write_all(target: Any, piece: bytes) -> None:
    """Unbuffered files write what fits: of a full disk, the bytes before its end are kept."""
    rest = memoryview(piece)
    while rest:
        rest = rest[target.write(rest) :]


class _Part:
    """The bytes of a file that have come, and what they are of."""

    def __init__(self, path: Path, file: RemoteFile) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self._notes, self._file = path.with_name(f"{path.name}.part.json"), file

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def notes(self) -> dict[str, Any]:
        try:
            return read_json(self._notes)
        except ArtefactError:  # none there, or half of one: the part is then of nobody knows what
            return {}

    def resumable(self) -> int:
        """The byte to go on at: 0 when what is there may be of another file, or is too long."""
        notes = self.notes()
        same = notes.get("url") == self._file.url and notes.get("checksum") == self._file.checksum
        safe = self._file.checksum is not None or notes.get("etag") or notes.get("modified")
        too_long = self._file.size is not None and self.size > self._file.size
        return self.size if same and safe and not too_long else 0

    def headers(self, begin: int) -> dict[str, str]:
        """The request for what is missing, if the file is still the one of the part."""
        if not begin:
            return {}
        notes = self.notes()
        unchanged = notes.get("etag") or notes.get("modified")
        return {"Range": f"bytes={begin}-"} | ({"If-Range": unchanged} if unchanged else {})

    def remember(self, response: urllib3.BaseHTTPResponse) -> None:
        etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
        strong = etag if etag and not etag.startswith("W/") else None
        notes = {"kind": "part", "url": self._file.url, "checksum": self._file.checksum}
        write_json(self._notes, notes | {"etag": strong, "modified": modified})

    def open(self, begin: int) -> Any:
        return self.path.open("ab" if begin else "wb", buffering=0)

    def discard(self) -> int:
        """Remove it; how many bytes that were."""
        removed = self.size
        self.path.unlink(missing_ok=True)
        self.forget()
        return removed

    def forget(self) -> None:
        with suppress(FileNotFoundError):
            self._notes.unlink()
