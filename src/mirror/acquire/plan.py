"""The plan of a recipe: every file of it, pinned in a lock before anything is fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from mirror.acquire.client import Client, SourceError
from mirror.acquire.lock import NAME as LOCK
from mirror.acquire.lock import Lock, changed, differences, now
from mirror.acquire.remote import RemoteFile, Source
from mirror.acquire.settings import RECORDED, Part, RecipeConfig
from mirror.acquire.sources.cbioportal import CBioPortal
from mirror.acquire.sources.gdc import Gdc
from mirror.acquire.sources.hipt import Hipt
from mirror.acquire.sources.intogen import IntOGen
from mirror.acquire.sources.xena import Xena
from mirror.errors import raise_together
from mirror.ids import TcgaBarcode
from mirror.types import Progress, silent


class Sources:
    """The sources of a recipe."""

    def __init__(self, recipe: RecipeConfig, client: Client) -> None:
        hosts = recipe.hosts
        self.gdc = Gdc(client, hosts.gdc, recipe.projects)
        self.xena = Xena(client, hosts.xena, recipe.toil)
        self.cbioportal = CBioPortal(client, hosts.cbioportal, recipe.studies.studies if recipe.studies else ())
        self.hipt = Hipt(client, hosts, recipe.hipt, workers=recipe.transfer.workers)
        self.intogen = IntOGen(client, hosts.intogen, recipe.genes)

    def releases(self, parts: Iterable[Part]) -> dict[Source, str]:
        """What each source that the parts need has now. The GDC is always asked: it says who the patients are."""
        asked = {"gdc", *(_SOURCE[part] for part in parts)}
        ways = {
            "gdc": self.gdc.release,
            "xena": self.xena.release,
            "cbioportal": self.cbioportal.release,
            "hipt": self.hipt.release,
            "intogen": self.intogen.release,
        }
        return {source: way() for source, way in ways.items() if source in asked}  # pyright: ignore[reportReturnType]


_SOURCE: dict[Part, Source] = {
    "slides": "gdc",
    "star": "gdc",
    "clinical": "gdc",
    "survival": "cbioportal",
    "toil": "xena",
    "hipt": "hipt",
    "genes": "intogen",
}


def make_lock(recipe: RecipeConfig, client: Client, *, progress: Progress = silent) -> Lock:
    """Ask the sources what the recipe comes to. Raises `SourceError`, also for another release than the recipe's."""
    sources = Sources(recipe, client)
    parts = _parts(recipe)
    releases = sources.releases(parts)
    if recipe.release not in (RECORDED, releases["gdc"]):
        raise SourceError(
            f"recipe '{recipe.name}' is for '{recipe.release}' of the GDC, which now has '{releases['gdc']}'; use a "
            f"lock.json of that release, or write `release: {RECORDED}` into the recipe and see what changed"
        )
    cases = sources.gdc.cases()
    slides = sources.gdc.files("slides", releases["gdc"], access=recipe.access)
    files: list[RemoteFile] = []
    samples: dict[str, str] = {}
    own = set(cases)
    for part in parts:
        if part == "slides":
            files += slides
        elif part == "star":
            star = sources.gdc.files("star", releases["gdc"], access=recipe.access)
            files += star
            samples |= {file.subject: file.patients[0] for file in star if file.patients}
        elif part == "clinical":
            files += sources.gdc.case_documents(releases["gdc"], len(cases))
        elif part == "survival":
            files += sources.cbioportal.files(releases["cbioportal"])
        elif part == "toil":
            files += sources.xena.files(releases["xena"])
            owners = {sample: TcgaBarcode.of(sample) for sample in sources.xena.samples()}
            samples |= {sample: one.patient for sample, one in owners.items() if one and one.patient in own}
        elif part == "hipt":
            files += sources.hipt.files(releases["hipt"], cases, progress=progress)
        else:
            files += sources.intogen.files(releases["intogen"])
    known = {path: checksum for path, checksum in recipe.checksums.items() if checksum != RECORDED}
    files = [replace(file, checksum=known.get(file.path, file.checksum)) for file in files]
    return Lock(
        recipe=recipe.model_dump(mode="json"),
        planned=now(),
        releases=releases,
        patients=tuple(cases),
        slides={file.subject: file.patients[0] for file in slides if file.patients},
        samples=samples,
        files=tuple(_small_first(files)),
    )


def plan(
    recipe: RecipeConfig, folder: Path, client: Client, *, renew: bool = False, progress: Progress = silent
) -> Lock:
    """`make_lock`, written to `folder`; an earlier lock there keeps what it found at first fetch.

    Raises `SourceError` when the earlier one is of other releases, unless they are to be taken (`renew`).
    """
    fresh = make_lock(recipe, client, progress=progress)
    if (folder / LOCK).exists():
        before = Lock.load(folder)
        if not renew:
            refuse_changed(before, fresh.releases, compared=differences(before.files, fresh.files))
        fresh = fresh.carrying(before)
    fresh.save(folder)
    return fresh


def planned(
    recipe: RecipeConfig, folder: Path, client: Client, *, locked: bool = False, progress: Progress = silent
) -> Lock:
    """The lock to fetch by: the one in `folder` if it is of this recipe and the sources have not changed since, else a
    new one. `locked` takes the one that is there, whatever the sources have now.

    Raises `SourceError` when the sources have changed since the plan.
    """
    if not (folder / LOCK).exists():
        if locked:
            raise SourceError(f"{folder} has no {LOCK}, so there is nothing to hold on to; leave out --locked")
        return plan(recipe, folder, client, progress=progress)
    before = Lock.load(folder)
    if not locked and not _same_recipe(before, recipe):
        return plan(recipe, folder, client, progress=progress)
    found = Sources(recipe, client).releases(_parts(recipe))
    if locked:
        refuse_unpinned(before, folder, found)
    elif changed(before.releases, found):
        refuse_changed(before, found, compared=differences(before.files, make_lock(recipe, client).files))
    return before


def refuse_changed(lock: Lock, releases: Mapping[Source, str], *, compared: str) -> None:
    """Raise `SourceError` when a source has another release than the lock; `compared` says how the files differ."""
    raise_together(
        SourceError,
        f"the sources are no longer those of the plan ({compared}); take the new ones (`mirror data plan --renew`), or "
        "go on with the files as they were planned (`--locked`: each must still have its checksum):",
        changed(lock.releases, releases),
    )


def refuse_unpinned(lock: Lock, folder: Path, releases: Mapping[Source, str]) -> None:
    """Raise `SourceError` for files of a source with another release that have neither come nor a checksum: what comes
    now under their name would be something else, and nobody could tell."""
    moved = {source for source in lock.releases if releases.get(source, lock.releases[source]) != lock.releases[source]}
    raise_together(
        SourceError,
        "these files had no checksum when they were planned, and their source has another release now; plan again "
        "(`mirror data plan --renew`):",
        [
            f"{file.path} of {file.source}"
            for file in lock.files
            if file.source in moved and file.checksum is None and not (folder / file.path).exists()
        ],
    )


def _same_recipe(lock: Lock, recipe: RecipeConfig) -> bool:
    """Whether the lock is of this recipe; how it is fetched makes no other one of it."""
    kept, asked = ({**one} for one in (lock.recipe, recipe.model_dump(mode="json")))
    return kept | {"transfer": None} == asked | {"transfer": None}


def _parts(recipe: RecipeConfig) -> list[Part]:
    return [part for part in dict.fromkeys(recipe.parts) if part != "genes" or recipe.genes.path is None]


def _small_first(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Documents and tables before slides: what tells early that something is wrong, early."""
    return sorted(files, key=lambda file: (file.part == "slides", file.source == "xena", file.path))
