"""Inputs in object storage: every file that a cohort names by a URL is copied once, and read from its copy.

Tile features are mapped into memory and read a few rows at a time, again in every epoch: that wants a disk. fsspec
knows the storage; the copies are kept here rather than in its `filecache`, because several jobs may share the folder
and no file may stand there under its name before it is whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from mirror.artefacts import fingerprint, write_aside, write_text
from mirror.config import Section, is_remote, url_of
from mirror.errors import ConfigError, DataError, first_line, raise_together
from mirror.types import Progress, silent

S = TypeVar("S", bound=Section)
AT_ONCE = 16
"""Files that are fetched at a time: storage answers slowly, and many at once."""
_NAMING = {"name", "Key", "type", "url", "mimetype", "partial"}
"""What a listing says of a file that stays the same when its content changes."""


def copies() -> Path:
    """Where copies are kept: the folder that the environment variable MIRROR_CACHE names, or `~/.cache/mirror`."""
    return Path(os.environ.get("MIRROR_CACHE") or "~/.cache/mirror").expanduser()


def fetched(section: S, *, progress: Progress = silent) -> S:
    """The section with a local path for every remote one, whose files have been brought up to date there.

    Raises `DataError` where a file is not there or cannot be read, `ConfigError` where the storage's package is not
    installed.
    """
    changed: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path) and is_remote(value):
            changed[name] = _copy_of(value, progress)
        elif isinstance(value, Section):
            changed[name] = fetched(value, progress=progress)
    return section.model_copy(update=changed) if changed else section


def listing(path: Path) -> dict[str, str]:
    """Every file of a remote folder (or the one file: its name), and a hash of what the storage says of it.

    Raises as `fetched` does, and `DataError` for files of which it says nothing that a change would change.
    """
    root, found = _found(path)
    # Not where a server has led to: such an address may be signed anew each time.
    return {
        name: fingerprint(sorted((key, value) for key, value in info.items() if key != "url"))
        for name, info in _named(root, found)
    }


def _found(path: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    url = url_of(path)
    try:
        system, root = fsspec.url_to_fs(url)
        found: dict[str, dict[str, Any]] = system.find(root, detail=True)
    except ImportError as error:
        raise ConfigError(f"{url}: {first_line(error)}; `pip install` the package that fsspec names") from error
    except ValueError as error:
        raise ConfigError(f"{url}: {first_line(error)}") from error
    except Exception as error:  # each storage has errors of its own
        raise DataError(f"{url} cannot be listed ({type(error).__name__}: {first_line(error)})") from error
    # A page of links has some that sort it; they are no files.
    found = {name: info for name, info in found.items() if name == root or not _sorts(name, info)}
    if not found:
        raise DataError(f"there is nothing at {url}; correct it in the configuration")
    return root, _told(system, url, found)


def _sorts(name: str, info: dict[str, Any]) -> bool:
    return not _tells(info) and name.rsplit("/", 1)[-1].startswith("?")


def _told(system: Any, url: str, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The listing with what the storage says of each file by itself, where the list says nothing but names.

    A web server's page of links is such a list; the answer to HEAD has size, ETag, Last-Modified, or some of them.
    """
    asked = [name for name, info in found.items() if not _tells(info)]
    with ThreadPoolExecutor(AT_ONCE) as workers:
        try:
            files = {**found, **dict(zip(asked, workers.map(system.info, asked), strict=True))}
        except Exception as error:  # each storage has errors of its own
            raise DataError(f"a file of {url} cannot be read ({type(error).__name__}: {first_line(error)})") from error
    raise_together(
        DataError,
        f"{url}: the server says neither size, ETag nor Last-Modified of these files, so nobody can know when a copy "
        "is out of date; download them yourself and name the local path:",
        [name for name in asked if not _tells(files[name])],
    )
    return files


def _tells(info: dict[str, Any]) -> bool:
    """True where a listing says something of a file that another content would change."""
    return any(value is not None for key, value in info.items() if key not in _NAMING)


def _named(root: str, found: dict[str, dict[str, Any]]) -> Iterable[tuple[str, dict[str, Any]]]:
    for full, info in found.items():
        yield full[len(root) :].lstrip("/") or full.rsplit("/", 1)[-1], info


def _copy_of(path: Path, progress: Progress) -> Path:
    """The local copy of a remote folder or file, brought up to date."""
    url = url_of(path)
    wanted = listing(path)
    system, root = fsspec.url_to_fs(url)
    one_file = set(wanted) == {path.name} and not system.isdir(root)
    folder, tokens = copies() / fingerprint(url), copies() / f"{fingerprint(url)}.known"
    stale = [name for name, token in wanted.items() if not _is_current(folder / name, tokens / name, token)]

    def fetch(name: str) -> None:
        try:
            with write_aside(folder / name) as aside:
                system.get_file(root if one_file else f"{root}/{name}", str(aside))
        except OSError as error:
            raise DataError(f"{url}: {name} could not be fetched ({first_line(error)})") from error
        write_text(tokens / name, wanted[name])

    with ThreadPoolExecutor(AT_ONCE) as workers:
        for done, _ in enumerate(workers.map(fetch, stale)):
            progress(done, len(stale), f"fetching {path.name}")
    if one_file:
        return folder / path.name
    for copy in [file for file in folder.rglob("*") if file.is_file()]:
        if str(copy.relative_to(folder)) not in wanted and not copy.name.startswith("."):
            copy.unlink()  # it is gone from the storage
    return folder


def _is_current(copy: Path, known: Path, token: str) -> bool:
    return copy.exists() and known.exists() and known.read_text(encoding="utf-8") == token
