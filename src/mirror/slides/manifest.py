"""Which slides there are: a manifest, or a folder."""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mirror.artefacts import write_aside
from mirror.data.tables import read_text_table
from mirror.errors import DataError, first_line, raise_together
from mirror.ids import SlideId

ENDINGS = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".svslide", ".bif", ".vms", ".vmu", ".czi")
"""What counts as a slide in a folder; a manifest may name any file."""

BOUNDED = (".mrxs", ".scn", ".bif", ".tif", ".tiff", ".czi")
"""Those of which OpenSlide may know bounds: a part with pixels, in a larger canvas that its level-0 px count in."""

LONGEST_NAME = 180
"""Bytes of a slide's name; file systems take 255, some of which a file written aside needs."""


class SlideEntry(NamedTuple):
    """One slide: its name in every later file, where it lies, and its resolution in um/px where the manifest says."""

    slide: SlideId
    path: Path
    mpp: float | None


def read_manifest(source: Path) -> list[SlideEntry]:
    """The slides of a csv file (columns `slide`, `path`, optional `mpp`) or of a folder, in order of name.

    Relative paths are taken from the manifest's folder; in a folder and its subfolders, as the GDC's client makes one
    for each slide, a slide's name is its file's without the ending. Raises `DataError` that lists every row that is
    wrong; a file that is not there is not looked for here.
    """
    if not source.exists():
        raise DataError(f"there is neither a folder of slides nor a manifest {source}; correct `slides`")
    if source.is_dir():
        entries = [SlideEntry(SlideId(path.stem), path, None) for path in _slides_of(source)]
    else:
        entries = _rows_of(source)
    if not entries:
        raise DataError(f"{source} names no slide; a folder wants files ending in {', '.join(ENDINGS)}")
    problems = [f"slide '{slide}' stands there twice: {paths}" for slide, paths in _repeated(entries)]
    problems += [
        f"'{entry.slide}' cannot be a file's name; rename the slide"
        for entry in entries
        if "/" in entry.slide or "\\" in entry.slide or entry.slide.startswith(".")
    ]
    problems += [
        f"'{entry.slide}' has more than {LONGEST_NAME} bytes; give the slide a shorter name in a manifest"
        for entry in entries
        if len(entry.slide.encode()) > LONGEST_NAME
    ]
    raise_together(DataError, f"{source} cannot be used:", problems)
    return sorted(entries)


def entries_of(source: Path) -> Mapping[SlideId, SlideEntry]:
    """The slides of a folder, of a manifest, or of the `slides.jsonl` that `mirror slides` left, by name.

    Paths that `slides.jsonl` does not give whole are taken from its folder. Raises `DataError`.
    """
    if source.suffix != ".jsonl":
        return {entry.slide: entry for entry in read_manifest(source)}
    try:
        lines = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
        return {SlideId(line["slide"]): _entry(line, source.parent) for line in lines}
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise DataError(f"{source} is damaged ({first_line(error)}); run `mirror slides` again") from error


def may_have_bounds(name: str | Path) -> bool:
    """False where a slide's file, or its name, has an ending of slides whose pixels fill the canvas."""
    ending = Path(name).suffix.lower()
    return ending in BOUNDED or ending not in ENDINGS


def write_manifest(path: Path, entries: Iterable[SlideEntry]) -> None:
    """Write a manifest of the slides, to be filled in where a resolution is missing."""
    with write_aside(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["slide", "path", "mpp"])
        table.writerows([entry.slide, entry.path, "" if entry.mpp is None else entry.mpp] for entry in entries)


def _entry(line: Mapping[str, Any], folder: Path) -> SlideEntry:
    return SlideEntry(SlideId(line["slide"]), folder / line["path"], line.get("mpp"))


def _slides_of(folder: Path) -> list[Path]:
    found: list[Path] = []
    dicom: Path | None = None
    seen: set[Path] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        # A link may lead back to a folder above it.
        folders[:] = [] if (real := Path(place).resolve()) in seen else [name for name in folders if name[0] != "."]
        files = [] if real in seen else [Path(place, name) for name in files if name[0] != "."]
        seen.add(real)
        found += [path for path in files if path.suffix.lower() in ENDINGS]
        dicom = dicom or next((path for path in files if path.suffix.lower() == ".dcm"), None)
    if dicom is not None:
        raise DataError(
            f"{folder} has DICOM files, such as {dicom}: a slide is several of them; write a manifest that names one "
            "file of each slide"
        )
    return found


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


def _repeated(entries: list[SlideEntry]) -> list[tuple[SlideId, str]]:
    paths: dict[SlideId, list[str]] = defaultdict(list)
    for entry in entries:
        paths[entry.slide].append(str(entry.path))
    return [(slide, ", ".join(of_slide)) for slide, of_slide in sorted(paths.items()) if len(of_slide) > 1]
