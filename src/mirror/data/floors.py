"""Floor values by which groups of patients are told apart without any biology.

Where a gene is not expressed its patients share one lowest value. If studies, sites or batches were standardised or
corrected each on its own, the same zero became another number in each, and whoever reads the gene reads the group.
One group with a floor of its own may be biology: its tumours do not express the gene. Two groups with different floors
are not. Legend: N patients, G genes, B genes at once, M groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirror.data.expression import ExpressionTable

Array = NDArray[np.float64]

FALSE_DISCOVERIES = 0.05
"""Expected share of genes that are named though their groups differ by chance alone."""

# Fewer patients, or a smaller share of a group, at its lowest value tell too few apart to matter.
_FLOOR_PATIENTS, _FLOOR_SHARE = 3, 0.02
# A value that more of the other groups' cells have in other genes is of the scale of the table, not of a group.
_SHARED_SCALE = 0.01
_GENES_AT_ONCE = 4096


class Floor(NamedTuple):
    """A gene with a floor of its own in at least two groups: value and share of the patients at it, by group, and the
    probability `p` that groups drawn by chance look so."""

    gene: str
    by_group: Mapping[str, float]
    share: Mapping[str, float]
    p: float


def group_floors(table: ExpressionTable, groups: Sequence[str | None]) -> tuple[Floor, ...]:
    """The genes of `table` whose floor values tell `groups` (N,) apart, the most telling first; None is in no group.

    A group's lowest value is a floor when 3 of its patients and 2 % of them have exactly it. It is the group's own as
    far as the patients at it, wherever they are, are of this group: the hypergeometric probability of as many. A gene
    is judged by the second smallest probability among its different floors, times M - 1, the p-value of "no more than
    one group has a floor of its own" (Benjamini and Heller, Biometrics 2008). Over all genes the false discovery rate
    is held at `FALSE_DISCOVERIES` (Benjamini and Hochberg). Genes whose floors are values that the other groups have
    in other genes are let go: see `_without_a_shared_scale`.
    """
    names = sorted({group for group in groups if group is not None})
    rows = [np.array([row for row, group in enumerate(groups) if group == name]) for name in names]
    if len(names) < 2 or not table.genes:
        return ()
    candidates: list[Floor] = []
    for start in range(0, len(table.genes), _GENES_AT_ONCE):
        genes = table.genes[start : start + _GENES_AT_ONCE]
        spikes = _spikes([table.values[members, start : start + _GENES_AT_ONCE] for members in rows])
        several = np.flatnonzero((spikes.p < 1).sum(axis=0) > 1)
        judged = (_judge(genes[column], names, spikes, int(column)) for column in several)
        candidates += [floor for floor in judged if floor is not None]
    candidates = _without_a_shared_scale(candidates, table, dict(zip(names, rows, strict=True)))
    from scipy.stats import false_discovery_control  # a second of start-up that only cohorts with groups pay

    # Genes without two floors have p = 1: they count among those that were looked at.
    p = [floor.p for floor in candidates] + [1.0] * (len(table.genes) - len(candidates))
    rate = false_discovery_control(p)[: len(candidates)]
    floors = [floor for floor, share in zip(candidates, rate, strict=True) if share <= FALSE_DISCOVERIES]
    return tuple(sorted(floors, key=lambda floor: (floor.p, floor.gene)))


def describe_floors(table: ExpressionTable, by: str, groups: Mapping[str, str]) -> dict[str, Any]:
    """What cohort.json says of the groups in column `by` (patient -> group): sizes, genes, and a sentence if any."""
    named = [groups.get(patient) for patient in table.patients]
    floors = group_floors(table, named)
    sizes = {name: named.count(name) for name in sorted({name for name in named if name is not None})}
    return {
        "by": by,
        "groups": sizes,
        "genes": len(floors),
        "examples": [floor.gene for floor in floors[:5]],
        "sentence": floors_sentence(by, floors, genes=len(table.genes)) if floors else None,
    }


def artefact_sentences(facts: Mapping[str, Any]) -> list[str]:
    """The sentences of cohort.json's `floors` that say of a column that expression tells its groups apart."""
    return [found["sentence"] for found in facts.get("floors", ()) if found["sentence"]]


def floors_sentence(by: str, floors: Sequence[Floor], *, genes: int) -> str:
    """What `floors` (at least one) of the groups in column `by` mean for whoever reads scores."""
    first = floors[0]
    # One group a value, the first by name: of many sites or batches a few show what is meant.
    shown: dict[float, str] = {}
    for name, value in first.by_group.items():
        shown.setdefault(value, name)
    values = [f"{name} {value:.4g} in {first.share[name]:.0%}" for value, name in sorted(shown.items())]
    return (
        f"Expression tells the groups in column '{by}' apart by artefact: in {len(floors):,} of {genes:,} genes they "
        f"have floor values of their own ({first.gene}: {', '.join(values[:3])} of its patients), as where values were "
        "standardised study by study. Expression-based subtyping is not to be trusted here, and every other score that "
        "reads expression may read the group in it."
    )


def _judge(gene: str, names: Sequence[str], spikes: _Spikes, column: int) -> Floor | None:
    """The floors of one gene, None where its groups share one value."""
    own = {name: place for place, name in enumerate(names) if spikes.p[place, column] < 1}
    by_group = {name: float(spikes.value[place, column]) for name, place in own.items()}
    share = {name: float(spikes.share[place, column]) for name, place in own.items()}
    by_value: dict[float, float] = {}
    for name, place in own.items():
        chance = float(spikes.p[place, column])
        by_value[by_group[name]] = min(by_value.get(by_group[name], 1.0), chance)
    if len(by_value) < 2:
        return None
    return Floor(gene, by_group, share, min(1.0, (len(names) - 1) * sorted(by_value.values())[1]))


def _without_a_shared_scale(
    floors: Sequence[Floor], table: ExpressionTable, rows: Mapping[str, NDArray[np.intp]]
) -> list[Floor]:
    """Those of `floors` with two different values that the other groups do not have in the other genes.

    Counts, and logs of them, are everywhere the same few numbers: a group without zeros begins at 1, and that is no
    number of its own.
    """
    if not floors:
        return []
    values = np.unique(np.array([value for floor in floors for value in floor.by_group.values()], dtype=np.float32))
    seen = np.zeros((len(rows), len(values)))
    for start in range(0, len(table.genes), _GENES_AT_ONCE):
        for place, members in enumerate(rows.values()):
            seen[place] += _occurrences(table.values[members, start : start + _GENES_AT_ONCE], values)
    total, cells = seen.sum(axis=0), table.values.shape[1] - 1
    column = {gene: place for place, gene in enumerate(table.genes)}
    kept: list[Floor] = []
    for floor in floors:
        gene = table.values[:, column[floor.gene]]
        own: set[float] = set()
        for place, name in enumerate(rows):
            if name in floor.by_group:
                value = np.float32(floor.by_group[name])
                at = np.searchsorted(values, value)
                others = np.concatenate([patients for group, patients in rows.items() if group != name])
                elsewhere = total[at] - seen[place, at] - (gene[others] == value).sum()
                if elsewhere <= _SHARED_SCALE * len(others) * cells:
                    own.add(floor.by_group[name])
        if len(own) > 1:
            kept.append(floor)
    return kept


def _occurrences(cells: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.intp]:
    """How often each of `values` (ascending, distinct) is among `cells`."""
    flat = cells.ravel()
    at = np.minimum(np.searchsorted(values, flat), len(values) - 1)
    return np.bincount(at[values[at] == flat], minlength=len(values))


class _Spikes(NamedTuple):
    """Of every group and gene (M, B): lowest value, share of the group's patients at it, and the probability of as
    many in the group; 1 where it is no floor."""

    value: NDArray[np.float32]
    share: Array
    p: Array


def _spikes(parts: Sequence[NDArray[np.float32]]) -> _Spikes:
    """Of groups' values (n, B), NaN where missing."""
    from scipy.stats import hypergeom

    present = np.array([(~np.isnan(part)).sum(axis=0) for part in parts])
    value = np.array([np.fmin.reduce(part, axis=0) for part in parts])
    tied = np.array([(part == low).sum(axis=0) for part, low in zip(parts, value, strict=True)])
    share = tied / np.maximum(present, 1)
    floor = (tied >= _FLOOR_PATIENTS) & (share >= _FLOOR_SHARE)
    p = np.ones(share.shape)
    several = floor.sum(axis=0) > 1
    for group in range(len(parts)):
        at = np.flatnonzero(floor[group] & several)
        everywhere = sum((other[:, at] == value[group, at]).sum(axis=0) for other in parts)
        total = present[:, at].sum(axis=0)
        p[group, at] = hypergeom.sf(tied[group, at] - 1, total, everywhere, present[group, at])
    return _Spikes(value, share, p)
