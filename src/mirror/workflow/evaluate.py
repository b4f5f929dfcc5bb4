"""The evaluation stage: every run's embeddings beside the free baselines, fold by fold, into one table of scores."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import anndata
import pandas as pd
from joblib import cpu_count

from mirror.artefacts import fingerprint, write_json
from mirror.config import Config
from mirror.data.panel import GenePanel
from mirror.errors import ArtefactError
from mirror.evaluation import metrics
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.intervals import interval_table
from mirror.evaluation.protocols import FoldResult, evaluate_fold
from mirror.evaluation.representations import PatientTable
from mirror.evaluation.scores import (
    RunOrigin,
    score_table,
    stamped,
    write_intervals,
    write_predictions,
    write_scores,
)
from mirror.evaluation.supervised import SupervisedFold
from mirror.training.runs import RunFolder, run_folder
from mirror.types import Fold, Progress, silent
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.evaluation_files import (
    account_file,
    current_scores,
    intervals_file,
    patients_mark,
    predictions_file,
    scores_file,
)
from mirror.workflow.patient_table import patient_table
from mirror.workflow.pretrain import wanted_runs
from mirror.workflow.supervised import load_fold, supervised_file

MANY_PATIENTS = 300


def evaluate_runs(
    config: Config,
    *,
    representations: Sequence[str] | None = None,
    jobs: int | None = None,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Score every run of the configuration and write scores, intervals, predictions and the account.

    All representations, or only `representations`; `jobs` processes judge them, one a core for cohorts that take longer
    than processes take to start when not given. Scores that are there already and were made from these embeddings
    with these settings are left as they are. Returns the scores. Raises `ArtefactError` when a run has not been
    embedded, `LeakError` when it was trained on patients whom the folds of now test.
    """
    cohort = prepare_cohort(config, progress=progress)
    runs = wanted_runs(config, cohort, fold=None, seed=None)
    embedded: list[anndata.AnnData] = []
    for seed, fold in runs:
        run = run_folder(config.output, seed=seed, fold=fold.number)
        embedded.append(load_embeddings(run.embeddings))
        run.require_blind(fold)
    others = [_beside(config, table, seed, fold) for table, (seed, fold) in zip(embedded, runs, strict=True)]
    panels = [chosen_genes(config, run_folder(config.output, seed=seed, fold=fold.number)) for seed, fold in runs]
    mark = fingerprint(
        (config.name, config.preset, metrics.VERSION),
        config.evaluation.model_dump(mode="json"),
        cohort.covariates.astype(str).reset_index().to_numpy().tolist(),
        [(str(table.uns["run"]), str(table.uns["cohort"])) for table in embedded],
        cohort.patients.astype(str).reset_index().to_numpy().tolist(),
        [list(fold) for fold in cohort.folds],
    )
    if any(panels):
        mark = fingerprint(mark, panels)
    trained = [load_fold(config, cohort, fold, seed) for seed, fold in runs]
    if any(part.models for part in trained):
        said = [[(one.name, one.task, one.logits.tolist()) for one in part.models] for part in trained]
        mark = fingerprint(mark, said)
    if config.beside:
        mark = fingerprint(mark, [[(name, str(found.uns["run"])) for name, found in one.items()] for one in others])
    if representations is not None:
        mark = fingerprint(mark, list(representations))
    current = current_scores(config, mark)
    if current is not None:
        return current
    tables = (
        patient_table(cohort, table, genes=genes, beside=other)
        for table, genes, other in zip(embedded, panels, others, strict=True)
    )
    return score_tables(
        config,
        mark,
        runs,
        tables,
        of=[str(table.uns["run"]) for table in embedded],
        cohort=patients_mark(cohort),
        representations=representations,
        supervised=trained,
        jobs=jobs or (cpu_count() if len(cohort.patients) >= MANY_PATIENTS else 1),
        progress=progress,
    )


def score_tables(
    config: Config,
    mark: str,
    runs: Sequence[tuple[int, Fold]],
    tables: Iterable[PatientTable],
    *,
    of: Sequence[str] = (),
    cohort: str = "",
    representations: Sequence[str] | None = None,
    supervised: Iterable[SupervisedFold] = itertools.repeat(SupervisedFold()),
    jobs: int = 1,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Judge the patients as each of `tables` describes them on the (seed, fold) of `runs`, and write the four files.

    `mark` is the fingerprint of everything that went in, `of` those of the runs that are judged, where any are, and
    `cohort` their `patients_mark`; `supervised` has, of each run, what supervised models left of it. Returns scores.
    """
    provenance = {"fingerprint": mark, "config": config.name, "runs": list(of), "cohort": cohort}
    scores: list[pd.DataFrame] = []
    predictions: list[pd.DataFrame] = []
    account: list[dict[str, Any]] = []
    people: dict[str, list[str]] = {}
    for number, ((seed, fold), table, trained) in enumerate(zip(runs, tables, supervised, strict=False)):

        def report(done: float, total: int, note: str = "", *, before: int = number) -> None:
            progress(before * total + done, len(runs) * total, note)

        result = evaluate_fold(
            table,
            fold,
            config.evaluation,
            seed=seed,
            progress=report,
            n_jobs=jobs,
            representations=representations,
            supervised=trained,
        )
        origin = RunOrigin(config.name, fold.number, seed, config.preset)
        scores.append(score_table(result.scores, origin))
        predictions.append(stamped(result.predictions, origin))
        account.append({"seed": seed, "fold": fold.number, **_account(result, people), **_models(trained, seed, fold)})
    joined, predicted = pd.concat(scores, ignore_index=True), pd.concat(predictions, ignore_index=True)
    intervals = interval_table(joined, predicted, seed=config.seeds[0], progress=progress)
    write_predictions(predictions_file(config), predicted, provenance=provenance)
    write_intervals(intervals_file(config), intervals, provenance=provenance)
    write_json(account_file(config), {"fingerprint": mark, "runs": account, "patients": people})
    # Last: scores of this fingerprint say that the other files belong to them.
    write_scores(scores_file(config), joined, provenance=provenance)
    return joined


def chosen_genes(config: Config, run: RunFolder) -> tuple[str, ...] | None:
    """The genes that were chosen for a run; None where it reads all of the table's.

    Raises `ArtefactError` when they were chosen under another scope than the configuration's.
    """
    selection, genes = None, None
    if run.panel.exists():  # an imported run may have none
        panel = GenePanel.load(run.panel)
        selection, genes = panel.selection, panel.genes
    found = None if selection is None else selection.scope
    wanted = None if config.refinement is None else config.refinement.scope
    if found != wanted:
        raise ArtefactError(
            f"{run.path} was trained with genes of {_scope(found)}, the configuration is of {_scope(wanted)}; correct "
            "`refinement`, or train again with `mirror pretrain --overwrite`"
        )
    return None if selection is None else genes


def _scope(scope: str | None) -> str:
    return "no refinement" if scope is None else f"scope '{scope}'"


def _beside(config: Config, own: anndata.AnnData, seed: int, fold: Fold) -> dict[str, anndata.AnnData]:
    """Name -> embeddings of the other runs of the configuration, by the model that was trained for this fold.

    Raises `ArtefactError` when one is not there, is of another cohort or saw other genes than its scope allows,
    `LeakError` when its model was trained on test patients of `fold`.
    """
    found: dict[str, anndata.AnnData] = {}
    for other in config.beside:
        run = run_folder(other.output, seed=seed, fold=fold.number)
        table = load_embeddings(run.embeddings)
        if str(table.uns["cohort"]) != str(own.uns["cohort"]):
            raise ArtefactError(
                f"{run.path} has the embeddings of another cohort than this configuration's; a run can stand beside "
                "another where both are of the same `cohort` section and the same files"
            )
        chosen_genes(config, run)
        run.require_blind(fold)
        found[other.name] = table
    return found


def _account(result: FoldResult, people: dict[str, list[str]]) -> dict[str, Any]:
    """Counts and notes; the patients that things were fitted on go to `people` under a hash, each list once."""
    counts: list[dict[str, Any]] = []
    for count in result.counts:
        content = count._asdict()
        for name in ("scaled_on", "fitted_on"):
            patients = sorted(content[name])
            content[name] = fingerprint(patients)
            people[content[name]] = patients
        counts.append(content)
    return {"counts": counts, "notes": result.notes}


def _models(trained: SupervisedFold, seed: int, fold: Fold) -> dict[str, list[str]]:
    """The files of the supervised models that were judged, from `output`; nothing where there were none."""
    folder = Path("supervised")
    files = [
        supervised_file(folder, seed=seed, fold=fold.number, task=one.task, name=one.name) for one in trained.models
    ]
    return {"supervised": [file.as_posix() for file in files]} if files else {}
