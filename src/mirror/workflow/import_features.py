"""Feature files of other tools become ours, once: every file accounted for, none of them ends the run."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mirror.artefacts import write_text
from mirror.data.feature_file import BagFacts
from mirror.data.feature_store import Bag
from mirror.data.importers.convert import Converted, Origin, convert, converted_before, facts_if_ours, stamp_of
from mirror.data.importers.found import Asked, FoundBag, NoBag
from mirror.data.importers.recognise import Sighting, attempt, look_through
from mirror.data.tables import read_text_table
from mirror.data.text_files import row_name
from mirror.errors import DataError, raise_together
from mirror.types import Progress, silent

State = Literal["imported", "already", "skipped", "failed", "refused"]

PLAUSIBLE_MPP = (0.1, 1.5)
"""Resolutions that slides are scanned at, um/px."""


class FileAccount(NamedTuple):
    """What became of one file. `path` is relative to the folder; `remarks` say why, or what was not understood."""

    path: str
    state: State
    layout: str
    slide: str | None = None
    tiles: int | None = None
    width: int | None = None
    encoder: str | None = None
    coords_unit: str | None = None
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class ImportAccount:
    """One entry a file, in order of name; `refusal` says why nothing was written where the folder is no one cohort.

    `set_aside`: our files of sources that were imported once and failed now.
    """

    files: list[FileAccount] = field(default_factory=list)
    set_aside: list[Path] = field(default_factory=list)
    refusal: str | None = None

    def count(self, state: State) -> int:
        """Files of that state."""
        return sum(file.state == state for file in self.files)


def import_folder(
    folder: Path,
    output: Path,
    *,
    asked: Asked | None = None,
    slide_mpp: Mapping[str, float] | float | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> ImportAccount:
    """Write `<slide>.h5` into `output` for every bag of tiles under `folder`, and import.jsonl with every file.

    What is there already, made from the same file in the same way, is not made again. What an earlier call made of a
    file that fails now is set aside as `<slide>.h5.stale`, which no cohort reads. A slide that was imported from
    outside `folder` fails, unless `overwrite` has it replaced. Features of two encoders, magnifications or widths, in
    the folder or beside what `output` has, are refused as a whole. Raises `DataError` without a folder.
    """
    asked = asked or Asked()
    if folder.resolve() == output.resolve():
        raise DataError(f"{output} is the folder to import; the originals stay as they are, so name another --output")
    sightings: list[Sighting] = []
    for sighting in look_through(folder, asked, but=output):
        sightings.append(sighting)
        progress(0, len(sightings), f"looking at {sighting.path.name}")
    account = ImportAccount()
    chosen, passed = _choose(sightings, asked)
    account.refusal = _refusal(chosen, output, asked)
    made_before = {facts.source_path: path for path, facts in _ours(output) if facts.source_path is not None}
    try:
        for done, (path, found) in enumerate(sightings):
            progress(done, len(sightings), path.name)
            name = str(path.relative_to(folder))
            entry: FileAccount | None = None
            if path in passed:
                entry = passed[path]._replace(path=name)
            elif isinstance(found, FoundBag):
                entry = _entry(name, found, asked)
                if account.refusal is None:
                    mpp = slide_mpp.get(found.slide) if isinstance(slide_mpp, Mapping) else slide_mpp
                    inside = None if overwrite else folder
                    entry = _import(entry, path, found, output, asked=asked, slide_mpp=mpp, inside=inside)
            if entry is None:
                continue
            stale = made_before.get(_seen_from(output, path)) if account.refusal is None else None
            if entry.state == "failed" and stale is not None:
                aside = stale.replace(stale.with_name(f"{stale.name}.stale"))
                account.set_aside.append(aside)
                remark = f"what an earlier import made of it is set aside as {aside}"
                entry = entry._replace(remarks=(*entry.remarks, remark))
            account.files.append(entry)
        progress(len(sightings), len(sightings))
    finally:
        lines = (json.dumps(file._asdict(), ensure_ascii=False) for file in account.files)
        write_text(output / "import.jsonl", "".join(f"{line}\n" for line in lines))
    return account


def read_slide_mpp(text: str) -> dict[str, float] | float:
    """Resolution of level 0: a number, or a table with the columns `slide_id` and `mpp`.

    Raises `DataError` where it is neither, or is outside 0.1 to 1.5 um/px.
    """
    try:
        return _plausible(text, "--slide-mpp")
    except ValueError:
        path = Path(text)
    table = read_text_table(path, ("slide_id", "mpp"))
    found: dict[str, float] = {}
    problems: list[str] = []
    for row, (slide, mpp) in enumerate(zip(table["slide_id"], table["mpp"], strict=True)):
        try:
            found[str(slide)] = _plausible(str(mpp), row_name(row))
        except (ValueError, DataError) as error:
            problems.append(f"{row_name(row)}: {error}")
    raise_together(DataError, f"{path}:", problems)
    return found


def _plausible(text: str, where: str) -> float:
    value = float(text)
    if not PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1]:
        raise DataError(
            f"{where}: {value:g} um/px is not between {PLAUSIBLE_MPP[0]} and {PLAUSIBLE_MPP[1]}; correct it"
        )
    return value


def _entry(name: str, found: FoundBag, asked: Asked) -> FileAccount:
    encoder = asked.encoder or found.encoder
    return FileAccount(name, "refused", found.layout, found.slide, found.tiles, found.width, encoder)


def _choose(sightings: Iterable[Sighting], asked: Asked) -> tuple[list[Sighting], dict[Path, FileAccount]]:
    """Which bags to import, and what is to be said of the other files."""
    passed: dict[Path, FileAccount] = {}
    by_slide: dict[str, list[tuple[Path, FoundBag]]] = defaultdict(list)
    for path, found in sightings:
        if isinstance(found, NoBag):
            passed[path] = FileAccount("", "skipped", found.layout, remarks=(found.reason,))
        elif isinstance(found, DataError):
            passed[path] = FileAccount("", "failed", "", remarks=(str(found),))
        elif asked.encoder is not None and found.encoder not in (None, asked.encoder):
            reason = f"its encoder is {found.encoder}, not {asked.encoder}"
            passed[path] = _entry("", found, Asked())._replace(state="skipped", remarks=(reason,))
        else:
            by_slide[found.slide].append((path, found))
    chosen: list[Sighting] = []
    for bags in by_slide.values():
        best = [(path, found) for path, found in bags if found.has_coords == any(bag.has_coords for _, bag in bags)]
        if len({found.encoder for _, found in best}) < len(best):
            names = ", ".join(str(path) for path, _ in best)
            for path, found in best:
                reason = f"its slide has {len(best)} files ({names}); import one folder at a time"
                passed[path] = _entry("", found, asked)._replace(state="failed", remarks=(reason,))
        else:
            chosen += [Sighting(path, found) for path, found in best]
        for path, found in bags:
            if (path, found) not in best:
                reason = f"the same slide has positions in {best[0][0].name}, which is taken"
                passed[path] = _entry("", found, asked)._replace(state="skipped", remarks=(reason,))
    return chosen, passed


def _ours(output: Path) -> Iterator[tuple[Path, BagFacts]]:
    """Our files in `output`, each with what it says of itself."""
    for path in sorted(output.glob("[!.]*.h5")):
        if (facts := facts_if_ours(path)) is not None:
            yield path, facts


def _seen_from(output: Path, path: Path) -> str:
    """The way from `output` to `path`, which stays true when both are moved together."""
    return os.path.relpath(os.path.realpath(path), os.path.realpath(output))


def _refusal(chosen: Iterable[Sighting], output: Path, asked: Asked) -> str | None:
    encoders: dict[str, list[str]] = defaultdict(list)
    widths: dict[int, list[str]] = defaultdict(list)
    magnifications: dict[float, list[str]] = defaultdict(list)
    for path, found in chosen:
        assert isinstance(found, FoundBag)
        widths[found.width].append(str(path))
        if found.magnification is not None:
            magnifications[found.magnification].append(str(path))
        if (encoder := asked.encoder or found.encoder) is not None:
            encoders[encoder].append(str(path))
    for path, facts in _ours(output):
        bag = attempt(path, lambda path=path: Bag(path))
        if isinstance(bag, DataError):
            continue
        widths[bag.width].append(str(path))
        if facts.target_magnification is not None:
            magnifications[facts.target_magnification].append(str(path))
        if facts.encoder is not None:
            encoders[facts.encoder].append(str(path))
    if len(encoders) > 1:
        return (
            f"features of {len(encoders)} encoders would be one cohort: {_of_each(encoders)}; take one with --encoder, "
            "each into an --output of its own"
        )
    if len(magnifications) > 1:
        each = _of_each({f"{value:g}x": paths for value, paths in magnifications.items()})
        return (
            f"features of {len(magnifications)} magnifications would be one cohort: {each}; import one folder at a time"
        )
    if len(widths) > 1:
        return f"features of {len(widths)} widths would be one cohort: {_of_each(widths)}; import one folder at a time"
    return None


def _of_each(kinds: Mapping[Any, list[str]]) -> str:
    return "; ".join(f"{kind} in {len(paths)} files, such as {paths[0]}" for kind, paths in sorted(kinds.items()))


def _import(
    entry: FileAccount,
    path: Path,
    found: FoundBag,
    output: Path,
    *,
    asked: Asked,
    slide_mpp: float | None,
    inside: Path | None,
) -> FileAccount:
    """Import one file. What was imported from outside `inside` (None: from anywhere) is not replaced."""
    target = output / f"{found.slide}.h5"
    made_of = Origin(_seen_from(output, path), stamp_of(path, found, asked=asked, slide_mpp=slide_mpp))
    there = facts_if_ours(target) if target.exists() else None
    if there is not None and there.source_stamp == made_of.stamp:
        before = attempt(target, lambda: converted_before(target, there))
        if isinstance(before, Converted):
            return entry._replace(state="already", coords_unit=before.coords_unit, remarks=before.notes)
    # `mirror slides` stamps its files too.
    foreign = there is None or there.source_stamp is None or (there.source or "").startswith("mirror slides")
    if target.exists() and foreign:
        return entry._replace(
            state="failed", remarks=(f"{target} is there and was not imported; name another --output",)
        )
    if there is not None and inside is not None:
        source = None if there.source_path is None else Path(os.path.normpath(output.resolve() / there.source_path))
        if source is None or not source.is_relative_to(inside.resolve()):
            remark = (
                f"{target} was imported from {source or 'another folder'}; --overwrite replaces it by this one, "
                "another --output keeps both"
            )
            return entry._replace(state="failed", remarks=(remark,))
    done = attempt(path, lambda: convert(found, target, asked=asked, slide_mpp=slide_mpp, made_of=made_of))
    if isinstance(done, Converted):
        target.with_name(f"{target.name}.stale").unlink(missing_ok=True)
        return entry._replace(state="imported", coords_unit=done.coords_unit, remarks=done.notes)
    return entry._replace(state="failed", remarks=(str(done),))
