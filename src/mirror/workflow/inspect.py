"""Look into the expression table of a configuration before anything is fitted, and leave account and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mirror.artefacts import write_json
from mirror.config import Config
from mirror.data.expression import read_expression
from mirror.data.inspection import Inspection, inspect_expression
from mirror.data.slide_table import read_owners
from mirror.data.tables import read_text_table
from mirror.errors import ConfigError
from mirror.evaluation.expression_report import write_components, write_library_sizes


class Inspected(NamedTuple):
    """What was found, the files that say it, the column of the groups (None without any), and whether the slide table
    said whom to look at."""

    inspection: Inspection
    files: tuple[Path, ...]
    by: str | None
    cohort_only: bool


def inspect_config(config: Config, *, by: str | None = None) -> Inspected:
    """Write `expression/inspection.json` and its pictures under `output`.

    `by` is a column of the clinical table that says each patient's batch or cohort; the label column, or the first of
    `groups`, when not given. Only the patients of the slide table are looked at, and of a wide file only they are read;
    everybody where there is no slide table yet. Raises `ConfigError` without an expression table, or when `by` is given
    without a clinical table, and whatever `read_expression` raises.
    """
    expression, clinical = config.cohort.expression, config.cohort.clinical
    if expression is None:
        raise ConfigError("there is nothing to inspect; name the table in `cohort.expression`")
    if by is not None and clinical is None:
        raise ConfigError(f"column '{by}' should stand in a clinical table; name the table in `cohort.clinical`")
    groups = None
    column = by or (None if clinical is None else next(iter(clinical.grouped_by), None))
    if clinical is not None and column is not None:
        table = read_text_table(clinical.path, [clinical.patient, column])
        told = table.dropna()
        groups = dict(zip(told[clinical.patient].astype(str), told[column].astype(str), strict=True))
    slides = config.cohort.slides
    patients = set(read_owners(slides).patients.values()) if slides.path.exists() else None
    inspection = inspect_expression(read_expression(expression, patients=patients).only(patients), groups)
    folder = config.output / "expression"
    files = [folder / "components.svg"]
    write_components(files[0], inspection)
    if inspection.sizes is not None:
        files.append(folder / "library_sizes.svg")
        write_library_sizes(files[-1], inspection)
    files.append(folder / "inspection.json")
    write_json(files[-1], {**inspection.as_json(), "grouped_by": column, "cohort_only": patients is not None})
    return Inspected(inspection, tuple(files), column, cohort_only=patients is not None)
