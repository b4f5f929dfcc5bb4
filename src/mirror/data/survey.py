"""What lies in a folder that could make a cohort: tile features and tables, told apart by what is in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from mirror.data.feature_store import ENDINGS, Bag
from mirror.data.importers.found import Asked, FoundBag, NoBag
from mirror.data.importers.recognise import files_of, recognise
from mirror.data.sketch import Sketch, sketch_table
from mirror.data.tables import is_table
from mirror.errors import DataError
from mirror.types import Progress, silent


class FeatureGroup(NamedTuple):
    """Files of one folder, layout and encoder. `direct`: a run reads them as they are; else they are imported first."""

    folder: Path
    layout: str
    encoder: str | None
    widths: tuple[int, ...]
    slides: tuple[str, ...]
    direct: bool

    @property
    def title(self) -> str:
        """For people: what, whose, how many."""
        width = " or ".join(map(str, self.widths))
        encoder = self.encoder or "not named"
        return f"{self.layout}, {len(self.slides)} slides, encoder {encoder}, {width} numbers a tile"


class Survey(NamedTuple):
    """Everything that was found under a folder, and the tables that could not be read, with the reason."""

    folder: Path
    features: tuple[FeatureGroup, ...]
    tables: tuple[Sketch, ...]
    unreadable: dict[Path, str]


def survey(folder: Path, *, but: Collection[Path] = (), progress: Progress = silent) -> Survey:
    """Look through a folder and its subfolders. Raises `DataError` when there is none; never because of one file."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; name the one with features and tables")
    groups: dict[tuple[Path, str, str | None], list[tuple[Path, int, str]]] = defaultdict(list)
    tables: list[Sketch] = []
    unreadable: dict[Path, str] = {}
    paths = [path for path in files_of(folder, but=folder / ".nothing") if not any(_inside(path, one) for one in but)]
    for number, path in enumerate(paths):
        progress(number, len(paths), path.name)
        if is_table(path):
            try:
                sketch = sketch_table(path)
            except DataError as error:
                unreadable[path] = str(error)
            else:
                if sketch.seen.rows:
                    tables.append(sketch)
                else:
                    unreadable[path] = "one line, and no row below it"
            continue
        found = recognise(path, Asked())
        if isinstance(found, NoBag) and found.layout == "mirror":
            found = _ours(path)
        if isinstance(found, FoundBag):
            groups[path.parent, found.layout, found.encoder].append((path, found.width, found.slide))
    progress(len(paths), len(paths))
    return Survey(folder, tuple(_group(key, files) for key, files in groups.items()), tuple(tables), unreadable)


def _inside(path: Path, folder: Path) -> bool:
    return folder.resolve() in (path.resolve(), *path.resolve().parents)


def _ours(path: Path) -> FoundBag | NoBag:
    try:
        bag = Bag(path)
    except DataError as error:
        return NoBag("mirror", str(error))

    def read() -> object:
        raise AssertionError("our own files are not imported")

    return FoundBag(path.stem, "mirror", bag.tiles, bag.width, bag.encoder, True, read)  # pyright: ignore[reportArgumentType]


def _group(key: tuple[Path, str, str | None], files: Sequence[tuple[Path, int, str]]) -> FeatureGroup:
    folder, layout, encoder = key
    alone = {path.stem for path in folder.iterdir() if path.suffix in ENDINGS and not path.name.startswith(".")}
    named = {path.stem for path, _, _ in files}
    readable = all(path.suffix in ENDINGS and path.stem == slide for path, _, slide in files) and alone == named
    direct = readable and _opens(files[0][0])
    widths = tuple(sorted({width for _, width, _ in files}))
    return FeatureGroup(folder, layout, encoder, widths, tuple(sorted(slide for _, _, slide in files)), direct)


def _opens(path: Path) -> bool:
    try:
        Bag(path)
    except DataError:
        return False
    return True
