"""A sweep: the same rows of settings on several cohorts, as one closed file; every row is a complete configuration.

A row says how a model is made and trained, a cohort's configuration file where its data lies. So a row replaces the
sections `preset`, `model` and `pretraining` of that file, and what it says of `cohort` and `refinement` goes over them.
What is measured (`evaluation`) is no row's affair, because numbers of one table are to be comparable: it is the
cohorts', with what the sweep says over it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from mirror.config import Config, Section, explain, merge, read_mapping, resolve
from mirror.errors import ConfigError, nearest, raise_together

BASELINES = "baselines"
"""Folder, beside a cohort's rows, of what needs no training."""
_OF_THE_ROW = ("preset", "model", "pretraining")
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class SweepRow(Section):
    """Settings of one row: the preset it starts from, and what it sets otherwise."""

    preset: str
    model: Mapping[str, Any] = {}
    """Keys of the section `model`."""
    pretraining: Mapping[str, Any] = {}
    """Keys of the section `pretraining`."""
    cohort: Mapping[str, Any] = {}
    """Keys of the section `cohort`, over those of each cohort's file; paths as in that file."""
    refinement: Mapping[str, Any] | None = None
    """Keys of the section `refinement`, over those of each cohort's file; null: all genes."""
    pool: tuple[str | Mapping[str, Any], ...] = ()
    """As the key `pool` of a configuration, paths as in the cohort's file; a cohort is not pooled with itself."""


class SweepConfig(Section):
    """The root. `mirror sweep` takes one of these."""

    name: str
    output: Path
    """A row's runs, embeddings and scores are written to `<output>/<cohort>/<row>`, the tables to `<output>`."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """Of every row, whatever the cohorts' files say."""
    cohorts: Annotated[tuple[Path, ...], Field(min_length=1)]
    """Configuration files, one a cohort."""
    rows: Annotated[Mapping[str, SweepRow], Field(min_length=1)]
    """A section a row, by name."""
    evaluation: Mapping[str, Any] = {}
    """Keys of the section `evaluation`, over those of each cohort's file, for every row and the baselines."""
    compared: str | None = None
    """The row that is compared with every other one, besides the free baselines."""

    @model_validator(mode="after")
    def _names_are_usable(self) -> Self:
        for name in self.rows:
            if not _FOLDER_NAME.fullmatch(name) or name == BASELINES:
                raise ValueError(f"a row cannot be called '{name}': it names a folder, and {BASELINES} is one already")
        if self.compared is not None and self.compared not in self.rows:
            raise ValueError(f"`compared`: there is no row '{self.compared}'{nearest(self.compared, tuple(self.rows))}")
        return self


class SweepCohort(NamedTuple):
    """What a sweep does on one cohort: a configuration for the free baselines and one a row."""

    name: str
    baselines: Config
    rows: Mapping[str, Config]


def load_sweep(path: Path) -> SweepConfig:
    """Read and check a sweep file; its paths are taken from its folder. The rows are checked by `resolve_sweep`."""
    try:
        sweep = SweepConfig.model_validate(read_mapping(path))
    except ValidationError as error:
        raise ConfigError(f"{path}:\n{explain(error, SweepConfig)}") from None
    folder = path.resolve().parent

    def placed(given: Path) -> Path:
        return Path(folder, given.expanduser()).resolve()

    return sweep.model_copy(update={"output": placed(sweep.output), "cohorts": tuple(map(placed, sweep.cohorts))})


def resolve_sweep(sweep: SweepConfig) -> tuple[SweepCohort, ...]:
    """The complete configuration of every row on every cohort, before anything is run.

    Raises `ConfigError` with every row that is no configuration, and when two cohorts have one name.
    """
    cohorts: list[SweepCohort] = []
    problems: list[str] = []
    for file in sweep.cohorts:
        content = read_mapping(file)
        name = str(content.get("name"))
        if not _FOLDER_NAME.fullmatch(name) or name in {cohort.name for cohort in cohorts}:
            problems.append(f"{file}: `name` {name} names a folder; letters, digits, '-', '_', '.', each name once")
        configs: dict[str, Config] = {}
        for row in (BASELINES, *sweep.rows):
            try:
                configs[row] = _resolve_row(sweep, row, content, file)
            except ConfigError as error:
                problems.append(f"{row}: {error}")
        baselines = configs.pop(BASELINES, None)
        if baselines is not None:
            cohorts.append(SweepCohort(name, baselines, configs))
    raise_together(ConfigError, f"sweep {sweep.name} has rows that are no configuration:", problems)
    return tuple(cohorts)


def _resolve_row(sweep: SweepConfig, row: str, content: Mapping[str, Any], file: Path) -> Config:
    """`content` of the cohort's `file` with the row's settings; the baselines have none and need none."""
    content = {key: value for key, value in content.items() if key not in _OF_THE_ROW}
    content = merge(content, {"evaluation": sweep.evaluation})
    if row != BASELINES:
        content = merge(content, sweep.rows[row].model_dump(exclude_unset=True))
        content["pool"] = [one for one in content.get("pool") or () if not _is_file(one, file)]
    output = sweep.output / str(content.get("name")) / row
    return resolve({**content, "output": str(output), "seeds": sweep.seeds}, where=file)


def _is_file(pooled: object, file: Path) -> bool:
    return isinstance(pooled, str) and Path(file.parent, pooled).resolve() == file
