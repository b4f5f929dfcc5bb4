"""The lock: what a recipe came to when it was planned, file by file, and from the first fetch on with every checksum.

Give it to somebody else, and they get the same bytes or an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mirror.acquire.remote import RemoteFile, Source
from mirror.artefacts import read_json, write_json
from mirror.errors import ArtefactError

NAME = "lock.json"


@dataclass(frozen=True, slots=True)
class Lock:
    """`releases` by source; `slides` and `samples` of expression (name -> patient) that the sources have, whether
    they are fetched or not; `patients` of the projects; `files` in the order in which they are fetched."""

    recipe: Mapping[str, Any]
    planned: str
    releases: Mapping[Source, str]
    patients: tuple[str, ...]
    slides: Mapping[str, str]
    samples: Mapping[str, str]
    files: tuple[RemoteFile, ...]

    def of_part(self, part: str) -> tuple[RemoteFile, ...]:
        """The files of one part."""
        return tuple(file for file in self.files if file.part == part)

    def pinned(self, checksums: Mapping[str, tuple[int, str]]) -> Lock:
        """With size and checksum of files that had none, as their first fetch found them (path -> both)."""
        return replace(self, files=tuple(_pinned(file, checksums) for file in self.files))

    def carrying(self, before: Lock) -> Lock:
        """With what an earlier lock has found of the same files of the same release at their first fetch."""
        known = {(file.path, file.release): file for file in before.files if file.pinned == "at first fetch"}
        same = [known[file.path, file.release] for file in self.files if (file.path, file.release) in known]
        found = {file.path: (file.size, file.checksum) for file in same}
        return self.pinned({path: (size, text) for path, (size, text) in found.items() if size is not None and text})

    def save(self, folder: Path) -> None:
        """Write `lock.json`."""
        write_json(
            folder / NAME,
            {
                "kind": "data lock",
                "planned": self.planned,
                "recipe": self.recipe,
                "releases": self.releases,
                "patients": self.patients,
                "slides": self.slides,
                "samples": self.samples,
                "files": [file.as_json() for file in self.files],
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Lock:
        """Read what `save` wrote. Raises `ArtefactError` when missing, damaged or of another schema."""
        content = read_json(folder / NAME)
        try:
            return cls(
                content["recipe"],
                content["planned"],
                content["releases"],
                tuple(content["patients"]),
                content["slides"],
                content["samples"],
                tuple(RemoteFile.from_json(file) for file in content["files"]),
            )
        except (KeyError, TypeError) as error:
            raise ArtefactError(f"{folder / NAME} is damaged ({error!r}); delete it and plan again") from error


def now() -> str:
    """Date and time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def changed(locked: Mapping[Source, str], found: Mapping[Source, str]) -> list[str]:
    """A sentence for each source that has another release than the lock."""
    return [
        f"{source} had '{locked[source]}' and has '{found[source]}'"
        for source in locked
        if source in found and found[source] != locked[source]
    ]


def differences(before: Iterable[RemoteFile], after: Iterable[RemoteFile]) -> str:
    """How two lists of files differ, in numbers."""
    old, new = ({file.path: (file.size, file.checksum) for file in files} for files in (before, after))
    other = sum(old[path] != new[path] for path in old.keys() & new.keys())
    return f"{len(new.keys() - old.keys())} files are new, {len(old.keys() - new.keys())} gone, {other} changed"


def _pinned(file: RemoteFile, checksums: Mapping[str, tuple[int, str]]) -> RemoteFile:
    if file.checksum is not None or file.path not in checksums:
        return file
    found_size, checksum = checksums[file.path]
    return replace(file, size=found_size, checksum=checksum, pinned="at first fetch")
