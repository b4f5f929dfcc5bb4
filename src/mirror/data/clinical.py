"""The clinical table: a subtype label and a survival endpoint for each patient, either of which may be missing."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

import pandas as pd

from mirror.config import ClinicalConfig
from mirror.data.endpoints import parse_event, parse_months
from mirror.data.ledger import Excluded
from mirror.data.tables import read_text_table
from mirror.data.text_files import COUNTED, row_name
from mirror.errors import DataError, nearest, raise_together


class ReadClinical(NamedTuple):
    """One row a patient, the rows left out, how many rows the file had, and `groups` of patients that may be artefacts.

    `patients` (index: patient) has `label` (str or None), `class_outside` (a label that is none of the classes, or
    None), `time` (months, NaN where there is no survival endpoint) and `event` (nullable boolean, True = happened).
    `groups`: column -> patient -> group, of the label (whatever class) and of the columns named in `groups`.
    `covariates` (index: patient): the columns to predict from, float64 with NaN, or str with None for categories.
    """

    patients: pd.DataFrame
    excluded: tuple[Excluded, ...]
    rows_given: int
    groups: Mapping[str, Mapping[str, str]]
    covariates: pd.DataFrame


def read_clinical(config: ClinicalConfig) -> ReadClinical:
    """Read labels and survival. Nothing is filled: a patient without time or event has no survival endpoint.

    Raises `DataError`, with all rows at fault, for missing columns, times and events that cannot be what the
    configuration says, patients whose rows contradict each other, and classes that do not occur.
    """
    named = {"patient": config.patient, "label": config.label, "time": config.time, "event": config.event}
    columns = {ours: theirs for ours, theirs in named.items() if theirs is not None}
    covariates = (*config.covariates.numbers, *config.covariates.categories)
    table = read_text_table(config.path, [*columns.values(), *config.grouped_by, *covariates])
    parts = {ours: table[columns[ours]] if ours in columns else None for ours in named}
    parts |= {f"group {name}": table[name] for name in config.grouped_by}
    parts |= {f"covariate {name}": table[name] for name in covariates}
    table = _spelled(pd.DataFrame(parts, index=table.index, dtype=object), config)
    kept, excluded = _one_row_a_patient(table, str(config.path))
    endpoints = _endpoints(kept, config)
    if config.classes is not None:
        endpoints = _within_classes(endpoints, config, config.classes)
    groups = {name: _told(kept, f"group {name}") for name in config.grouped_by}
    return ReadClinical(endpoints, tuple(excluded), len(table), groups, _covariates(kept, config))


def one_class(cells: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Words that are written in several ways which differ by case or spaces alone: the commonest way -> the others."""
    ways: dict[str, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        ways["".join(cell.split()).casefold()][cell] += 1
    ordered = [sorted(counts, key=lambda way: (-counts[way], way)) for counts in ways.values() if len(counts) > 1]
    return {first: tuple(others) for first, *others in ordered}


def _spelled(table: pd.DataFrame, config: ClinicalConfig) -> pd.DataFrame:
    """The table with the class that is meant in the place of each way to write it, in `label` and its group."""
    if config.label is None:
        return table
    present = tuple(sorted(table["label"].dropna().unique()))
    absent = [cell for cell in config.spellings if cell not in present]
    raise_together(
        DataError,
        f"{config.path}, column '{config.label}':",
        [f"'{cell}' of `spellings` does not occur{nearest(cell, present)}" for cell in absent],
    )
    columns = ("label", f"group {config.label}")
    meant = {name: table[name].replace(dict(config.spellings)) for name in columns}
    decided = {*config.spellings, *config.spellings.values()}
    wanted = set(present if config.classes is None else config.classes) - decided
    ways = one_class(meant["label"].dropna())
    several = {first: others for first, others in ways.items() if {first, *others} & wanted}
    raise_together(
        DataError,
        f"{config.path}, column '{config.label}' writes one class in ways that differ by case or spaces alone, which "
        "would count as so many classes; correct the table, or say what is meant in `clinical.spellings` (such as "
        f"{{{', '.join(f'{other!r}: {first!r}' for first, others in several.items() for other in others[:1])}}}):",
        [" and ".join(repr(way) for way in (first, *others)) for first, others in several.items()],
    )
    return table.assign(**meant)


def _one_row_a_patient(table: pd.DataFrame, source: str) -> tuple[pd.DataFrame, list[Excluded]]:
    unnamed = [f"{row_name(row)} names no patient; fill it in or remove it" for row in _where(table["patient"].isna())]
    raise_together(DataError, f"{source} ({COUNTED}):", unnamed)
    # A missing cell equals a missing cell.
    copies = table.fillna("").duplicated()
    distinct = table[~copies]
    clash = distinct[distinct["patient"].duplicated(keep=False)]
    problems = [
        f"patient '{patient}': " + " and ".join(row_name(int(row)) for row in rows.index) + "; keep the right one"
        for patient, rows in clash.groupby("patient")
    ]
    raise_together(DataError, f"{source} has rows of one patient that contradict each other ({COUNTED}):", problems)
    reason = "an identical copy of another row"
    return distinct, [Excluded("clinical", str(patient), reason, source) for patient in table["patient"][copies]]


def _endpoints(table: pd.DataFrame, config: ClinicalConfig) -> pd.DataFrame:
    times: list[float] = []
    events: list[bool | None] = []
    problems: list[str] = []
    for row, cells in zip(table.index, table[["patient", "time", "event"]].itertuples(index=False), strict=True):
        time, event = float("nan"), None
        try:
            if cells.time is not None:
                time = parse_months(str(cells.time), config.time_unit)
        except DataError as error:
            problems.append(f"{row_name(int(row))}, patient '{cells.patient}', column '{config.time}': {error}")
        try:
            if cells.event is not None and config.event_convention is not None:
                event = parse_event(str(cells.event), config.event_convention)
        except DataError as error:
            problems.append(f"{row_name(int(row))}, patient '{cells.patient}', column '{config.event}': {error}")
        complete = event is not None and time == time
        times.append(time if complete else float("nan"))
        events.append(event if complete else None)
    raise_together(
        DataError, f"{config.path} has survival that is not what the configuration says ({COUNTED}):", problems
    )
    index = pd.Index(table["patient"].astype(str), name="patient", dtype=object)
    frame = pd.DataFrame({"label": table["label"].to_numpy(dtype=object)}, index=index, dtype=object)
    frame["class_outside"] = pd.Series([None] * len(index), index=index, dtype=object)
    return frame.assign(time=times, event=pd.array(events, dtype="boolean"))


def _covariates(table: pd.DataFrame, config: ClinicalConfig) -> pd.DataFrame:
    columns: dict[str, list[float] | list[str | None]] = {}
    problems: list[str] = []
    for name in config.covariates.numbers:
        columns[name] = numbers = []
        for row, patient, cell in zip(table.index, table["patient"], table[f"covariate {name}"], strict=True):
            number = _number(cell)
            if number is None:
                problems.append(
                    f"{row_name(int(row))}, patient '{patient}', column '{name}': '{cell}' is not a finite number"
                )
            else:
                numbers.append(number)
    raise_together(
        DataError,
        f"{config.path} has covariates that are no numbers; mend them, or name `categories` ({COUNTED}):",
        problems,
    )
    for name in config.covariates.categories:
        columns[name] = [None if cell is None else str(cell) for cell in table[f"covariate {name}"]]
    index = pd.Index(table["patient"].astype(str), name="patient", dtype=object)
    frame = pd.DataFrame(columns, index=index)
    return frame.astype(dict.fromkeys(config.covariates.numbers, "float64"))


def _number(cell: object) -> float | None:
    """NaN for a missing cell, None for one that is no finite number."""
    if cell is None:
        return math.nan
    with suppress(ValueError):
        number = float(str(cell))
        return number if math.isfinite(number) else None
    return None


def _within_classes(endpoints: pd.DataFrame, config: ClinicalConfig, classes: tuple[str, ...]) -> pd.DataFrame:
    present = tuple(sorted(endpoints["label"].dropna().unique()))
    absent = [f"class '{name}' does not occur{nearest(name, present)}" for name in classes if name not in present]
    raise_together(DataError, f"{config.path}, column '{config.label}':", absent)
    outside = endpoints["label"].notna() & ~endpoints["label"].isin(classes)
    return endpoints.assign(
        class_outside=endpoints["label"].where(outside, None), label=endpoints["label"].where(~outside, None)
    )


def _told(table: pd.DataFrame, column: str) -> dict[str, str]:
    """Patient -> cell, of those who have one."""
    known = table[table[column].notna()]
    return dict(zip(known["patient"].astype(str), known[column].astype(str), strict=True))


def _where(mask: pd.Series) -> list[int]:
    return [position for position, value in enumerate(mask) if value]
