"""Look into the expression table of a configuration before anything is fitted, and leave account and pictures."""

from __future__ import annotations

from collections.abc import Sequence
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
    """What was found, the files that say it, and whether the slide table said whom to look at."""

    inspection: Inspection
    files: tuple[Path, ...]
    cohort_only: bool


def inspect_config(config: Config, *, by: Sequence[str] = ()) -> Inspected:
    """Write `expression/inspection.json` and its pictures under `output`.

    `by` are columns of the clinical table that say each patient's batch or cohort; the label column and those in
    `groups` when not given. Only the patients of the slide table are looked at, and of a wide file only they are read;
    everybody where there is no slide table yet. Raises `ConfigError` without an expression table, or when `by` is given
    without a clinical table, and whatever `read_expression` raises.
    """
    expression, clinical = config.cohort.expression, config.cohort.clinical
    if expression is None:
        raise ConfigError("there is nothing to inspect; name the table in `cohort.expression`")
    if by and clinical is None:
        raise ConfigError(f"column '{by[0]}' should stand in a clinical table; name the table in `cohort.clinical`")
    groups: dict[str, dict[str, str]] = {}
    if clinical is not None and (columns := list(dict.fromkeys(by or clinical.grouped_by))):
        table = read_text_table(clinical.path, [clinical.patient, *columns])
        for column in columns:
            told = table[table[clinical.patient].notna() & table[column].notna()]
            groups[column] = dict(zip(told[clinical.patient].astype(str), told[column].astype(str), strict=True))
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
    write_json(files[-1], {**inspection.as_json(), "cohort_only": patients is not None})
    return Inspected(inspection, tuple(files), cohort_only=patients is not None)
