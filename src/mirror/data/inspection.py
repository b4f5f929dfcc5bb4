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
from mirror.data.units import HIGHEST_LOG, parse_units

Array = NDArray[np.float64]


class Guess(NamedTuple):
    """Units that the values look like, and what about them says so."""

    units: str
    reason: str


class Components(NamedTuple):
    """The first two principal components of the standardised genes: scores (N, 2), shares of the variance (2,), and
    the share of each component's variance that lies between the groups, (2,), NaN without groups."""

    scores: Array
    explained: Array
    between: Array


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
    groups: tuple[str, ...] | None
    components: Components
    floors: tuple[Floor, ...]

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
            "groups": None if self.groups is None else dict(sorted(Counter(self.groups).items())),
            "components": {
                "explained": self.components.explained.tolist(),
                "between_groups": None if self.groups is None else self.components.between.tolist(),
            },
            "floors": [floor._asdict() for floor in self.floors],
        }


def inspect_expression(read: ReadExpression, groups: Mapping[str, str] | None = None) -> Inspection:
    """Look at a table as it was read. `groups` says of patients which batch or cohort they are of ("(none)" if not)."""
    table = read.table
    missing = np.isnan(table.values).sum(axis=0)
    lowest, highest = (_by_gene(table.values, how) for how in (np.nanmin, np.nanmax))
    named = None if groups is None else tuple(groups.get(patient, "(none)") for patient in table.patients)
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
        groups=named,
        components=principal_components(table.values, named),
        floors=() if groups is None else group_floors(table, [groups.get(patient) for patient in table.patients]),
    )


def guess_units(values: NDArray[np.float32]) -> Guess:
    """What values (N, G) look like. A guess to hold against what the configuration says; nothing is done with it."""
    present = values[~np.isnan(values)].astype(np.float64)
    if not present.size:
        return Guess("unknown", "there is no value")
    low, high = float(present.min()), float(present.max())
    at_low = float((present == low).mean())
    if low >= 0 and high > HIGHEST_LOG:
        return _guess_linear(values, present, high)
    floor = f"the lowest value {low:.4g} stands in {at_low:.1%} of the cells"
    if low >= 0:
        return Guess("log2(x + 1)", f"nothing is negative or above {high:.4g}, and {floor}: zeros, if 1 was added")
    deviations = np.nanstd(values, axis=0, dtype=np.float64)
    centred = float((np.abs(np.nanmean(values, axis=0, dtype=np.float64)) < 0.5 * deviations).mean())
    if at_low > 0.001 and high <= HIGHEST_LOG:
        return Guess(f"log2(x + {2**low:.2g})", f"{floor}: zeros, if {2**low:.2g} was added before the logarithm")
    if centred > 0.5:
        units = "z-score" if high <= HIGHEST_LOG else "z-score, with outliers"
        return Guess(units, f"{centred:.0%} of the genes lie around zero within half their deviation, up to {high:.4g}")
    return Guess("log2(x) or a difference", f"values from {low:.4g} to {high:.4g}, without a floor or a common centre")


def _guess_linear(values: NDArray[np.float32], present: Array, high: float) -> Guess:
    if bool((present == np.round(present)).all()):
        return Guess("counts", f"all values are whole numbers, up to {high:.4g}")
    totals = np.nansum(values, axis=1, dtype=np.float64)
    if float(np.abs(totals / 1e6 - 1).max()) < 0.02:
        return Guess("TPM", "nothing is negative and each sample adds up to a million")
    return Guess("FPKM, RSEM or part of a TPM table", f"nothing is negative, values reach {high:.4g}, sums differ")


def library_sizes(table: ExpressionTable) -> Array | None:
    """The sum (N,) over the table's genes on the linear scale; None where the units are z-scores or not known."""
    units = parse_units(table.units)
    if units is None or units.quantity == "z-score":
        return None
    base = units.base
    sums: list[float] = []
    for row in table.values:
        linear = row.astype(np.float64) if base is None else np.power(base, row.astype(np.float64)) - units.offset
        sums.append(float(np.nansum(np.maximum(linear, 0))))
    return np.array(sums)


def principal_components(values: NDArray[np.float32], groups: Sequence[str] | None) -> Components:
    """Of genes standardised over all patients, missing values at the mean, through the patients' inner products."""
    gram = np.zeros((len(values), len(values)))
    for start in range(0, values.shape[1], 4096):  # a whole transcriptome in float64 is not held at once
        block = values[:, start : start + 4096].astype(np.float64)
        present = np.maximum((~np.isnan(block)).sum(axis=0), 1)
        block -= np.nansum(block, axis=0) / present
        block = np.nan_to_num(block)
        deviation = np.sqrt((block**2).mean(axis=0))
        block /= np.where(deviation > 0, deviation, 1.0)
        gram += block @ block.T
    strength, directions = np.linalg.eigh(gram)
    strength, directions = np.maximum(strength[::-1][:2], 0), directions[:, ::-1][:, :2]
    scores = directions * np.sqrt(strength)
    # The sign of a component is free: the largest score is positive, so that a picture is the same each time.
    scores = scores * np.where(scores[np.abs(scores).argmax(axis=0), range(scores.shape[1])] < 0, -1.0, 1.0)
    between = np.array([np.nan if groups is None else _between(score, groups) for score in scores.T])
    return Components(scores, strength / max(float(np.trace(gram)), np.finfo(np.float64).tiny), between)


def _by_gene(values: NDArray[np.float32], how: Any) -> NDArray[np.float32]:
    known = ~np.isnan(values).all(axis=0)
    result = np.full(values.shape[1], np.nan, dtype=np.float32)
    result[known] = how(values[:, known], axis=0)
    return result


def _between(score: Array, groups: Sequence[str]) -> float:
    names = np.array(groups, dtype=object)
    means = np.array([score[names == group].mean() for group in groups])
    total = float(((score - score.mean()) ** 2).sum())
    return float(((means - score.mean()) ** 2).sum() / total) if total > 0 else 0.0


def _spread(sizes: Array) -> dict[str, float]:
    quantiles = np.quantile(sizes, [0, 0.5, 1])
    return dict(zip(("lowest", "median", "highest"), map(float, quantiles), strict=True))
