"""The embedding maps of a run: where each slide and each patient lies, and what the points can be coloured by."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mirror.evaluation.embed import NO_SLIDE, load_embeddings
from mirror.evaluation.report.embedding_map import (
    Colouring,
    colouring,
    colourings_of,
    embedded_points,
    joint_views,
    of_risk,
    risk_steps,
)
from mirror.evaluation.report.inputs import UNLABELLED
from mirror.evaluation.report.map_points import place_points
from mirror.viewer.contents import Contents, ShownRun, Unknown

VIEWS = ("both", "slide", "expression", "fused")
"""What a map shows. Of expression a point is a patient, else a slide."""


def map_of(contents: Contents, run: ShownRun, view: str) -> dict[str, Any]:
    """Points (patient, slide or None, modality, role, x, y) and colourings, the first one chosen.

    Places are those of the report's map: two principal components of what training rows span. Raises `Unknown`.
    """
    if view not in VIEWS:
        raise Unknown(f"there is no map '{view}'; there are {', '.join(VIEWS)}")
    table = load_embeddings(run.embeddings)
    shown = joint_views(table) if view == "both" else {view: f"X_{view}"}
    labels = contents.cohort.patients["label"]
    parts = [
        embedded_points(table, labels, {modality: name}, each="patient" if modality == "expression" else "slide")
        for modality, name in shown.items()
    ]
    embedded = pd.concat(parts)
    points = place_points(embedded)  # rows that lack a vector are out already, so none is left out here
    points["slide"] = [
        None if modality == "expression" or name.startswith(NO_SLIDE) else name
        for name, modality in zip(embedded.index, embedded["modality"], strict=True)
    ]
    order = ["patient", "slide", "modality", "role"]
    return {
        "points": {
            **{name: points[name].tolist() for name in order},
            **{axis: [round(float(value), 4) for value in points[axis]] for axis in ("x", "y")},
        },
        "colourings": [_as_json(one) for one in colourings(contents, run)],
    }


def colourings(contents: Contents, run: ShownRun) -> list[Colouring]:
    """By label, role in this run, fold, site (each column of groups) and predicted risk."""
    patients = pd.Index([str(patient) for patient in contents.cohort.patients.index])
    predictions = contents.predictions if contents.predictions is not None else pd.DataFrame()
    found = colourings_of(
        patients,
        labels=contents.cohort.patients["label"],
        unlabelled=UNLABELLED,
        folds=contents.folds,
        sites=contents.sites,
        risks=risk_steps(of_risk(predictions)),
    )
    roles = pd.Series({patient: run.role_of(patient) for patient in patients}, dtype=object)
    return [found[0], colouring("role", "Role in this run", roles, missing="neither"), *found[1:]]


def _as_json(one: Colouring) -> dict[str, Any]:
    return {
        "key": one.key,
        "title": one.title,
        "legend": [{"name": name, "colour": colour} for name, colour in one.legend.items()],
        "classes": {str(patient): int(place) for patient, place in one.classes.items()},
    }
