"""The input files of a configuration, known by name, size and time of change (of remote ones: what storage says)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mirror.artefacts import fingerprint
from mirror.config import Section, is_remote


def inputs_stamp(section: Section, *, but: Path | None = None) -> str:
    """A hash of a section's settings and of name, size and time of every file that it names, `but` for one path.

    No file is read. Raises `DataError` where a remote one cannot be listed.
    """
    paths = [path for path in _paths(section) if path != but]
    files = sorted(file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]))
    states = [(file, file.stat()) for file in files if file.is_file()]
    known = [(str(file), state.st_size, state.st_mtime_ns) for file, state in states]
    remote = [path for path in paths if is_remote(path)]
    if remote:
        from mirror.data.remote import listing

        known += [(str(path), name, token) for path in remote for name, token in sorted(listing(path).items())]
    return fingerprint(section.model_dump(mode="json"), known)


def _paths(section: Section) -> Iterable[Path]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path):
            yield value
        elif isinstance(value, Section):
            yield from _paths(value)
