"""A commented configuration from what was found in a folder and what the user answered."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from mirror.artefacts import write_text
from mirror.config import Config, FeaturesConfig, load_config
from mirror.data.cohort_tables import Matched, Ownership
from mirror.data.expression import CBIOPORTAL
from mirror.data.importers.found import Asked
from mirror.data.matrix import read_matrix
from mirror.data.sketch import Sketch
from mirror.data.survey import FeatureGroup
from mirror.data.unit_checks import Guess, check_units, guess_units
from mirror.errors import ConfigError, DataError
from mirror.types import Progress, silent
from mirror.workflow.import_features import import_folder

Convention = Literal["one_is_event", "one_is_censored", "deceased_or_living"]

_SHOWN = 5
"""Lines of a refusal that are shown below its first one."""


@dataclass(frozen=True, slots=True)
class Label:
    """The column of the subtype: `classes` to tell apart (None: all), what is meant by its `spellings`, and how many
    patients each class has."""

    column: str
    classes: tuple[str, ...] | None
    spellings: Mapping[str, str]
    counts: Counter[str]


@dataclass(frozen=True, slots=True)
class Survival:
    """The columns of a survival endpoint and what they say, as the user answered."""

    time: str
    time_unit: str
    event: str
    convention: Convention


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything a configuration needs; `features` is a folder that a run reads."""

    name: str
    features: Path
    group: FeatureGroup
    slides: Path
    slide_columns: tuple[str, str]
    owners: Ownership
    expression: Matched | None = None
    units: str | None = None
    clinical: Matched | None = None
    label: Label | None = None
    survival: Survival | None = None
    folds: int = 5


def plain_name(text: str) -> str:
    """A name that a folder can have, made of `text`."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._") or "cohort"


def imported(group: FeatureGroup, target: Path, *, progress: Progress = silent) -> Path:
    """The group's features as our own files in `target`. Raises `DataError` where some cannot be imported."""
    account = import_folder(group.folder, target, asked=Asked(group.encoder), progress=progress)
    if account.refusal is not None:
        raise DataError(account.refusal)
    failed = [f"{file.path}: {' '.join(file.remarks)}" for file in account.files if file.state == "failed"]
    if failed:
        raise DataError(f"{len(failed)} files could not be imported ({failed[0]}); `mirror import` says of each why")
    return target


def write_slide_table(path: Path, owners: Ownership) -> None:
    """Write the patient of each slide as a table, for the user to correct."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("slide_id", "case_id"))
    rows.writerows(sorted(owners.patients.items()))
    write_text(path, text.getvalue())


class Measured:
    """The values of an expression table, read once: to say what they look like, and hold units against them."""

    def __init__(self, table: Matched) -> None:
        self._path = table.sketch.path
        transposed = table.orientation == "genes_in_rows"
        assert table.column is not None  # a table of expression has a column of names
        # What else describes a gene (its symbol, kind, Entrez number) is no sample, and is not held against units.
        wanted = table.samples.__contains__ if transposed else None
        self._matrix = read_matrix(
            self._path, (table.column,), ignored=described_by(table), wanted=wanted, transposed=transposed
        )

    @property
    def guess(self) -> Guess:
        """What the values look like."""
        return guess_units(self._matrix.values)

    def refusal(self, units: str) -> str | None:
        """Why the values cannot be in these units, or None."""
        matrix = self._matrix
        try:
            check_units(matrix.values, units, rows=matrix.rows, genes=matrix.columns, source=self._path.name)
        except (DataError, ConfigError) as error:
            first, *rest = str(error).splitlines()
            return "\n".join(
                [first, *rest[:_SHOWN], *([f"  ... and {len(rest) - _SHOWN} more"] * (len(rest) > _SHOWN))]
            )
        return None


def described_by(table: Matched) -> tuple[str, ...]:
    """Columns of an expression table that describe its rows and are no numbers of them: texts, and Entrez numbers."""
    sketch = table.sketch
    if table.orientation == "genes_in_rows":
        others = [name for name in sketch.seen.columns[1:] if name not in table.samples]
        texts = [name for name in others if sketch.seen.columns.count(name) == 1 and not sketch.numeric(name)]
        return tuple(name for name in others if name in texts or name in CBIOPORTAL)
    return tuple(name for name in sketch.cells if name != table.column and not sketch.numeric(name))


def told_by_event(sketch: Sketch, column: str) -> tuple[Counter[str], bool]:
    """How often each value of an event column stands there, and whether they are words that say what they mean."""
    counts = Counter(sketch.values(column))
    return counts, not all(value in ("0", "1", "0.0", "1.0") for value in counts)


def write_draft(path: Path, draft: Draft) -> Config:
    """Write the configuration and read it back, so that what is written is one."""
    write_text(path, render(draft, path.parent))
    return load_config(path)


def render(draft: Draft, folder: Path) -> str:
    """The configuration as YAML with a reason beside each line that was found or answered; paths from `folder`."""
    slide, patient = draft.slide_columns
    encoder = draft.group.encoder
    features: dict[str, Any] = {"path": _relative(draft.features, folder)}
    if encoder is not None:
        features["encoder"] = encoder
    bad = FeaturesConfig.model_fields["on_bad"].default
    lines = [
        f"# Written by `mirror init`. `mirror run {draft.name}.yaml` does the whole job; every key is in the "
        f"documentation",
        "# (docs/configuration.md), and `mirror config show` prints those that are not here.",
        _line(0, "name", draft.name),
        _line(0, "output", f"runs/{draft.name}", "everything that is made"),
        "cohort:",
        f"  # {draft.group.title}",
        *_section("features", {**features, "on_bad": bad}, {"on_bad": "or exclude: leave out empty and damaged files"}),
        f"  # {draft.owners.reason}"
        + (f"; slides without patient: {len(draft.owners.unknown)}" * bool(draft.owners.unknown)),
        *_section("slides", {"path": _relative(draft.slides, folder), "slide": slide, "patient": patient}),
        *_expression(draft, folder),
        *_clinical(draft, folder),
        *_section("folds", {"count": draft.folds}, {"count": "cross-validation by patient; or path: your own folds"}),
        _line(0, "preset", "mirror", "or alignment-only, published"),
        _line(0, "seeds", [0], "more seeds, such as [0, 1, 2], say what training by chance adds"),
    ]
    return "\n".join(lines) + "\n"


def _expression(draft: Draft, folder: Path) -> list[str]:
    table = draft.expression
    if table is None:
        return ["  # No expression table was found or wanted: without one there is no pretraining."]
    assert draft.units is not None
    content: dict[str, Any] = {"path": _relative(table.sketch.path, folder)}
    ignored = described_by(table)
    if set(CBIOPORTAL) <= set(table.sketch.seen.columns):
        content["layout"] = "cbioportal"
        ignored = tuple(name for name in ignored if name not in CBIOPORTAL)
    else:
        content |= {"orientation": table.orientation, "id": table.column}
    if ignored:
        content["ignore_columns"] = list(ignored)
    content |= {"identifiers": table.identifiers, "units": draft.units}
    notes = {
        "layout": "genes in rows, named by Hugo_Symbol or, where that is empty, by Entrez_Gene_Id",
        "ignore_columns": "these describe a row and are no expression",
        "identifiers": "patient or tcga (barcodes)",
        "units": "as answered; a run refuses values that cannot be",
    }
    return [f"  # {table.reason}", *_section("expression", content, notes)]


def _clinical(draft: Draft, folder: Path) -> list[str]:
    table = draft.clinical
    if table is None:
        return ["  # No clinical table was found or wanted: nothing is judged without a label or survival."]
    content: dict[str, Any] = {"path": _relative(table.sketch.path, folder), "patient": table.column}
    notes: dict[str, str] = {}
    if draft.label is not None:
        content["label"] = draft.label.column
        notes["label"] = ", ".join(f"{name} {count}" for name, count in draft.label.counts.most_common())
        if draft.label.spellings:
            content["spellings"] = dict(draft.label.spellings)
            notes["spellings"] = "as the table writes a class: what is meant"
        if draft.label.classes is not None:
            content["classes"] = list(draft.label.classes)
            notes["classes"] = "patients of other classes stay in pretraining"
    if draft.survival is not None:
        told = draft.survival
        content |= {"time": told.time, "time_unit": told.time_unit, "event": told.event}
        content["event_convention"] = told.convention
        notes["event_convention"] = "as answered; the report says how many events that makes"
    return [f"  # {table.reason}", *_section("clinical", content, notes)]


def _section(name: str, content: Mapping[str, Any], notes: Mapping[str, str] | None = None) -> list[str]:
    lines = [_line(2, key, value, (notes or {}).get(key)) for key, value in content.items()]
    return [f"  {name}:", *(f"  {line}" for line in lines)]


def _line(indent: int, key: str, value: Any, note: str | None = None) -> str:
    dumped = yaml.safe_dump([value], default_flow_style=True, width=10_000, allow_unicode=True).strip()[1:-1]
    comment = "" if note is None else f"  # {' '.join(note.split())}"
    return f"{' ' * indent}{key}: {dumped}{comment}"


def _relative(path: Path, folder: Path) -> str:
    """From the configuration's folder where the path lies below it or beside it, else as it is."""
    found = os.path.relpath(path.resolve(), folder.resolve())
    return str(path.resolve()) if found.startswith("../../..") else Path(found).as_posix()
