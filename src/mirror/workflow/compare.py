"""`mirror compare`: the runs that are named, refused where they are not of the same patients and folds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mirror.artefacts import write_json, write_text
from mirror.config import load_config
from mirror.data.splits import load_folds
from mirror.errors import ArtefactError, ConfigError, DataError, raise_together
from mirror.evaluation.bootstrap import OUTCOMES, RESAMPLES
from mirror.evaluation.comparison import Comparison, Side, compare_representations, compare_runs
from mirror.evaluation.scores import read_predictions
from mirror.types import Fold, Progress, silent

SHOWN = 5


class Run(NamedTuple):
    """The evaluated output of one configuration."""

    name: str
    folds: tuple[Fold, ...]
    predictions: pd.DataFrame


def compare(
    paths: Sequence[Path],
    *,
    metrics: Sequence[str],
    against: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: Progress = silent,
) -> Comparison:
    """Compare runs pair by pair, or the representations of a single run with that called `against` (`fused`).

    A path is a configuration or its output folder. Raises `ConfigError` for a path that is neither or `against` with
    several runs, `DataError` where runs are of different patients, outcomes or folds, `ArtefactError` where one of
    them has not been evaluated.
    """
    runs = _named([open_run(path) for path in paths], paths)
    if len(runs) == 1:
        name = against or "fused"
        return compare_representations(
            _side(runs[0]), against=name, seed=seed, metrics=metrics, resamples=resamples, progress=progress
        )
    if against is not None:
        raise ConfigError("--against is for the representations of one run; name one run, or leave it out")
    for one, other in combinations(runs, 2):
        require_comparable(one, other)
    return compare_runs(
        [_side(run) for run in runs], seed=seed, metrics=metrics, resamples=resamples, progress=progress
    )


def open_run(path: Path) -> Run:
    """The evaluated output in a folder, or of a configuration. Raises as `compare` does."""
    if not path.exists():
        raise ConfigError(f"there is no {path}; name a configuration or its output folder")
    folder, name = (path, path.resolve().name) if path.is_dir() else _output_of(path)
    try:
        predictions = read_predictions(folder / "predictions.parquet")
        folds = load_folds(folder / "cohort" / "folds.json")
    except ArtefactError as error:
        raise ArtefactError(f"{path} has not been evaluated: {error}") from error
    return Run(name, folds, predictions)


def require_comparable(one: Run, other: Run) -> None:
    """Raise `DataError` unless both runs have the same folds of the same patients, and the same outcomes of them."""
    title = f"{one.name} and {other.name} cannot be compared"
    everybody = [{name for fold in run.folds for name in (*fold.train, *fold.test)} for run in (one, other)]
    lonely = [
        f"{len(own - theirs)} of {len(own)} patients are only in {run.name}: {_listed(own - theirs)}"
        for run, own, theirs in ((one, *everybody), (other, *reversed(everybody)))
        if own - theirs
    ]
    raise_together(DataError, f"{title}: they are of different cohorts; evaluate both on the same patients:", lonely)
    halves = [{fold.number: (set(fold.train), set(fold.test)) for fold in run.folds} for run in (one, other)]
    moved = [
        f"fold {number}: {_difference(halves[0].get(number), halves[1].get(number))}"
        for number in sorted({*halves[0], *halves[1]})
        if halves[0].get(number) != halves[1].get(number)
    ]
    raise_together(DataError, f"{title}: their folds differ; give both the same `folds`:", moved)
    raise_together(DataError, f"{title}: their outcomes differ; use the same clinical table:", _changed(one, other))


def require_ending(path: Path) -> None:
    """Raise `ConfigError` unless `write_comparison` can write `path`: before the work, not after it."""
    if path.suffix not in (".csv", ".json"):
        raise ConfigError(f"{path}: a comparison is written as .csv or .json")


def write_comparison(path: Path, found: Comparison, *, seed: int, resamples: int) -> None:
    """Write the table as .csv, or as .json with what it was made with. Raises `ConfigError` for another ending."""
    require_ending(path)
    if path.suffix == ".csv":
        write_text(path, found.table().to_csv(index=False))
        return
    rows = json.loads(found.table().to_json(orient="records", double_precision=15))
    write_json(path, {"seed": seed, "resamples": resamples, "rows": rows, "same": found.same})


def _output_of(config_file: Path) -> tuple[Path, str]:
    config = load_config(config_file)
    return config.output, config.name


def _named(runs: list[Run], paths: Sequence[Path]) -> list[Run]:
    """With names that tell them apart: the paths as given where the short ones do not."""
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return runs
    return [run._replace(name=str(path)) for run, path in zip(runs, paths, strict=True)]


def _side(run: Run) -> Side:
    return Side(run.name, run.predictions)


def _difference(one: tuple[set[str], set[str]] | None, other: tuple[set[str], set[str]] | None) -> str:
    if one is None or other is None:
        return "only one of them has it"
    moved = (one[0] ^ other[0]) | (one[1] ^ other[1])
    return f"{len(moved)} patients stand elsewhere: {_listed(moved)}"


def _changed(one: Run, other: Run) -> list[str]:
    problems: list[str] = []
    for outcome in OUTCOMES:
        if not all(outcome in run.predictions for run in (one, other)):
            continue
        known = [
            run.predictions.dropna(subset=[outcome]).drop_duplicates("patient").set_index("patient")[outcome]
            for run in (one, other)
        ]
        both = known[0].index.intersection(known[1].index)
        names = {str(name) for name in both if known[0][name] != known[1][name]}
        if names:
            problems.append(f"{outcome} of {len(names)} patients: {_listed(names)}")
    return problems


def _listed(names: set[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:SHOWN]) + (" ..." if len(ordered) > SHOWN else "")
