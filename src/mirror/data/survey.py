"""What lies in a folder that could make a cohort: tile features and tables, told apart by what is in them.

Nothing here decides for the user: every finding carries its reason, and what the files do not say is left open.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from mirror.data.feature_store import ENDINGS, Bag
from mirror.data.importers.found import Asked, FoundBag, NoBag
from mirror.data.importers.recognise import files_of, recognise
from mirror.data.tables import Glance, glance, is_table, read_text_table
from mirror.errors import DataError
from mirror.ids import TcgaBarcode
from mirror.types import Progress, silent

MANY_NUMBERS = 50
"""Columns of numbers from which on a table of patients is taken for expression."""

FEW_COLUMNS = 200
"""Columns of a table that are read whole, to see what is in them."""

MANY_VALUES = 20
"""Different values up to which a column may be a label."""

ENOUGH = 0.2
"""Share of a table's names, or of the patients, that must be known for the table to be of this cohort."""

Role = Literal["slides", "expression", "clinical"]


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


@dataclass(frozen=True, slots=True)
class Sketch:
    """A table: the first rows of it, and of the columns that were read whole, the cells."""

    path: Path
    seen: Glance
    cells: Mapping[str, Sequence[str | None]] = field(repr=False)

    def values(self, column: str) -> list[str]:
        """The cells of a column that are not empty."""
        return [cell for cell in self.cells.get(column, ()) if cell is not None]

    def numeric(self, column: str) -> bool:
        """Whether all the cells that were seen are numbers, and there are some."""
        return _is_numeric(self.seen, self.seen.columns.index(column))


class Ownership(NamedTuple):
    """The patient of each slide, and how that is known. `table` where a table says it, by `columns` (slide,
    patient)."""

    patients: dict[str, str]
    unknown: tuple[str, ...]
    reason: str
    table: Path | None = None
    columns: tuple[str, str] | None = None


class Matched(NamedTuple):
    """A table that fits a role, with the reason; `column` names its patients, `identifiers` how."""

    sketch: Sketch
    reason: str
    known: int
    column: str | None = None
    orientation: Literal["patients_in_rows", "genes_in_rows"] | None = None
    identifiers: Literal["patient", "tcga"] = "patient"


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
                tables.append(_sketch(path))
            except DataError as error:
                unreadable[path] = str(error)
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


def _sketch(path: Path) -> Sketch:
    seen = glance(path)
    counts = Counter(seen.columns)
    numbers = [_is_numeric(seen, place) for place in range(len(seen.columns))]
    # Of a table of measurements the numbers are not read: their names and first rows say enough.
    measured = sum(numbers) >= MANY_NUMBERS
    columns = [
        name
        for place, name in enumerate(seen.columns)
        if counts[name] == 1 and (place == 0 or not (measured and numbers[place]))
    ]
    wanted = columns[:FEW_COLUMNS]
    cells = read_text_table(path, wanted) if wanted else None
    return Sketch(path, seen, {} if cells is None else {name: cells[name].tolist() for name in wanted})


def _is_numeric(seen: Glance, place: int) -> bool:
    cells = [cell for row in seen.rows if (cell := row[place]) is not None]
    return bool(cells) and all(map(_is_number, cells))


def owners_by_table(slides: Sequence[str], tables: Iterable[Sketch]) -> list[Ownership]:
    """Tables with a column of these slides, each with the column beside it that most likely names patients."""
    found: list[Ownership] = []
    wanted = set(slides)
    for sketch in tables:
        for column in sketch.cells:
            listed = [cell for cell in sketch.values(column) if cell in wanted]
            if len(set(listed)) < max(1, ENOUGH * len(wanted)):
                continue
            others = _patient_columns(sketch, column)
            if others:
                cells = zip(sketch.cells[column], sketch.cells[others[0]], strict=True)
                known = {slide: owner for slide, owner in cells if slide in wanted and slide and owner}
                unknown = tuple(sorted(wanted - known.keys()))
                reason = f"column '{column}' names {len(known)} of the {len(wanted)} slides"
                found.append(Ownership(known, unknown, reason, sketch.path, (column, others[0])))
                break
    return sorted(found, key=lambda one: -len(one.patients))


def _patient_columns(sketch: Sketch, slide_column: str) -> list[str]:
    """Columns that may name the patient of a slide: by their name, else those whose cells begin the slide's name."""
    likely = ("case_id", "patient_id", "patient", "case", "submitter_id", "bcr_patient_barcode", "case_submitter_id")
    by_name = [name for name in sketch.cells if name.lower() in likely and name != slide_column]
    pairs = {name: zip(sketch.cells[slide_column], sketch.cells[name], strict=True) for name in sketch.cells}
    begins = [
        name
        for name, cells in pairs.items()
        if name != slide_column and all(slide.startswith(owner) for slide, owner in cells if slide and owner)
    ]
    filled = [name for name in begins if sketch.values(name) and not sketch.numeric(name)]
    return list(dict.fromkeys([*by_name, *filled]))


def owners_by_name(slides: Sequence[str], tables: Iterable[Sketch]) -> Ownership | None:
    """The patient that each slide's name begins with: a TCGA barcode's, or one that a table knows. None where
    neither."""
    barcodes = {slide: patient for slide in slides if (patient := tcga_patient(slide)) is not None}
    if len(barcodes) > 0.9 * len(slides):
        left = tuple(slide for slide in slides if slide not in barcodes)
        return Ownership(barcodes, left, "the slides are named by TCGA barcodes, which begin with the patient")
    best: Ownership | None = None
    for names, where in _name_lists(tables):
        known = {slide: owner for slide in slides if (owner := _begins_with(slide, names)) is not None}
        if known and (best is None or len(known) > len(best.patients)):
            left = tuple(slide for slide in slides if slide not in known)
            best = Ownership(known, left, f"the slides' names begin with patients that {where}")
    return best


def _name_lists(tables: Iterable[Sketch]) -> Iterable[tuple[set[str], str]]:
    for sketch in tables:
        for column in sketch.cells:
            if not sketch.numeric(column) or len(set(sketch.values(column))) == len(sketch.values(column)):
                yield set(sketch.values(column)), f"column '{column}' of {sketch.path.name} names"
        yield set(sketch.seen.columns), f"the header of {sketch.path.name} names"


def _begins_with(slide: str, names: Collection[str]) -> str | None:
    """The longest of `names` that is `slide`, or stands before the first sign of it that is no letter or digit."""
    ends = [place for place, sign in enumerate(slide) if not sign.isalnum()]
    for end in (len(slide), *reversed(ends)):
        if slide[:end] in names and end:
            return slide[:end]
    return None


def tcga_patient(name: str) -> str | None:
    """The patient of a TCGA barcode, None where the name is none."""
    try:
        return TcgaBarcode.parse(name).patient
    except DataError:
        return None


def expression_tables(tables: Iterable[Sketch], patients: Collection[str]) -> list[Matched]:
    """Tables of numbers about these patients, those that know most of them first."""
    found = [
        one
        for sketch in tables
        for one in (_genes_in_rows(sketch, patients), _patients_in_rows(sketch, patients))
        if one
    ]
    return sorted(found, key=lambda one: -one.known)


def _genes_in_rows(sketch: Sketch, patients: Collection[str]) -> Matched | None:
    header = sketch.seen.columns[1:]
    best = _identified(header, patients)
    if best is None or best.known < ENOUGH * min(len(patients), len(header)):
        return None
    sample = [name for name in header if header.count(name) == 1][:MANY_NUMBERS]
    if not sample or sum(sketch.numeric(name) for name in sample) < 0.8 * len(sample):
        return None
    reason = f"its header names {best.known} of the {len(patients)} patients, so genes are in rows"
    return Matched(sketch, reason, best.known, sketch.seen.columns[0], "genes_in_rows", best.identifiers)


def _patients_in_rows(sketch: Sketch, patients: Collection[str]) -> Matched | None:
    names = sketch.seen.columns
    # Of a wide table some columns tell as much as all.
    some = [name for name in names[:: max(1, len(names) // 400)] if names.count(name) == 1]
    numbers = sum(sketch.numeric(name) for name in some) * len(names) / max(1, len(some))
    if numbers < MANY_NUMBERS:
        return None
    found = _patient_column(sketch, patients)
    if found is None:
        return None
    column, best = found
    reason = (
        f"column '{column}' names {best.known} of the {len(patients)} patients, and about {numbers:.0f} are numbers"
    )
    return Matched(sketch, reason, best.known, column, "patients_in_rows", best.identifiers)


def clinical_tables(tables: Iterable[Sketch], patients: Collection[str]) -> list[Matched]:
    """Tables of few columns about these patients, those that know most of them first."""
    found: list[Matched] = []
    for sketch in tables:
        if len(sketch.seen.columns) > FEW_COLUMNS or _patients_in_rows(sketch, patients):
            continue
        named = _patient_column(sketch, patients, barcodes=False)
        if named is not None and len(sketch.seen.columns) > 1:
            column, best = named
            reason = f"column '{column}' names {best.known} of the {len(patients)} patients"
            found.append(Matched(sketch, reason, best.known, column))
    return sorted(found, key=lambda one: -one.known)


class _Identified(NamedTuple):
    known: int
    identifiers: Literal["patient", "tcga"]


def _identified(names: Sequence[str], patients: Collection[str], *, barcodes: bool = True) -> _Identified | None:
    """How many patients these names are, taken as they are or, where that says more, as barcodes of samples."""
    wanted = set(patients)
    direct = len(wanted & set(names))
    parsed = {patient for name in names if (patient := tcga_patient(name)) is not None} if barcodes else set[str]()
    by_barcode = len(wanted & parsed)
    if by_barcode > direct:
        return _Identified(by_barcode, "tcga")
    return _Identified(direct, "patient") if direct else None


def _patient_column(
    sketch: Sketch, patients: Collection[str], *, barcodes: bool = True
) -> tuple[str, _Identified] | None:
    best: tuple[str, _Identified] | None = None
    for column in sketch.cells:
        found = _identified(sketch.values(column), patients, barcodes=barcodes)
        if found is not None and (best is None or found.known > best[1].known):
            best = column, found
    return (
        best if best is not None and best[1].known >= ENOUGH * min(len(patients), len(sketch.cells[best[0]])) else None
    )


def likely_labels(sketch: Sketch, *, but: Collection[str]) -> list[str]:
    """Columns of few different words: what a subtype is written as. Numbers and sites are not guessed to be one."""
    found: list[str] = []
    for column in sketch.cells:
        counts = Counter(sketch.values(column))
        few = 2 <= len(counts) <= MANY_VALUES and max(counts.values(), default=0) > 1
        if column not in but and few and not sketch.numeric(column):
            found.append(column)
    return sorted(
        found, key=lambda name: not _says(name, ("subtype", "oncotree", "histolog", "label", "class", "type"))
    )


def likely_times(sketch: Sketch, *, but: Collection[str]) -> list[str]:
    """Columns of many numbers that are no less than zero, those called like a time first."""
    named = ("survival", "follow", "time", "months", "days", "years")
    found = [name for name in sketch.cells if name not in but and sketch.numeric(name) and _all(sketch, name, _is_time)]
    several = [name for name in found if len(set(sketch.values(name))) > MANY_VALUES // 2 or _says(name, named)]
    return sorted(several, key=lambda name: (not _says(name, named), _says(name, ("age", "birth"))))


def likely_events(sketch: Sketch, *, but: Collection[str]) -> list[str]:
    """Columns of exactly two values, zero and one or dead and alive, those called like an event first."""
    words = ("event", "censor", "status", "death", "dead", "vital", "os")
    two = ({"0", "1"}, {"0.0", "1.0"})
    found: list[str] = []
    for column in sketch.cells:
        values = {value.lower() for value in sketch.values(column)}
        if column not in but and (values in two or (values and all(_is_vital(value) for value in values))):
            found.append(column)
    return sorted(found, key=lambda name: not _says(name, words))


def time_unit_of(column: str) -> Literal["days", "months", "years"] | None:
    """The unit that a column is called by."""
    for unit in ("days", "months", "years"):
        if unit[:-1] in column.lower():
            return unit
    return None


def _is_vital(value: str) -> bool:
    return value.rpartition(":")[2] in ("deceased", "living", "dead", "alive")


def _says(name: str, words: Iterable[str]) -> bool:
    return any(word in name.lower() for word in words)


def _all(sketch: Sketch, column: str, test: Callable[[str], bool]) -> bool:
    return all(test(cell) for cell in sketch.values(column))


def _is_time(cell: str) -> bool:
    return _is_number(cell) and float(cell) >= 0


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
