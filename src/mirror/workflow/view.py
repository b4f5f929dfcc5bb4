"""The view stage: gathers what the other stages left, for the page of `mirror view`; the run is not written to."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.errors import ArtefactError, ConfigError
from mirror.evaluation.audit.cohort import sites_of
from mirror.evaluation.scores import read_predictions, read_provenance
from mirror.explain.offered import anything_offered, kind_told
from mirror.ids import SlideId
from mirror.slides.manifest import SlideEntry, entries_of
from mirror.training.runs import run_folder
from mirror.viewer.contents import PROTOCOLS, Contents, ShownRun
from mirror.workflow.audit import configuration_of, read_groups
from mirror.workflow.cohort import kept_cohort
from mirror.workflow.evaluation_files import predictions_file
from mirror.workflow.explain_slide import Wanted, explain_slides
from mirror.workflow.explained import rows_of, run_judging
from mirror.workflow.pretrain import wanted_runs
from mirror.workflow.prototypes import learned_directions


@contextmanager
def view(path: Path, *, slides: Path | None) -> Generator[Contents]:
    """What can be looked at of the configuration, or of the output folder, `path`; what the page makes goes at the end.

    `slides`: a folder or a manifest of slide files; where it is not given, the account that `mirror slides` left
    beside the features says where they lie. Raises `ConfigError` when `path` is neither, `ArtefactError` when
    nothing has been embedded or the cohort is of another configuration, and `LeakError` when a run was trained on whom
    its fold tests by now.
    """
    config = configuration_of(path)
    cohort = kept_cohort(config)
    groups, _ = read_groups(config, cohort)
    clinical = config.cohort.clinical
    runs = _runs(config, cohort)
    with TemporaryDirectory(prefix="mirror-view-") as made:

        def explain(slide: str) -> object:
            run = run_judging(cohort, config, cohort.owners[slide])
            wanted = Wanted(names=[slide], run=run, output=Path(made, str(run)))
            return explain_slides(config, wanted, cohort=cohort)  # of its own it would keep a cohort of today's tables

        yield Contents(
            name=config.name,
            preset=config.preset,
            cohort=cohort,
            runs=runs,
            predictions=_predictions(predictions_file(config), runs.values()),
            sites=sites_of(cohort, groups, label=clinical.label if clinical else None),
            files=_files(config, cohort, slides),
            explained=config.output / "explain",
            made_in=Path(made),
            explain=explain,
            offered=anything_offered(kind_told(config.model)),
            config=path if path.is_file() else next(iter(runs.values())).embeddings.with_name("config.yaml"),
        )


def _runs(config: Config, cohort: Cohort) -> Mapping[str, ShownRun]:
    runs: dict[str, ShownRun] = {}
    for seed, fold in wanted_runs(config, cohort, fold=None, seed=None):
        folder = run_folder(config.output, seed=seed, fold=fold.number)
        if folder.embeddings.exists():
            folder.require_blind(fold)
            model = folder.read_record()["fingerprint"]
            rows_of(folder, model)
            name = folder.path.relative_to(config.output / "runs").as_posix()
            prototypes = partial(learned_directions, config, folder)
            runs[name] = ShownRun(name, seed, fold, model, folder.embeddings, prototypes)
    if not runs:
        raise ArtefactError(f"{config.output} has no embeddings; run `mirror run` or `mirror embed` first")
    return runs


def _predictions(path: Path, runs: Iterable[ShownRun]) -> pd.DataFrame | None:
    """Those of runs as they are trained now; of a run that was trained anew since they say nothing."""
    if not path.exists():
        return None
    judged = {*read_provenance(path).get("runs", ())}
    table = read_predictions(path, protocols=PROTOCOLS)
    known = {(run.seed, run.fold.number) for run in runs if run.model in judged}
    return table[[key in known for key in zip(table["seed"], table["fold"], strict=True)]]


def _files(config: Config, cohort: Cohort, given: Path | None) -> Mapping[str, Path]:
    """The file of each slide of the cohort that has one."""
    if given is not None:
        found = entries_of(given)
        if not any(slide in found for slide in cohort.owners):
            raise ConfigError(
                f"no slide of the cohort is in {given}: it has {', '.join(sorted(found)[:3])}, the cohort "
                f"{', '.join(sorted(cohort.owners)[:3])}; a manifest (slide,path) can name them as the cohort does"
            )
        return {slide: found[SlideId(slide)].path for slide in cohort.owners if _is_there(found, slide)}
    told = config.cohort.features.path.parent / "slides.jsonl"
    found = entries_of(told) if told.is_file() else {}
    return {slide: found[SlideId(slide)].path for slide in cohort.owners if _is_there(found, slide)}


def _is_there(found: Mapping[SlideId, SlideEntry], slide: str) -> bool:
    return slide in found and found[SlideId(slide)].path.is_file()
