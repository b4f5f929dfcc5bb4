"""The slides of a cohort: the slide table joined with the feature files, each of them looked into once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

from mirror.config import FeaturesConfig, SlidesConfig
from mirror.data.feature_store import Bag, BagSummary, find_bags, inspect_bag
from mirror.data.hdf5 import TileScale
from mirror.data.ledger import Excluded
from mirror.data.tables import read_text_table
from mirror.data.text_files import COUNTED, row_name
from mirror.errors import DataError, raise_together
from mirror.ids import SlideId
from mirror.types import Progress, silent

_Number = TypeVar("_Number", int, float)

MPP_TOLERANCE = 1.2
"""Resolutions whose ratio is within this are the same one: 0.46 and 0.5 um/px are both "20x", 0.25 and 0.5 are not."""


class SlideRow(NamedTuple):
    """A slide that is kept: whose it is, where its features are and what is in them."""

    slide: SlideId
    patient: str
    path: Path
    summary: BagSummary


class ReadOwners(NamedTuple):
    """The slide table: the patient of each slide, the rows left out, and how many rows the file had."""

    patients: dict[SlideId, str]
    excluded: tuple[Excluded, ...]
    rows_given: int
    source: str


class ReadSlides(NamedTuple):
    """The slides to keep, in order of name, what was left out, how many feature files there were, and their kind."""

    slides: tuple[SlideRow, ...]
    excluded: tuple[Excluded, ...]
    files_given: int
    encoder: str | None
    scale: TileScale
    """What the files say of resolution and tile size, as far as they do."""

    @property
    def revisions(self) -> list[str]:
        """Revisions of the encoder that the files name."""
        return sorted({row.summary.revision for row in self.slides if row.summary.revision is not None})


def read_owners(config: SlidesConfig) -> ReadOwners:
    """Read the slide table. Raises one `DataError` for all nameless rows and slides of two patients."""
    table = read_text_table(config.path, (config.slide, config.patient))
    owners: dict[SlideId, str] = {}
    first: dict[SlideId, int] = {}
    excluded: list[Excluded] = []
    problems: list[str] = []
    for row, (name, patient) in enumerate(zip(table[config.slide], table[config.patient], strict=True)):
        slide = SlideId(name)
        if name is None or patient is None:
            problems.append(f"{row_name(row)} lacks its slide or its patient; fill it in or remove the row")
        elif slide not in owners:
            owners[slide], first[slide] = patient, row
        elif owners[slide] == patient:
            excluded.append(Excluded("slide", slide, "an identical copy of another row", str(config.path)))
        else:
            problems.append(
                f"slide '{slide}' is patient '{owners[slide]}' in {row_name(first[slide])} and '{patient}' in "
                f"{row_name(row)}; keep the right one"
            )
    raise_together(DataError, f"{config.path} ({COUNTED}):", problems)
    return ReadOwners(owners, tuple(excluded), len(table), str(config.path))


def read_slides(
    owners: ReadOwners, config: FeaturesConfig, *, thorough: bool = True, progress: Progress = silent
) -> ReadSlides:
    """Find the feature file of each slide of the table and read it through.

    Not `thorough` opens the files without reading their values: for the account of problems of a run that must stop
    anyway. Raises `DataError` when no slide has features, features are of two widths or encoders, or a bag is bad and
    `on_bad` says stop.
    """
    bags = find_bags(config.path)
    listed = sorted(owners.patients.keys() & bags.keys())
    if not listed:
        raise DataError(
            f"no slide of {owners.source} has features in {config.path}: the table names {_three(owners.patients)}, "
            f"the files are {_three(bags)}; set `slides.slide` to the right column, or rename the files"
        )
    excluded = [
        Excluded("slide", slide, "no feature file", owners.source)
        for slide in sorted(owners.patients.keys() - bags.keys())
    ]
    excluded += [
        Excluded("feature_file", bags[slide].name, "its slide is not in the slide table", str(bags[slide]))
        for slide in sorted(bags.keys() - owners.patients.keys())
    ]
    rows: list[SlideRow] = []
    bad: dict[SlideId, str] = {}
    for done, slide in enumerate(listed):
        progress(done, len(listed), "reading features")
        try:
            summary = _sound(bags[slide]) if thorough else _opened(bags[slide])
            rows.append(SlideRow(slide, owners.patients[slide], bags[slide].resolve(), summary))
        except DataError as error:
            bad[slide] = str(error)
    progress(len(listed), len(listed), "reading features")
    if config.on_bad == "stop" or not rows:
        otherwise = ", take them away, or set `features.on_bad: exclude` in a configuration" if rows else ""
        raise_together(DataError, f"feature files cannot be used; mend them{otherwise}:", bad.values())
    for slide, reason in bad.items():
        excluded.append(Excluded("slide", slide, reason, str(bags[slide])))
        excluded.append(Excluded("feature_file", bags[slide].name, reason, str(bags[slide])))
    _require_one_width(rows)
    encoder, scale = _one_encoder(rows, config.encoder), _one_scale(rows)
    return ReadSlides(tuple(rows), tuple(excluded), len(bags), encoder, scale)


def duplicate_features(rows: Iterable[SlideRow]) -> list[list[str]]:
    """Groups of slides whose features are equal to the last bit: most likely one slide under several names."""
    same: dict[tuple[int, str], list[str]] = defaultdict(list)
    for row in rows:
        same[row.summary.tiles, row.summary.feature_hash].append(row.slide)
    return [slides for slides in same.values() if len(slides) > 1]


def _sound(path: Path) -> BagSummary:
    summary = inspect_bag(path)
    if summary.bad_rows:
        raise DataError(
            f"{path} has NaN or infinite values in {summary.bad_rows} of {summary.tiles} tiles, the first in "
            f"{row_name(summary.first_bad_row or 0)}; extract its features again"
        )
    return summary


def _opened(path: Path) -> BagSummary:
    bag = Bag(path)
    return BagSummary(bag.tiles, bag.width, "", 0, None, bag.encoder, bag.revision, bag.scale)


def _require_one_width(rows: list[SlideRow]) -> None:
    by_width: dict[int, list[SlideRow]] = defaultdict(list)
    for row in rows:
        by_width[row.summary.width].append(row)
    if len(by_width) > 1:
        found = [
            f"width {width}: {len(some)} files, such as {some[0].path}" for width, some in sorted(by_width.items())
        ]
        raise_together(DataError, "features are of several widths; keep those of one encoder:", found)


def _one_encoder(rows: list[SlideRow], named: str | None) -> str | None:
    """The encoder the configuration or the files name; files that name none are taken on trust."""
    by_encoder: dict[str, list[Path]] = defaultdict(list)
    for row in rows:
        if row.summary.encoder is not None:
            by_encoder[row.summary.encoder].append(row.path)
    found = [f"{encoder}: {len(paths)} files, such as {paths[0]}" for encoder, paths in sorted(by_encoder.items())]
    if named is not None and by_encoder.keys() - {named}:
        raise_together(DataError, f"`features.encoder` is {named}, but files name others; correct it:", found)
    if len(by_encoder) > 1:
        raise_together(DataError, "features are of several encoders; keep those of one:", found)
    return named or next(iter(by_encoder), None)


def _one_scale(rows: list[SlideRow]) -> TileScale:
    """Resolution, tile side and magnification of the files; those that say nothing are taken on trust, as encoders."""
    tile_px = _the_one(((row.summary.scale.tile_px, row.path) for row in rows), "tiles of several sizes", " px")
    magnification = _the_one(
        ((row.summary.scale.magnification, row.path) for row in rows), "several magnifications", "x"
    )
    mpp = [(row.summary.scale.mpp, row) for row in rows if row.summary.scale.mpp is not None]
    least, most = min(mpp, key=lambda one: one[0], default=None), max(mpp, key=lambda one: one[0], default=None)
    if least is not None and most is not None and not same_mpp(least[0], most[0]):
        raise DataError(
            f"features are of several resolutions: {least[0]:g} um/px in {least[1].path}, {most[0]:g} um/px in "
            f"{most[1].path}; keep those of one"
        )
    return TileScale(median(value for value, _ in mpp) if mpp else None, tile_px, magnification)


def _the_one(told: Iterable[tuple[_Number | None, Path]], several: str, unit: str) -> _Number | None:
    """The value that files tell, None where none does. Raises `DataError` where it is not the same for all who do."""
    files: dict[_Number, list[Path]] = defaultdict(list)
    for value, path in told:
        if value is not None:
            files[value].append(path)
    if len(files) > 1:
        found = [f"{value:g}{unit}: {len(some)} files, such as {some[0]}" for value, some in sorted(files.items())]
        raise_together(DataError, f"features are of {several}; keep those of one:", found)
    return next(iter(files), None)


def same_mpp(first: float, second: float) -> bool:
    """Whether two resolutions mean the same magnification: scanners differ by some percent, magnifications by half."""
    return max(first, second) <= MPP_TOLERANCE * min(first, second)


def _three(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:3])
