"""What is in an expression table before anything is fitted: units guessed from the values, gaps, sizes, artefacts.

Legend: N patients, G genes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.data.expression import ExpressionTable, ReadExpression
from mirror.data.floors import Floor, group_floors
from mirror.data.unit_checks import Guess, guess_units
from mirror.units import parse_units

Array = NDArray[np.float64]

_TAIL = 5.0


class Components(NamedTuple):
    """The first two principal components of the standardised genes: scores (N, 2) and shares of the variance (2,)."""

    scores: Array
    explained: Array


class Grouping(NamedTuple):
    """Patients by batch or cohort: the `groups` (N,), what share of either component's variance lies `between` them,
    (2,), and the genes whose floor values tell them apart."""

    groups: tuple[str, ...]
    between: Array
    floors: tuple[Floor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """What `inspect_expression` found. `sizes` (N,) are library sizes on the linear scale, or None for z-scores."""

    source: str
    units: str
    patients: tuple[str, ...]
    genes: int
    guess: Guess
    missing_cells: int
    genes_with_missing: int
    constant_genes: int
    left_out: Mapping[str, int]
    sizes: Array | None
    components: Components
    groupings: Mapping[str, Grouping]
    """By the column that they stand in."""

    def as_json(self) -> dict[str, Any]:
        """The account without the numbers of single patients."""
        return {
            "kind": "expression inspection",
            "source": self.source,
            "units": {"given": self.units, "guess": self.guess.units, "reason": self.guess.reason},
            "patients": len(self.patients),
            "genes": self.genes,
            "missing_cells": self.missing_cells,
            "genes_with_missing": self.genes_with_missing,
            "constant_genes": self.constant_genes,
            "left_out": dict(self.left_out),
            "library_size": None if self.sizes is None else _spread(self.sizes),
            "components": {"explained": self.components.explained.tolist()},
            "groupings": {
                by: {
                    "groups": dict(sorted(Counter(found.groups).items())),
                    "between_groups": found.between.tolist(),
                    "floors": [floor._asdict() for floor in found.floors],
                }
                for by, found in self.groupings.items()
            },
        }


def inspect_expression(read: ReadExpression, groups: Mapping[str, Mapping[str, str]] | None = None) -> Inspection:
    """Look at a table as it was read. `groups` says, by column, which batch or cohort each patient is of, if any."""
    table = read.table
    missing = sum((np.isnan(row).astype(np.intp) for row in table.values), np.zeros(len(table.genes), dtype=np.intp))
    # Unlike nanmin, the reductions of ufuncs make no copy of the table; a gene without a value stays NaN.
    lowest, highest = np.fmin.reduce(table.values, axis=0), np.fmax.reduce(table.values, axis=0)
    components = principal_components(table.values)
    return Inspection(
        source=table.source,
        units=table.units,
        patients=table.patients,
        genes=len(table.genes),
        guess=guess_units(table.values),
        missing_cells=int(missing.sum()),
        genes_with_missing=int((missing > 0).sum()),
        constant_genes=int((lowest == highest).sum()),
        left_out=Counter(f"{entry.kind}: {entry.reason}" for entry in read.excluded),
        sizes=library_sizes(table),
        components=components,
        groupings={by: _grouping(table, components, of) for by, of in (groups or {}).items()},
    )


def library_sizes(table: ExpressionTable) -> Array | None:
    """The sum (N,) over the table's genes on the linear scale; None for z-scores and words of the user's own."""
    units = parse_units(table.units)
    if not units.measured:
        return None
    base = units.base
    sums: list[float] = []
    for row in table.values:
        linear = row.astype(np.float64) if base is None else np.power(base, row.astype(np.float64)) - units.offset
        sums.append(float(np.nansum(np.maximum(linear, 0))))
    return np.array(sums)


def _grouping(table: ExpressionTable, components: Components, of: Mapping[str, str]) -> Grouping:
    groups = tuple(of.get(patient, "(none)") for patient in table.patients)
    between = np.array([share_between(score, groups) for score in components.scores.T])
    return Grouping(groups, between, group_floors(table, [of.get(patient) for patient in table.patients]))


def principal_components(values: NDArray[np.float32]) -> Components:
    """Of genes standardised over all patients, missing values at the mean, through the patients' inner products.

    What lies more than `_TAIL` deviations out counts as that: a few z-scores of hundreds would else be the components.
    """
    gram = np.zeros((len(values), len(values)))
    for start in range(0, values.shape[1], 4096):  # a whole transcriptome in float64 is not held at once
        block = values[:, start : start + 4096].astype(np.float64)
        present = np.maximum((~np.isnan(block)).sum(axis=0), 1)
        block -= np.nansum(block, axis=0) / present
        block = np.nan_to_num(block)
        deviation = np.sqrt((block**2).mean(axis=0))
        block = np.clip(block / np.where(deviation > 0, deviation, 1.0), -_TAIL, _TAIL)
        block -= block.mean(axis=0)
        gram += block @ block.T
    strength, directions = np.linalg.eigh(gram)
    strength, directions = np.maximum(strength[::-1][:2], 0), directions[:, ::-1][:, :2]
    scores = directions * np.sqrt(strength)
    if len(values) < 2:  # one patient varies in nothing
        scores, strength = np.zeros((len(values), 2)), np.zeros(2)
    # The sign of a component is free: the largest score is positive, so that a picture is the same each time.
    scores = scores * np.where(scores[np.abs(scores).argmax(axis=0), range(scores.shape[1])] < 0, -1.0, 1.0)
    return Components(scores, strength / max(float(np.trace(gram)), np.finfo(np.float64).tiny))


def share_between(score: Array, groups: Sequence[str]) -> float:
    """The share of the variance of `score` (N,) that lies between `groups` (N,), in [0, 1]."""
    names = np.array(groups, dtype=object)
    means = np.array([score[names == group].mean() for group in groups])
    total = float(((score - score.mean()) ** 2).sum())
    return float(((means - score.mean()) ** 2).sum() / total) if total > 0 else 0.0


def _spread(sizes: Array) -> dict[str, float]:
    quantiles = np.quantile(sizes, [0, 0.5, 1])
    return dict(zip(("lowest", "median", "highest"), map(float, quantiles), strict=True))
