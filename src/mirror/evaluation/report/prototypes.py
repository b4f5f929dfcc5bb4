"""Prototypes, opened: who is in each, which label and survival they have, and which genes differ.

Prototypes are learned without labels; a patient belongs to the one that slide and expression together are closest to.
N patients, P prototypes, G genes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import anndata
import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, ttest_ind_from_stats

from mirror.data.expression import ExpressionTable
from mirror.evaluation.metrics import Floats
from mirror.evaluation.report.findings import median_survival
from mirror.evaluation.retrieval import ALIGNED

SHOWN = 8
"""Prototypes that are opened, the largest first; the others are counted."""
GENES, FALSE_DISCOVERIES = 8, 0.05
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


class Prototype(NamedTuple):
    """One prototype: its `number` in the model, its patients by name, and what they have in common.

    `labels` name -> patients; `events` of `followed` patients with follow-up; `months` the median survival, None where
    the curve does not reach it; `genes` those that differ most, of a false discovery rate below 5 % over all genes of
    all prototypes shown.
    """

    number: int
    patients: tuple[str, ...]
    tested: int
    labels: Mapping[str, int]
    followed: int
    events: int
    months: float | None
    genes: tuple[GeneShift, ...]

    @property
    def title(self) -> str:
        """Its number as people count, from 1."""
        return str(self.number + 1)


class Prototypes(NamedTuple):
    """Those of one run that have patients: `shown` opened, `others` smaller ones with `others_patients` in all."""

    run: str
    total: int
    shown: tuple[Prototype, ...]
    others: int
    others_patients: int


def prototypes(
    embeddings: anndata.AnnData,
    directions: Floats,
    patients: pd.DataFrame,
    expression: ExpressionTable | None,
    *,
    run: str,
) -> Prototypes | None:
    """`directions` (P, K) as the model has them, in the space of the aligned views; `patients` (index: patient) with
    label, time, event. None where the embedding has no such views."""
    if any(view not in embeddings.obsm for view in ALIGNED):
        return None
    owners = embeddings.obs["patient"].astype(str).to_numpy()
    unit = _unit(directions)
    scores = [
        _unit(pd.DataFrame(np.asarray(embeddings.obsm[view], dtype=np.float64)).groupby(owners).mean().to_numpy())
        @ unit.T
        for view in ALIGNED
    ]
    names = sorted(set(owners))
    roles = dict(zip(owners, embeddings.obs["role"].astype(str), strict=True))
    there = np.asarray(~np.isnan(np.stack(scores)).any(axis=2))
    mean = np.where(there[..., None], np.nan_to_num(np.stack(scores)), 0.0).sum(axis=0) / there.sum(axis=0)[:, None]
    member = pd.Series(mean.argmax(axis=1), index=names)
    sizes = member.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    shown = [int(number) for number in sizes.index[:SHOWN]]
    shifts = _shifts(expression, {number: set(member.index[member == number]) for number in shown})
    opened = tuple(_opened(number, member.index[member == number], patients, roles, shifts) for number in shown)
    return Prototypes(run, len(directions), opened, len(sizes) - len(shown), int(sizes.iloc[SHOWN:].sum()))


def _unit(x: Floats) -> Floats:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)


def _opened(number: int, names: Any, patients: pd.DataFrame, roles: Mapping[str, str], shifts: Any) -> Prototype:
    people = patients.reindex(names)
    followed = people.dropna(subset=["time", "event"])
    counts = people["label"].dropna().astype(str).value_counts()
    return Prototype(
        number,
        tuple(map(str, names)),
        sum(roles[name] == "test" for name in names),
        {str(label): int(count) for label, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))},
        len(followed),
        int(followed["event"].astype(float).sum()),
        median_survival(followed) if len(followed) >= FEWEST else None,
        shifts.get(number, ()),
    )


def _shifts(expression: ExpressionTable | None, members: Mapping[int, set[str]]) -> dict[int, tuple[GeneShift, ...]]:
    """Welch's test of every gene of every prototype against everybody else, corrected over all of them together."""
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
        order = [at for at in np.argsort(-np.abs(shift), kind="stable") if rate[at] < FALSE_DISCOVERIES][:GENES]
        found[number] = tuple(
            GeneShift(expression.genes[usable[at]], float(shift[at]), float(rate[at])) for at in order
        )
    return found


def _welch(x: Floats, y: Floats) -> Floats:
    """p-value (G,) of Welch's test of each column of `x` (n, G) against that of `y` (m, G)."""
    moments = [(side.mean(axis=0), side.std(axis=0, ddof=1), len(side)) for side in (x, y)]
    with np.errstate(divide="ignore", invalid="ignore"):  # a gene that is constant on both sides has no p-value
        return np.asarray(ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False).pvalue, dtype=np.float64)
