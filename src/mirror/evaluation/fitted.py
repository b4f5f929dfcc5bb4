"""One representation on one fold: fitted on the training half, applied to both, with everybody counted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.config import EvaluationConfig
from mirror.evaluation.metrics import Codes, Flags, Floats
from mirror.evaluation.representations import (
    CLINICAL,
    Block,
    PatientTable,
    fit_representation,
    recipes,
    row_space,
    runs_beside,
)
from mirror.seeding import stream_seed
from mirror.types import Fold


class Count(NamedTuple):
    """Who took part. In either half, evaluated + without endpoint + without modality = its patients in the fold."""

    representation: str
    task: str
    train: int
    test: int
    train_without_endpoint: int
    test_without_endpoint: int
    train_without_modality: int
    test_without_modality: int
    scaled_on: tuple[str, ...]
    """On whom the representation's scalers and components were fitted."""
    fitted_on: tuple[str, ...]
    """On whom probes, heads, penalties, intervals of time and censoring weights were: those of the training half who
    take part."""


class Half(NamedTuple):
    """Patients of one half of the fold, by name ascending: their rows in the table, `x` (n, D), NaN where not `has`."""

    rows: NDArray[np.intp]
    x: Floats
    has: Flags

    def taking_part(self, known: Flags) -> NDArray[np.intp]:
        """Positions in this half of those who have the modalities and, by the table's `known`, the endpoint."""
        return np.flatnonzero(self.has & known[self.rows])


class Fitted(NamedTuple):
    """One representation of one fold, ready for protocols; `notes` say where it is less than was asked for.

    `x` of either half is what `blocks` make of the views side by side, then `@ basis` where there is one; of supervised
    models, whose logits are their own columns, there are no blocks.
    """

    name: str
    table: PatientTable
    fold: Fold
    config: EvaluationConfig
    seed: int
    train: Half
    test: Half
    notes: list[str]
    scaled_on: tuple[str, ...]
    blocks: tuple[Block, ...] = ()
    basis: Floats | None = None

    @property
    def inner_seed(self) -> int:
        """Of the inner folds: the same for every representation."""
        return stream_seed(self.seed, "inner folds", self.fold.number) % 2**32

    def on_view(self, coefficients: Floats) -> tuple[Floats, float]:
        """Weights (D,) and offset on the one view of this representation that give what `coefficients` give on `x`."""
        (block,) = self.blocks
        return block.on_view(coefficients if self.basis is None else self.basis @ coefficients)


def fit_on_fold(name: str, table: PatientTable, fold: Fold, config: EvaluationConfig, seed: int) -> Fitted:
    """Fit the representation `name` on the training half of `fold` and apply it to both halves."""
    rows = [table.rows(sorted(half)) for half in (fold.train, fold.test)]
    representation = fit_representation(name, table, rows[0])
    parts = [representation.transform(table, half) for half in rows]
    has: list[Flags] = [~np.isnan(x[:, 0]) for x in parts]
    basis = row_space(parts[0][has[0]])
    if basis is not None:
        parts = [x @ basis for x in parts]
    train, test = (Half(half, x, there) for half, x, there in zip(rows, parts, has, strict=True))
    recipe = recipes(config.components, panel=True, clinical=True, beside=runs_beside(table.views))[name]
    wanted = recipe.components or 0
    found = {block.view: block.axes.shape[1] for block in representation.blocks if block.axes is not None}
    notes = [
        f"{view} has no more than {components} components in its training patients"
        for view, components in found.items()
        if components < wanted
    ]
    if CLINICAL in recipe.views:
        notes += _imputed(table, rows)
    on = representation.fitted_on
    return Fitted(name, table, fold, config, seed, train, test, notes, on, representation.blocks, basis)


def _imputed(table: PatientTable, halves: list[NDArray[np.intp]]) -> list[str]:
    """How many patients of either half lack some clinical variables and have others."""
    gaps = np.isnan(table.views[CLINICAL])
    some = np.flatnonzero(gaps.any(axis=1) & ~gaps.all(axis=1))
    train, test = (len(np.intersect1d(some, half)) for half in halves)
    if not train + test:
        return []
    return [
        f"of {train} training and {test} test patients a clinical variable is missing; it counts as the mean of the "
        "training patients"
    ]


def count(fitted: Fitted, task: str, known: Flags) -> Count:
    """Who takes part in `task`, whose endpoint is `known` for these patients of the table (N,)."""
    halves = (fitted.train, fitted.test)
    taking_part = [len(half.taking_part(known)) for half in halves]
    without_endpoint = [int(np.sum(~known[half.rows])) for half in halves]
    without_modality = [int(np.sum(~half.has & known[half.rows])) for half in halves]
    fitted_on = tuple(fitted.table.patients[row] for row in fitted.train.rows[fitted.train.taking_part(known)])
    counts = (*taking_part, *without_endpoint, *without_modality)
    return Count(fitted.name, task, *counts, scaled_on=fitted.scaled_on, fitted_on=fitted_on)


def class_codes(table: PatientTable) -> Codes:
    """Position of each patient's label in the table's classes, -1 where it has none of them."""
    place = {name: code for code, name in enumerate(table.classes)}
    return np.array([-1 if label is None else place.get(label, -1) for label in table.labels], dtype=np.int64)
