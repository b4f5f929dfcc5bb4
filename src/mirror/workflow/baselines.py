"""The free baselines of a cohort, judged without any run: what every row of a sweep is compared with."""

from __future__ import annotations

import itertools

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.artefacts import fingerprint
from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.data.feature_store import FeatureStore
from mirror.evaluation import metrics
from mirror.evaluation.representations import free_baselines
from mirror.types import Progress, silent
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.evaluate import score_tables
from mirror.workflow.evaluation_files import current_scores
from mirror.workflow.patient_table import patient_table
from mirror.workflow.pretrain import wanted_runs


def evaluate_baselines(config: Config, *, jobs: int = 1, progress: Progress = silent) -> pd.DataFrame:
    """Score every free baseline on each seed and fold of the configuration; write the files of the evaluation stage.

    The numbers are those that `evaluate_runs` gives for the same representations: they depend on no model. Scores
    that are there already and were made from this cohort with these settings are left as they are.
    """
    cohort = prepare_cohort(config, progress=progress)
    runs = wanted_runs(config, cohort, fold=None, seed=None)
    names = free_baselines(config.evaluation.components, clinical=bool(len(cohort.covariates.columns)))
    expression = cohort.expression
    mark = fingerprint(
        (config.name, "free baselines", metrics.VERSION),
        config.evaluation.model_dump(mode="json"),
        (config.seeds, names),
        cohort.covariates.astype(str).reset_index().to_numpy().tolist(),
        cohort.slides[["slide", "patient", "feature_hash"]].to_numpy().tolist(),
        expression.content_hash() if expression is not None else None,
        cohort.patients.astype(str).reset_index().to_numpy().tolist(),
        [list(fold) for fold in cohort.folds],
    )
    current = current_scores(config, mark)
    if current is not None:
        return current
    table = patient_table(cohort, mean_tiles(cohort, progress=progress))
    tables = itertools.repeat(table, len(runs))
    return score_tables(config, mark, runs, tables, representations=names, jobs=jobs, progress=progress)


def mean_tiles(cohort: Cohort, *, progress: Progress = silent) -> anndata.AnnData:
    """Embeddings without a model: of each slide its mean tile feature, as `X_raw_slide`."""
    store = FeatureStore(cohort.paths, keep_open=1)
    slides = list(cohort.slides["slide"])
    means: list[NDArray[np.float32]] = []
    for number, slide in enumerate(slides):
        progress(number, len(slides), "mean tile features")
        means.append(store.bag(slide).read().mean(axis=0))
    table = anndata.AnnData(obs=pd.DataFrame({"patient": list(cohort.slides["patient"])}, index=slides))
    table.obsm["X_raw_slide"] = np.stack(means)
    return table
