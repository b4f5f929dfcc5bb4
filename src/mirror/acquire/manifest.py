"""The manifest: every file that is here, with its source, date, checksum, release and terms of use."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from mirror.acquire.lock import now
from mirror.acquire.remote import TERMS, RemoteFile
from mirror.artefacts import read_json, write_json
from mirror.errors import ArtefactError

NAME = "manifest.json"
_BETWEEN_WRITES = 5.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as it came. `pinned` says who said the checksum; `etag` and `modified` are the server's own words."""

    path: str
    source: str
    url: str
    release: str
    fetched: str
    size: int
    checksum: str
    pinned: str
    terms: str
    access: str
    etag: str | None = None
    modified: str | None = None


class Manifest:
    """`manifest.json` of a folder: written every few seconds while files come, and at the end."""

    def __init__(self, folder: Path) -> None:
        self._path, self._written = folder / NAME, time.monotonic()
        self._entries = {entry.path: entry for entry in _read(self._path)} if self._path.exists() else {}

    def get(self, path: str) -> Entry | None:
        """The entry of a file, if it has one."""
        return self._entries.get(path)

    def entries(self) -> list[Entry]:
        """All of them, in order of path."""
        return [self._entries[path] for path in sorted(self._entries)]

    def add(
        self, file: RemoteFile, *, size: int, checksum: str, etag: str | None = None, modified: str | None = None
    ) -> None:
        """Enter a file that has just come, or was found whole."""
        self._entries[file.path] = Entry(
            path=file.path,
            source=file.source,
            url=file.url,
            release=file.release,
            fetched=now(),
            size=size,
            checksum=checksum,
            pinned="at first fetch" if file.checksum is None else file.pinned,
            terms=TERMS[file.source],
            access="controlled" if file.controlled else "open",
            etag=etag,
            modified=modified,
        )
        if time.monotonic() - self._written > _BETWEEN_WRITES:
            self.save()

    def save(self) -> None:
        """Write it."""
        write_json(self._path, {"kind": "data manifest", "files": [asdict(entry) for entry in self.entries()]})
        self._written = time.monotonic()


def _read(path: Path) -> Iterable[Entry]:
    try:
        return [Entry(**entry) for entry in read_json(path)["files"]]
    except (KeyError, TypeError) as error:
        raise ArtefactError(f"{path} is damaged ({error!r}); delete it: the next fetch checks what is here") from error
