"""Which of the tables of a folder are a cohort's: who owns the slides, where expression stands, where the clinic.

Nothing here decides for the user: every finding carries its reason, and what the tables do not say is left open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from mirror.data.sketch import FEW_COLUMNS, MANY_NUMBERS, Sketch
from mirror.ids import TcgaBarcode

ENOUGH = 0.2
"""Share of a table's names, or of the patients, that must be known for the table to be of this cohort."""


class Ownership(NamedTuple):
    """The patient of each slide, and how that is known. `table` where a table says it, by `columns` (slide,
    patient)."""

    patients: dict[str, str]
    unknown: tuple[str, ...]
    reason: str
    table: Path | None = None
    columns: tuple[str, str] | None = None


class Matched(NamedTuple):
    """A table that fits a role, with the reason; `column` names its patients (or genes), `identifiers` how; `samples`
    are the columns of a table with genes in rows that are of these patients."""

    sketch: Sketch
    reason: str
    known: int
    column: str | None = None
    orientation: Literal["patients_in_rows", "genes_in_rows"] | None = None
    identifiers: Literal["patient", "tcga"] = "patient"
    samples: frozenset[str] = frozenset()


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
    barcode = TcgaBarcode.of(name)
    return None if barcode is None else barcode.patient


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
    named = tcga_patient if best.identifiers == "tcga" else str
    of_them = frozenset(name for name in header if named(name) in set(patients))
    return Matched(sketch, reason, best.known, sketch.seen.columns[0], "genes_in_rows", best.identifiers, of_them)


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


def clinical_tables(tables: Iterable[Sketch], patients: Collection[str], slides: Collection[str] = ()) -> list[Matched]:
    """Tables of few columns about these patients, those that know most of them first. One that says which of the
    `slides` is whose, and nothing else, says nothing about patients."""
    found: list[Matched] = []
    for sketch in tables:
        if len(sketch.seen.columns) > FEW_COLUMNS or _patients_in_rows(sketch, patients):
            continue
        if len(sketch.seen.columns) == 2 and owners_by_table(tuple(slides), [sketch]):
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
