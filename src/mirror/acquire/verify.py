"""Whether what was fetched is still what it was, and whether the sources have something newer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from mirror.acquire.client import Client
from mirror.acquire.lock import Lock, changed
from mirror.acquire.manifest import Manifest
from mirror.acquire.plan import Sources
from mirror.acquire.remote import checksum_of
from mirror.acquire.settings import RecipeConfig
from mirror.types import Progress, silent

State = Literal["sound", "missing", "another size", "another checksum", "never fetched"]


class Checked(NamedTuple):
    """What one file of the lock is found to be."""

    path: str
    state: State
    detail: str = ""


class Verified(NamedTuple):
    """All files of the lock in its order, and a sentence for each source whose release is another one by now."""

    files: tuple[Checked, ...]
    news: tuple[str, ...]

    def count(self, state: State) -> int:
        """How many files are in a state."""
        return sum(file.state == state for file in self.files)

    @property
    def sound(self) -> bool:
        """Whether every file is what it was."""
        return all(file.state == "sound" for file in self.files)


def verify(folder: Path, *, progress: Progress = silent) -> tuple[Checked, ...]:
    """Read every file of the lock again, and every other that an earlier lock had fetched.

    Raises `ArtefactError` without a lock.
    """
    manifest = Manifest(folder)
    asked = {file.path: (file.checksum, file.size) for file in Lock.load(folder).files}
    asked |= {entry.path: (entry.checksum, entry.size) for entry in manifest.entries() if entry.path not in asked}
    total = sum(size or 0 for _, size in asked.values())
    checked: list[Checked] = []
    done = 0
    for path, (checksum, size) in asked.items():
        checked.append(_check(folder / path, path, checksum, size, manifest))
        done += size or 0
        progress(done // 1_000_000, max(1, total // 1_000_000), "MB read")
    return tuple(checked)


def news(folder: Path, client: Client) -> tuple[str, ...]:
    """What the sources have that they had not when the lock was made. Raises `SourceError` when one does not answer."""
    lock = Lock.load(folder)
    recipe = RecipeConfig.model_validate(dict(lock.recipe))
    found = Sources(recipe, client).releases(recipe.parts)
    return tuple(changed(lock.releases, {source: found[source] for source in lock.releases if source in found}))


def _check(path: Path, name: str, checksum: str | None, size: int | None, manifest: Manifest) -> Checked:
    entry = manifest.get(name)
    if not path.is_file():
        return Checked(name, "missing" if entry else "never fetched")
    expected = checksum or (entry.checksum if entry else None)
    if expected is None:
        return Checked(name, "never fetched", "a file is there that no fetch has entered into the manifest")
    wanted = size if size is not None else entry.size if entry else None
    there = path.stat().st_size
    if wanted is not None and there != wanted:
        return Checked(name, "another size", f"{there} bytes in the place of {wanted}")
    found = checksum_of(path, expected.split(":", 1)[0])
    return Checked(name, "sound") if found == expected else Checked(name, "another checksum", found)
