"""The cohort stage: join the tables once, and again only when an input has changed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from mirror.artefacts import SCHEMA, hash_file, read_json, remove, write_json
from mirror.config import CohortConfig, Config, checked, differing, load_config, settings_of
from mirror.data.cohort import Cohort, build_cohort
from mirror.data.remote import fetched
from mirror.data.splits import load_folds
from mirror.errors import ArtefactError, ConfigError, raise_together
from mirror.types import Progress, silent
from mirror.workflow.inputs import inputs_stamp

_TABLES = ("cohort.parquet", "covariates.parquet", "excluded.csv", "expression.h5ad", "without_slide.parquet")
COHORT_FILES = (*_TABLES, "folds.json", "cohort.json")
"""What `Cohort.save` writes; `expression.h5ad` and `without_slide.parquet` where there is something to write."""


def cohort_folder(config: Config) -> Path:
    """Where the stage leaves its files."""
    return config.output / "cohort"


def prepare_cohort(config: Config, *, keep: bool = True, progress: Progress = silent) -> Cohort:
    """The cohort of a configuration: as it was left, or built when it is not there whole or an input has changed.

    An input counts as changed when its size or time of change is another one; the cohort's own files are checked by
    their hashes. What was built is kept in `output`; with `keep` False only where that can be written to, and not in
    the place of a cohort of other folds, by which runs were trained: to read a run must not change it. Raises what
    `build_cohort` raises, and `ConfigError` when `output` cannot be a folder.
    """
    folder = cohort_folder(config)
    there = next(path for path in (config.output, *config.output.parents) if path.exists())
    if not there.is_dir():
        raise ConfigError(f"`output` {config.output}: {there} is a file; name a folder")
    stamp = inputs_stamp(config.cohort)
    stamped = folder / "inputs.json"
    with suppress(ArtefactError):  # missing, damaged or of another version: it is built (again)
        if read_json(stamped) == {"schema": SCHEMA, "stamp": stamp, "files": _hashes(folder)}:
            fetched(config.cohort, progress=progress)  # on another machine, copies may not be there yet
            return Cohort.load(folder)
    cohort = build_cohort(config.cohort, progress=progress)
    if keep or (os.access(folder if folder.is_dir() else there, os.W_OK) and not _of_other_folds(folder, cohort)):
        remove(stamped)
        cohort.save(folder)
        write_json(stamped, {"stamp": stamp, "files": _hashes(folder)})
    return cohort


def kept_cohort(config: Config) -> Cohort:
    """The cohort as it was left, for stages that read what others made of it; no input is read.

    Raises `ArtefactError` when it is missing or damaged, or was joined by other settings than those of `config`: what
    is told of it would be told in words that are not its own.
    """
    folder = cohort_folder(config)
    cohort = Cohort.load(folder)
    if "settings" in cohort.facts:
        joined_by = checked(cohort.facts["settings"], CohortConfig, where=folder / "cohort.json")
    else:  # of a version that did not keep them; a run has had the whole configuration since the first
        trained = sorted(config.output.glob("runs/seed*/fold*/config.yaml"))
        joined_by = (load_config(trained[0]) if trained else config).cohort
    raise_together(
        ArtefactError,
        f"{folder} was joined by other settings than the configuration's; name the configuration it was joined by, or "
        "join it anew with `mirror cohort` and take the stages after it again:",
        differing(settings_of(config.cohort), settings_of(joined_by), above="cohort"),
    )
    return cohort


def _of_other_folds(folder: Path, cohort: Cohort) -> bool:
    """True where a cohort is kept whose patients are dealt to folds in another way."""
    try:
        return load_folds(folder / "folds.json") != tuple(cohort.folds)
    except ArtefactError:
        return False


def _hashes(folder: Path) -> dict[str, str]:
    return {file: hash_file(folder / file) for file in COHORT_FILES if (folder / file).exists()}
