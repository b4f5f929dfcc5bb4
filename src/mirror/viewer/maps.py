"""The embedding maps of a run: where each slide and each patient lies, and what the points can be coloured by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mirror.evaluation.embed import NO_SLIDE, EmbeddedRows, read_embeddings
from mirror.evaluation.prototypes import membership
from mirror.evaluation.report.drawing import OTHER
from mirror.evaluation.report.embedding_map import (
    RISK_COLOURS,
    RISK_STEPS,
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
LISTED = 40
"""Genes that are named to a reader who types."""


def map_of(contents: Contents, run: ShownRun, view: str) -> dict[str, Any]:
    """Points (patient, slide or None, modality, role, x, y) and colourings, the first one chosen.

    Places are those of the report's map: two principal components of what training rows span. Raises `Unknown`.
    """
    if view not in VIEWS:
        raise Unknown(f"there is no map '{view}'; there are {', '.join(VIEWS)}")
    table = read_embeddings(run.embeddings)
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
        "colourings": [_as_json(one) for one in colourings(contents, run, table)],
    }


def colourings(contents: Contents, run: ShownRun, table: EmbeddedRows) -> list[Colouring]:
    """By label, role in this run, fold, site (each column of groups), predicted risk, and prototype of the run's model
    by its embeddings `table`, where it has learned any."""
    patients = _patients(contents)
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
    found = [found[0], colouring("role", "Role in this run", roles, missing="neither"), *found[1:]]
    directions = run.prototypes()
    told = None if directions is None else membership(table, directions)
    if told is not None:
        names = pd.Series([f"prototype {number}" for number in told.prototype], index=list(told.patients), dtype=object)
        found.append(colouring("prototype", "Prototype", names.reindex(patients), missing="not embedded"))
    return found


def by_gene(contents: Contents, gene: str) -> dict[str, Any]:
    """A colouring by the expression of a gene, as fifths of the patients; equal values share their colour.

    Raises `Unknown` where no profile has the gene.
    """
    expression = contents.cohort.expression
    if expression is None or gene not in expression.genes:
        raise Unknown(f"there is no expression of a gene '{gene}' in this cohort")
    column = expression.values[:, expression.genes.index(gene)].astype(float)
    values = pd.Series(column, index=list(expression.patients)).reindex(_patients(contents))
    fifths = pd.Series(np.ceil(values.rank(pct=True) * len(RISK_STEPS) - 1e-9) - 1, index=values.index)
    there = sorted(fifths.dropna().unique().astype(int))
    legend = {f"{RISK_STEPS[at]}: {_ends(values[fifths == at])}": RISK_COLOURS[at] for at in there}
    if values.isna().any():
        legend["no expression"] = OTHER
    classes = fifths.map({at: place for place, at in enumerate(there)}).fillna(len(there))
    return _as_json(Colouring(f"gene:{gene}", f"{gene}, {expression.units}", legend, classes.astype(int)))


def _ends(values: pd.Series) -> str:
    return f"{values.min():.3g} to {values.max():.3g}"


def genes_like(contents: Contents, start: str) -> list[str]:
    """At most `LISTED` genes of the cohort's profiles whose names have `start` in them, those that begin so first."""
    expression = contents.cohort.expression
    wanted = start.strip().casefold()
    found = [] if expression is None else [gene for gene in expression.genes if wanted in gene.casefold()]
    return sorted(found, key=lambda gene: (not gene.casefold().startswith(wanted), len(gene), gene))[:LISTED]


def _patients(contents: Contents) -> pd.Index:
    return pd.Index([str(patient) for patient in contents.cohort.patients.index])


def _as_json(one: Colouring) -> dict[str, Any]:
    return {
        "key": one.key,
        "title": one.title,
        "legend": [{"name": name, "colour": colour} for name, colour in one.legend.items()],
        "classes": {str(patient): int(place) for patient, place in one.classes.items()},
    }
