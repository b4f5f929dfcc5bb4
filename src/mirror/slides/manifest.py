"""Which slides there are: a manifest, or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mirror.data.tables import read_text_table
from mirror.errors import DataError, raise_together
from mirror.ids import SlideId

ENDINGS = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".svslide", ".bif", ".vms", ".vmu", ".czi", ".dcm")
"""What counts as a slide in a folder; a manifest may name any file."""


class SlideEntry(NamedTuple):
    """One slide: its name in every later file, where it lies, and its resolution in um/px where the manifest says."""

    slide: SlideId
    path: Path
    mpp: float | None


def read_manifest(source: Path) -> list[SlideEntry]:
    """The slides of a csv file (columns `slide`, `path`, optional `mpp`) or of a folder, in order of name.

    Relative paths are taken from the manifest's folder; in a folder a slide's name is its file's without the ending.
    Raises `DataError` that lists every row that is wrong; a file that is not there is not looked for here.
    """
    if source.is_dir():
        entries = [SlideEntry(SlideId(path.stem), path, None) for path in _slides_of(source)]
    else:
        entries = _rows_of(source)
    if not entries:
        raise DataError(f"{source} names no slide; a folder wants files ending in {', '.join(ENDINGS)}")
    problems = [f"slide '{name}' stands there twice" for name in _repeated([entry.slide for entry in entries])]
    problems += [
        f"'{entry.slide}' cannot be a file's name; rename the slide"
        for entry in entries
        if "/" in entry.slide or "\\" in entry.slide or entry.slide.startswith(".")
    ]
    raise_together(DataError, f"{source} cannot be used:", problems)
    return sorted(entries)


def _slides_of(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and not path.name.startswith(".")]


def _rows_of(source: Path) -> list[SlideEntry]:
    table = read_text_table(source, ["slide", "path"], optional=["mpp"])
    entries: list[SlideEntry] = []
    problems: list[str] = []
    for number, (slide, path, mpp) in enumerate(zip(table["slide"], table["path"], table["mpp"], strict=True), start=1):
        if not isinstance(slide, str) or not isinstance(path, str):
            problems.append(f"row {number} has no slide or no path")
            continue
        try:
            resolution = float(mpp) if isinstance(mpp, str) else None
        except ValueError:
            problems.append(f"row {number} (slide '{slide}'): mpp '{mpp}' is no number of um/px")
            continue
        entries.append(SlideEntry(SlideId(slide.strip()), source.resolve().parent / path.strip(), resolution))
    raise_together(DataError, f"{source} cannot be used:", problems)
    return entries


def _repeated(names: list[SlideId]) -> list[SlideId]:
    return sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
