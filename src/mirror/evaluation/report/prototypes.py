"""Prototypes, opened: who is in each, which label and survival they have, and which genes differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from mirror.data.expression import ExpressionTable
from mirror.evaluation.embed import EmbeddedRows
from mirror.evaluation.metrics import Floats
from mirror.evaluation.prototypes import FEWEST, GeneShift, gene_shifts, membership
from mirror.evaluation.report.risk_split import median_survival

SHOWN = 8
"""Prototypes that are opened, the largest first; the others are counted."""
GENES, GENES_IN_A_ROW = 8, 4
"""Genes of a prototype that are named where it is opened, and in a row of a table; the others are counted."""


class Prototype(NamedTuple):
    """One prototype: its `number` in the model, its patients by name, and what they have in common.

    `labels` name -> patients; `events` of `followed` patients with follow-up; `months` the median survival, None where
    the curve does not reach it; `genes` all that differ, the most shifted first, of a false discovery rate below 5 %
    over all genes of all prototypes shown.
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
        """What it is called: its number in the model, from 0 as runs, folds and every file have it."""
        return str(self.number)


class Prototypes(NamedTuple):
    """Those of one run that have patients: `shown` opened, `others` smaller ones with `others_patients` in all."""

    run: str
    total: int
    shown: tuple[Prototype, ...]
    others: int
    others_patients: int


def prototypes(
    embeddings: EmbeddedRows,
    directions: Floats,
    patients: pd.DataFrame,
    expression: ExpressionTable | None,
    *,
    run: str,
) -> Prototypes | None:
    """`directions` (P, K) as the model has them, in the space of the aligned views; `patients` (index: patient) with
    label, time, event. None where the embedding has no such views."""
    found = membership(embeddings, directions)
    if found is None:
        return None
    used = {number: found.members(number) for number in found.in_use}
    shown = dict(list(used.items())[:SHOWN])
    roles = dict(zip(found.patients, found.roles, strict=True))
    shifts = gene_shifts(expression, {number: set(names) for number, names in shown.items()})
    opened = tuple(opened_prototype(number, names, patients, roles, shifts) for number, names in shown.items())
    others = len(found.patients) - sum(map(len, shown.values()))
    return Prototypes(run, len(directions), opened, len(used) - len(shown), others)


def opened_prototype(
    number: int,
    names: tuple[str, ...],
    patients: pd.DataFrame,
    roles: Mapping[str, str],
    shifts: Mapping[int, tuple[GeneShift, ...]],
) -> Prototype:
    """What the patients `names` of a prototype have in common; `roles` says whom the model was trained on."""
    people: Any = patients.reindex(list(names))
    followed = people.dropna(subset=["time", "event"])
    counts = people["label"].dropna().astype(str).value_counts()
    return Prototype(
        number,
        names,
        sum(roles[name] == "test" for name in names),
        {str(label): int(count) for label, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))},
        len(followed),
        int(followed["event"].astype(float).sum()),
        median_survival(followed) if len(followed) >= FEWEST else None,
        shifts.get(number, ()),
    )
