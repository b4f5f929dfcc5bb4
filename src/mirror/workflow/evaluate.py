"""The evaluation stage: every run's embeddings beside the free baselines, fold by fold, into one table of scores."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.artefacts import fingerprint, read_json, write_json
from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.errors import ArtefactError
from mirror.evaluation import metrics
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.intervals import interval_table
from mirror.evaluation.protocols import FoldResult, evaluate_fold
from mirror.evaluation.representations import PatientTable
from mirror.evaluation.scores import (
    RunOrigin,
    read_intervals,
    read_predictions,
    read_provenance,
    read_scores,
    score_table,
    stamped,
    write_intervals,
    write_predictions,
    write_scores,
)
from mirror.training.runs import run_folder
from mirror.types import Progress, silent
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.pretrain import wanted_runs


def scores_file(config: Config) -> Path:
    """The table of scores of a configuration."""
    return config.output / "scores.parquet"


def predictions_file(config: Config) -> Path:
    """The predictions behind the scores."""
    return config.output / "predictions.parquet"


def intervals_file(config: Config) -> Path:
    """The intervals of the scores."""
    return config.output / "intervals.parquet"


def account_file(config: Config) -> Path:
    """Who took part in each number, and what could not be computed and why."""
    return config.output / "evaluation.json"


def evaluate_runs(config: Config, *, jobs: int = 1, progress: Progress = silent) -> pd.DataFrame:
    """Score every run of the configuration and write scores, intervals, predictions and the account of who took part.

    Scores that are there already and were made from these embeddings with these settings are left as they are. Returns
    the scores. Raises `ArtefactError` when a run has not been embedded.
    """
    cohort = prepare_cohort(config, progress=progress)
    runs = wanted_runs(config, cohort, fold=None, seed=None)
    embedded = [
        load_embeddings(run_folder(config.output, seed=seed, fold=fold.number).embeddings) for seed, fold in runs
    ]
    mark = fingerprint(
        (config.name, config.preset, metrics.VERSION),
        config.evaluation.model_dump(mode="json"),
        [(str(table.uns["run"]), str(table.uns["cohort"])) for table in embedded],
        cohort.patients.astype(str).reset_index().to_numpy().tolist(),
        [list(fold) for fold in cohort.folds],
    )
    provenance = {"fingerprint": mark, "config": config.name}
    current = _current_scores(config, mark)
    if current is not None:
        return current
    scores: list[pd.DataFrame] = []
    predictions: list[pd.DataFrame] = []
    account: list[dict[str, Any]] = []
    for number, ((seed, fold), table) in enumerate(zip(runs, embedded, strict=True)):

        def report(done: int, total: int, note: str = "", *, before: int = number) -> None:
            progress(before * total + done, len(runs) * total, note)

        result = evaluate_fold(
            patient_table(cohort, table), fold, config.evaluation, seed=seed, progress=report, n_jobs=jobs
        )
        origin = RunOrigin(config.name, fold.number, seed, config.preset)
        scores.append(score_table(result.scores, origin))
        predictions.append(stamped(result.predictions, origin))
        account.append({"seed": seed, "fold": fold.number, **_account(result)})
    joined, predicted = pd.concat(scores, ignore_index=True), pd.concat(predictions, ignore_index=True)
    intervals = interval_table(joined, predicted, seed=config.seeds[0], progress=progress)
    write_predictions(predictions_file(config), predicted, provenance=provenance)
    write_intervals(intervals_file(config), intervals, provenance=provenance)
    write_json(account_file(config), {"fingerprint": mark, "runs": account})
    # Last: scores of this fingerprint say that the other files belong to them.
    write_scores(scores_file(config), joined, provenance=provenance)
    return joined


def patient_table(cohort: Cohort, embeddings: anndata.AnnData) -> PatientTable:
    """One row a patient: slide views are means over the patient's slides, expression is the patient's own."""
    patients = cohort.patients
    names = tuple(str(name) for name in patients.index)
    owner = pd.Series(embeddings.obs["patient"].to_numpy(), dtype=object)
    views: dict[str, NDArray[np.float64]] = {}
    for name, view in (("slide", "X_slide"), ("expression", "X_expression"), ("raw_slide", "X_raw_slide")):
        rows = pd.DataFrame(np.asarray(embeddings.obsm[view], dtype=np.float64))
        views[name] = rows.groupby(owner.to_numpy()).mean().reindex(list(names)).to_numpy()
    if cohort.expression is None:
        del views["expression"]
    else:
        raw = np.full((len(names), len(cohort.expression.genes)), np.nan)
        place = {name: row for row, name in enumerate(names)}
        raw[[place[patient] for patient in cohort.expression.patients]] = cohort.expression.values
        views["raw_expression"] = raw
    labels = patients["label"].astype(object)
    classes = tuple(sorted(set(labels.dropna().astype(str))))
    event = patients["event"].to_numpy(dtype=bool, na_value=False)  # unknown only where the time is
    return PatientTable(
        patients=names,
        views=views,
        labels=tuple(None if pd.isna(label) else str(label) for label in labels),
        classes=classes,
        time=patients["time"].to_numpy(dtype=np.float64),
        event=event,
    )


def _account(result: FoldResult) -> dict[str, Any]:
    return {"counts": [count._asdict() for count in result.counts], "notes": result.notes}


def _current_scores(config: Config, mark: str) -> pd.DataFrame | None:
    """The scores that are there, if all four files are whole and of this fingerprint."""
    files = (scores_file(config), predictions_file(config), intervals_file(config))
    with suppress(ArtefactError):  # missing, damaged or of another version: they are made (again)
        marks = [read_provenance(file).get("fingerprint") for file in files]
        if {mark} == {*marks, read_json(account_file(config)).get("fingerprint")}:
            read_predictions(predictions_file(config))
            read_intervals(intervals_file(config))
            return read_scores(scores_file(config))
    return None
