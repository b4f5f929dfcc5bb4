"""What the evaluation stage leaves in `output`, and whether it is still of the same inputs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pandas as pd

from mirror.artefacts import fingerprint, read_json
from mirror.config import Config
from mirror.data.cohort import Cohort
from mirror.errors import ArtefactError
from mirror.evaluation.scores import read_intervals, read_predictions, read_provenance, read_scores


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


def patients_mark(cohort: Cohort) -> str:
    """Of what is predicted, and of whom: label, time and event of every patient, covariates and folds."""
    told = (cohort.patients, cohort.covariates)
    return fingerprint(
        [part.astype(str).reset_index().to_numpy().tolist() for part in told], [list(fold) for fold in cohort.folds]
    )


def current_scores(config: Config, mark: str) -> pd.DataFrame | None:
    """The scores that are there, if all four files are whole and of this fingerprint."""
    files = (scores_file(config), predictions_file(config), intervals_file(config))
    with suppress(ArtefactError):  # missing, damaged or of another version: they are made (again)
        marks = [read_provenance(file).get("fingerprint") for file in files]
        account = read_json(account_file(config))
        # Without `patients` it is of a version in which what was fitted did not remember on whom.
        if {mark} == {*marks, account.get("fingerprint")} and "patients" in account:
            read_predictions(predictions_file(config))
            read_intervals(intervals_file(config))
            return read_scores(scores_file(config))
    return None
