"""An archive that misbehaves on demand, a file in it, and a client whose patience is short."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from misbehaving import BODY, PATH, QUICK, BadArchive, serving

from mirror.acquire.budget import Bandwidth, Disk
from mirror.acquire.client import Client
from mirror.acquire.download import Means
from mirror.acquire.remote import RemoteFile
from mirror.acquire.settings import RecipeConfig, load_recipe
from mirror.simulate.archive import Content, Served
from mirror.simulate.sources import SimulatedPatient, SourceSizes, simulate_sources


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
    return Means(client, Bandwidth(None, client.stop), Disk(tmp_path, None))


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


@dataclass(frozen=True)
class Simulated:
    """A recipe whose sources are simulated, and who is in them."""

    recipe: RecipeConfig
    archive: BadArchive
    people: list[SimulatedPatient]
    settings: Path
    """What `--settings` takes to reach the archive."""


SIZES = SourceSizes(patients=40, transcripts=120, others=5)


@pytest.fixture
def simulate(tmp_path: Path) -> Generator[Callable[..., Simulated]]:
    """Start an archive for a recipe of the package, small, and a recipe that asks it."""
    with ExitStack() as stack:

        def start(name: str = "brca", sizes: SourceSizes = SIZES, **changes: Any) -> Simulated:
            recipe = load_recipe(name).model_copy(update=changes)
            content, people = simulate_sources(recipe, tmp_path / f"sources-{name}", seed=0, sizes=sizes)
            archive = stack.enter_context(serving(content))
            over = {
                "hosts": archive.hosts.model_dump(),
                "transfer": QUICK.model_dump(),
                "toil": {"transcripts": sizes.transcripts},
            }
            settings = tmp_path / f"{name}.settings.yaml"
            settings.write_text(yaml.safe_dump(over))
            found = load_recipe(name, settings=settings).model_copy(update=changes)
            return Simulated(found, archive, people, settings)

        yield start
