"""The view stage: gathers what the other stages left, for the page of `mirror view`; nothing is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.errors import ArtefactError, ConfigError
from mirror.evaluation.audit.cohort import sites_of
from mirror.evaluation.scores import read_predictions
from mirror.slides.manifest import read_manifest
from mirror.training.runs import run_folder
from mirror.viewer.contents import Contents, ShownRun
from mirror.workflow.audit import configuration_of, read_groups
from mirror.workflow.cohort import cohort_folder
from mirror.workflow.evaluate import predictions_file
from mirror.workflow.pretrain import wanted_runs


def view(path: Path, *, slides: Path | None) -> Contents:
    """What can be looked at of the configuration, or of the output folder, `path`.

    `slides`: a folder or a manifest of slide files; where it is not given, the account that `mirror slides` left
    beside the features says where they lie. Raises `ConfigError` when `path` is neither, and `ArtefactError` when
    nothing has been embedded.
    """
    config = configuration_of(path)
    cohort = Cohort.load(cohort_folder(config))
    groups, _ = read_groups(config, cohort)
    clinical = config.cohort.clinical
    predictions = predictions_file(config)
    return Contents(
        name=config.name,
        preset=config.preset,
        cohort=cohort,
        runs=_runs(config, cohort),
        predictions=read_predictions(predictions) if predictions.exists() else None,
        sites=sites_of(cohort, groups, label=clinical.label if clinical else None),
        files=_files(config, cohort, slides),
        explained=config.output / "explain",
        path=path,
    )


def _runs(config: Config, cohort: Cohort) -> Mapping[str, ShownRun]:
    runs: dict[str, ShownRun] = {}
    for seed, fold in wanted_runs(config, cohort, fold=None, seed=None):
        folder = run_folder(config.output, seed=seed, fold=fold.number)
        if folder.embeddings.exists():
            name = folder.path.relative_to(config.output / "runs").as_posix()
            runs[name] = ShownRun(name, seed, fold, folder.embeddings)
    if not runs:
        raise ArtefactError(f"{config.output} has no embeddings; run `mirror run` or `mirror embed` first")
    return runs


def _files(config: Config, cohort: Cohort, given: Path | None) -> Mapping[str, Path]:
    """The file of each slide of the cohort that has one."""
    if given is not None:
        found = {str(entry.slide): entry.path for entry in read_manifest(given)}
        files = {slide: found[slide] for slide in cohort.owners if slide in found}
        if not files:
            raise ConfigError(
                f"no slide of the cohort is in {given}: it has {', '.join(sorted(found)[:3])}, the cohort "
                f"{', '.join(sorted(cohort.owners)[:3])}; a manifest (slide,path) can name them as the cohort does"
            )
        return {slide: path for slide, path in files.items() if path.is_file()}
    told = _account(config.cohort.features.path.parent / "slides.jsonl")
    return {slide: path for slide, path in told.items() if slide in cohort.owners and path.is_file()}


def _account(path: Path) -> Mapping[str, Path]:
    if not path.is_file():
        return {}
    try:
        lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {str(line["slide"]): path.parent / line["path"] for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(
            f"{path} is damaged ({error}); run `mirror slides` again, or name them by --slides"
        ) from None
