"""Files that stages hand to each other: written aside and renamed, stamped with version, checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import secrets
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mirror.errors import ArtefactError, UnwritableError

SCHEMA = 1
"""Version of everything a stage writes; a file of another version is refused, never guessed at."""

_LIBRARIES = ("mirror-pathology", "torch", "numpy", "pandas", "anndata", "scikit-learn", "lifelines")


@contextmanager
def write_aside(path: Path) -> Generator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` when the block ends well, remove it when not.

    So a full disk, Ctrl-C or a kill leaves either the old file or the new one under its final name, never half of one.
    Raises `UnwritableError` naming the file when the disk cannot take it.
    """
    # Not the process alone: machines that share a folder have processes of one number, in containers often number 1.
    aside = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.aside{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(path)
    except OSError as error:
        raise UnwritableError(f"could not write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # what could not be written there may not be removable either
            aside.unlink(missing_ok=True)


def remove_asides(path: Path) -> None:
    """Remove what killed processes left half written of `path`; only for who knows that nobody else writes it."""
    name = re.compile(rf"\.{re.escape(path.stem)}\.\d+-[0-9a-f]+\.aside{re.escape(path.suffix)}")
    for aside in path.parent.glob(f".*.aside{path.suffix}"):
        if name.fullmatch(aside.name):
            aside.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file where there is one. Raises `UnwritableError` naming it when its folder cannot be changed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UnwritableError(f"could not remove {path}: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` with the schema version in front."""
    write_text(path, json.dumps({"schema": SCHEMA, **content}, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote. Raises `ArtefactError` when missing, damaged or of another schema."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtefactError(f"{path} is missing; run the stage that writes it first") from None
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read ({error.strerror or error}); correct its folder") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:  # the last of brackets without end
        raise ArtefactError(f"{path} is damaged ({error}); delete it and run its stage again") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else "none"
        raise ArtefactError(f"{path} has schema {found}, this version reads {SCHEMA}; run its stage again")
    return content


def fingerprint(*parts: object) -> str:
    """A short hash of JSON-like values; equal inputs give equal hashes in any process."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def hash_bytes(chunks: Iterable[bytes | memoryview]) -> str:
    """Hash of a stream of bytes."""
    digest = hashlib.blake2b(digest_size=12)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Hash of a file's bytes, read in pieces of one MiB."""
    with path.open("rb") as file:
        return hash_bytes(iter(lambda: file.read(1 << 20), b""))


def versions() -> dict[str, str]:
    """What the numbers were made with: Python, platform and the libraries that compute."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{name: version(name) for name in _LIBRARIES},
    }
