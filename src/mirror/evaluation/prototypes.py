"""Who belongs to which prototype of a model, and which genes differ there.

Prototypes are learned without labels; a patient belongs to the one that slide and expression together are closest to.
N patients, P prototypes, G genes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, ttest_ind_from_stats

from mirror.data.expression import ExpressionTable
from mirror.evaluation.embed import EmbeddedRows
from mirror.evaluation.metrics import Floats
from mirror.evaluation.retrieval import ALIGNED

FALSE_DISCOVERIES = 0.05
FEWEST = 5
"""Patients a prototype needs for its genes and its survival to be spoken of."""


class GeneShift(NamedTuple):
    """How many standard deviations a gene's mean lies above that of all other patients; `q` of Welch's test."""

    gene: str
    shift: float
    q: float

    @property
    def size(self) -> float:
        """How far it is shifted, whichever way."""
        return abs(self.shift)


class Membership(NamedTuple):
    """Of each of `patients` (by name ascending): its prototype, its closeness to each (N, P) in [-1, 1], its role."""

    patients: tuple[str, ...]
    prototype: NDArray[np.intp]
    closeness: Floats
    roles: tuple[str, ...]

    @property
    def in_use(self) -> tuple[int, ...]:
        """Prototypes that have patients, the largest first, of equals the lower number."""
        sizes = np.bincount(self.prototype, minlength=self.closeness.shape[1])
        order = np.argsort(-sizes, kind="stable")
        return tuple(int(number) for number in order if sizes[number])

    def members(self, number: int) -> tuple[str, ...]:
        """The patients of a prototype."""
        return tuple(self.patients[row] for row in np.flatnonzero(self.prototype == number))


def membership(embeddings: EmbeddedRows, directions: Floats) -> Membership | None:
    """`directions` (P, K) as the model has them, in the space of the aligned views, whose cosines are averaged over a
    patient's modalities. None where the embedding has no such views."""
    if any(view not in embeddings.obsm for view in ALIGNED):
        return None
    owners = embeddings.obs["patient"].astype(str).to_numpy()
    unit = unit_rows(directions)
    scores = np.stack(
        [
            unit_rows(
                pd.DataFrame(np.asarray(embeddings.obsm[view], dtype=np.float64)).groupby(owners).mean().to_numpy()
            )
            @ unit.T
            for view in ALIGNED
        ]
    )
    names = sorted(set(owners))
    roles = dict(zip(owners, embeddings.obs["role"].astype(str), strict=True))
    there = np.asarray(~np.isnan(scores).any(axis=2))
    mean = np.where(there[..., None], np.nan_to_num(scores), 0.0).sum(axis=0) / there.sum(axis=0)[:, None]
    return Membership(tuple(names), mean.argmax(axis=1), mean, tuple(roles[name] for name in names))


def unit_rows(x: Floats) -> Floats:
    """Rows scaled to length one; a row of zeros stays."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)


def gene_shifts(
    expression: ExpressionTable | None, members: Mapping[int, set[str]]
) -> dict[int, tuple[GeneShift, ...]]:
    """The genes of each prototype that differ from everybody else's, the most shifted first: all whose false discovery
    rate by Welch's test, corrected over every gene of every prototype together, is below `FALSE_DISCOVERIES`."""
    if expression is None:
        return {}
    inside = {number: np.array([name in names for name in expression.patients]) for number, names in members.items()}
    large = {number: rows for number, rows in inside.items() if FEWEST <= rows.sum() <= len(rows) - FEWEST}
    if not large:
        return {}
    values = expression.values.astype(np.float64)
    deviation = np.nanstd(values, axis=0)
    usable = np.flatnonzero((deviation > 1e-6 * np.abs(np.nanmean(values, axis=0))) & ~np.isnan(values).any(axis=0))
    values, deviation = values[:, usable], deviation[usable]
    p = np.nan_to_num(np.stack([_welch(values[rows], values[~rows]) for rows in large.values()]), nan=1.0)
    q = false_discovery_control(p.ravel()).reshape(p.shape)
    found: dict[int, tuple[GeneShift, ...]] = {}
    for rate, (number, rows) in zip(q, large.items(), strict=True):
        shift = (values[rows].mean(axis=0) - values[~rows].mean(axis=0)) / deviation
        order = [at for at in np.argsort(-np.abs(shift), kind="stable") if rate[at] < FALSE_DISCOVERIES]
        found[number] = tuple(
            GeneShift(expression.genes[usable[at]], float(shift[at]), float(rate[at])) for at in order
        )
    return found


def _welch(x: Floats, y: Floats) -> Floats:
    """p-value (G,) of Welch's test of each column of `x` (n, G) against that of `y` (m, G)."""
    moments = [(side.mean(axis=0), side.std(axis=0, ddof=1), len(side)) for side in (x, y)]
    with np.errstate(divide="ignore", invalid="ignore"):  # a gene that is constant on both sides has no p-value
        return np.asarray(ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False).pvalue, dtype=np.float64)
