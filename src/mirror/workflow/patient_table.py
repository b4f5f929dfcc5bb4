"""A cohort and its embeddings as the evaluation reads them: one row a patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.data.cohort import Cohort
from mirror.evaluation.embed import EmbeddedRows
from mirror.evaluation.representations import CLINICAL, LEARNED, PatientTable

NOTHING_BESIDE: Mapping[str, EmbeddedRows] = {}


def patient_table(
    cohort: Cohort,
    embeddings: EmbeddedRows,
    *,
    genes: Sequence[str] | None = None,
    beside: Mapping[str, EmbeddedRows] = NOTHING_BESIDE,
) -> PatientTable:
    """One row a patient: slide views are means over the patient's slides, expression is the patient's own.

    Views that `embeddings` does not have are left out; with `genes`, the profile of those alone is a view too, and so
    is what other runs `beside` made of the patients.
    """
    patients = cohort.patients
    names = tuple(str(name) for name in patients.index)
    of_runs = (*LEARNED, "align_slide", "align_expression")
    views = _of_patients(cohort, embeddings, names, (*of_runs, "raw_slide"))
    for run, other in beside.items():
        views |= {f"{run}/{name}": view for name, view in _of_patients(cohort, other, names, of_runs).items()}
    if cohort.expression is not None:
        raw = np.full((len(names), len(cohort.expression.genes)), np.nan)
        place = {name: row for row, name in enumerate(names)}
        raw[[place[patient] for patient in cohort.expression.patients]] = cohort.expression.values
        views["raw_expression"] = raw
        if genes is not None:
            views["panel_expression"] = raw[:, cohort.expression.columns(genes)]
    if len(cohort.covariates.columns):
        views[CLINICAL] = clinical_view(cohort.covariates.reindex(list(names)))
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


def _of_patients(
    cohort: Cohort, embeddings: EmbeddedRows, patients: Sequence[str], names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """The views `names` that are there, (N, D), means over the slides of each of `patients`, NaN of who has none."""
    owner = pd.Series(embeddings.obs["patient"].to_numpy(), dtype=object).to_numpy()
    views: dict[str, NDArray[np.float64]] = {}
    for name in names:
        view = f"X_{name}"
        if view in embeddings.obsm and (name in ("slide", "raw_slide") or cohort.expression is not None):
            rows = pd.DataFrame(np.asarray(embeddings.obsm[view], dtype=np.float64))
            views[name] = rows.groupby(owner).mean().reindex(list(patients)).to_numpy()
    return views


def clinical_view(covariates: pd.DataFrame) -> NDArray[np.float64]:
    """(N, D) of `covariates`, a row a patient: a number as it is, of a category 1 in the column of its value, else 0.

    NaN where a cell is missing. Nothing is fitted here: a value that no training patient of a fold has is a column
    without variance there, to which no coefficient can be given.
    """
    parts = [
        covariates[[name]].to_numpy(np.float64)
        if pd.api.types.is_numeric_dtype(covariates[name])
        else _indicators(covariates[name])
        for name in covariates
    ]
    return np.concatenate(parts, axis=1)


def _indicators(categories: pd.Series) -> NDArray[np.float64]:
    table = pd.get_dummies(categories, dtype=np.float64).to_numpy(np.float64)
    table[categories.isna().to_numpy()] = np.nan
    return table
