"""Expression columns that give away a label, an outcome or a group by artefact, without any biology.

Three signs: floor values of groups (`mirror.data.floors`); a column that alone tells two groups apart as no gene does;
a column that orders survival times as no gene does. What no gene does is a leak. What a gene may do, but rarely, is a
warning: a column that tells groups apart far better than all others (a label with errors or noise), or that takes no
more values than there are groups. Legend: N patients, G genes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import f, rankdata, t

from mirror.data.expression import ExpressionTable
from mirror.data.floors import floors_sentence, group_floors
from mirror.evaluation.audit.finding import Check, Finding, Severity, few

NAME = "expression that gives away by artefact"

IMPLAUSIBLE_SHARE = 0.99
"""Share of a column's variance that lies between the classes, above which it is the label and not a gene: two classes
of equal size would lie twenty standard deviations apart. Between six cancers the most telling gene of 20,531 has 0.981
(MLANA, of melanoma), between ductal and lobular breast cancer 0.289, between the sexes 0.44 (KDM5C)."""

WARNED_SHARE, STANDS_APART, FEW_APART = 0.9, 8.0, 5
"""A share between the classes that is worth a look where at most `FEW_APART` columns have it and the next one leaves
`STANDS_APART` times as much unexplained: markers of a tissue come in crowds, a copy of the label stands alone. A label
of which 1 % is wrong has 0.96 (0.93 where one class is a fifth), one with noise of a tenth of its step 0.96."""

WARNED_FEW_VALUED = 0.4
"""The same of a column with no more values than there are classes, as no measured gene has: there 10 % of wrong labels
are found too (0.64; 0.52 where one class is a fifth)."""

IMPLAUSIBLE_ORDER, WARNED_ORDER = 0.95, 0.8
"""Rank correlation of a column with the time to the event, among those who had it, that no gene comes near; and one
that is worth a look."""

FEWEST = 8
"""Patients a group, or events: with fewer a perfect order is no wonder."""

Floats = NDArray[np.float64]


def check_columns(
    expression: ExpressionTable | None,
    patients: pd.DataFrame,
    groups: Mapping[str, Mapping[str, str]],
    *,
    label: str | None = None,
) -> Check:
    """`patients` (index: patient) has label, time, event; `groups`: column -> patient -> group, searched for floors,
    the column called `label` among them."""
    if expression is None:
        return Check(NAME, "no expression in this cohort")
    people = patients.reindex(list(expression.patients))
    targets = {"label": people["label"].astype(object), "event": people["event"].astype(object)}
    # The label is searched for floors as a group is, but it is one target.
    others = {by: told for by, told in groups.items() if by != label}
    targets |= {by: pd.Series([told.get(name) for name in expression.patients]) for by, told in others.items()}
    findings: list[Finding] = []
    tests = 0
    for by, told in groups.items():
        findings += _floors(expression, by, told)
        tests += 1
    for target, values in targets.items():
        told_apart = _separating(expression, values, target)
        findings += told_apart
        tests += max(1, len(told_apart))
    event = people["event"].astype("boolean").fillna(False).to_numpy(dtype=bool) & people["time"].notna().to_numpy()
    if event.sum() >= FEWEST:
        ordered = list(_ordering(expression, people["time"].to_numpy(np.float64), event))
        findings += ordered
        tests += max(1, len(ordered))
    looked = (
        f"{len(expression.genes):,} columns against {', '.join([*targets, 'time to the event'])}: a leak above "
        f"{IMPLAUSIBLE_SHARE} of the variance or a rank correlation of {IMPLAUSIBLE_ORDER}, a warning above "
        f"{WARNED_SHARE} where no other column comes near, {WARNED_FEW_VALUED} where a column has as few values as "
        f"there are groups, or a rank correlation of {WARNED_ORDER}"
    )
    return Check(NAME, looked, tuple(findings), tests)


def _floors(expression: ExpressionTable, by: str, told: Mapping[str, str]) -> Iterable[Finding]:
    floors = group_floors(expression, [told.get(patient) for patient in expression.patients])
    if floors:
        yield Finding(
            NAME,
            "leak",
            f"column '{by}'",
            len(floors),
            f"of {len(expression.genes):,} genes",
            floors_sentence(by, floors, genes=len(expression.genes)).rstrip("."),
            "have values of all studies on one scale (from the raw counts, or standardised together on training "
            "patients), or judge slides alone",
            tuple(floor.gene for floor in floors),
            p=min(1.0, floors[0].p * len(expression.genes)),
        )


def _separating(expression: ExpressionTable, values: pd.Series, target: str) -> list[Finding]:
    """Columns that are nearly constant within every class of `values` (N,), and different between them; then those that
    stand apart from all others."""
    members, codes = classes_of(values)
    if not len(codes):
        return []
    x = expression.values[members].astype(np.float64)
    share = variance_between(x, codes)
    certain = np.flatnonzero(share > IMPLAUSIBLE_SHARE)
    open_to = np.setdiff1d(np.arange(len(share)), certain)
    apart = open_to[standing_apart(share[open_to])]
    few_valued = [column for column in open_to[share[open_to] > WARNED_FEW_VALUED] if _few_valued(x[:, column], codes)]
    doubtful = np.union1d(apart, few_valued).astype(np.intp)
    rest = np.delete(share, [*certain, *doubtful])
    plain = f", of the best other column {max(0.0, rest.max()):.3f}" if len(rest) else ""
    groups = f"the {codes.max() + 1} groups{plain}"
    findings: list[Finding] = []
    tiers: tuple[tuple[Severity, NDArray[np.intp]], ...] = (("leak", certain), ("warning", doubtful))
    for severity, columns in tiers:
        if not len(columns):
            continue
        best = float(share[columns].max())
        genes = tuple(expression.genes[column] for column in columns)
        verb = "is" if len(genes) == 1 else "are each"
        sentence, remedy = (
            (
                f"{few(genes)} {verb} all but made of the {target}: {best:.3f} of its variance lies between {groups}",
                "it is most likely no gene: name it in `expression.ignore_columns`",
            )
            if severity == "leak"
            else (
                f"{few(genes)} {verb} as near to the {target} as a copy with errors: {best:.3f} of its variance lies "
                f"between {groups}",
                "look what it is: a copy belongs into `expression.ignore_columns`; a gene can do this too, as XIST "
                "between the sexes",
            )
        )
        p = min(1.0, separation_p(best, codes) * len(expression.genes))
        findings.append(
            Finding(NAME, severity, few(genes), best, f"of its variance is {target}", sentence, remedy, genes, p=p)
        )
    return findings


def classes_of(values: pd.Series) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Who of `values` (N,) is in a class of at least `FEWEST` patients, and their codes 0 ... K - 1; of fewer than two
    such classes no codes."""
    known = values.notna().to_numpy()
    names = values.where(known, None).map(str).to_numpy(dtype=object)
    large = [name for name in sorted(set(names[known])) if (known & (names == name)).sum() >= FEWEST]
    members = known & np.isin(names, large)
    codes = np.array([large.index(name) for name in names[members]], dtype=np.intp)
    return members, codes if len(large) > 1 else codes[:0]


def standing_apart(share: Floats) -> NDArray[np.intp]:
    """The few columns whose `share` (G,) is above `WARNED_SHARE` with a wide gap below them; none in a crowd."""
    order = np.argsort(-share, kind="stable")
    left = 1 - share[order]
    for count in range(min(FEW_APART, len(order) - 1), 0, -1):
        if share[order[count - 1]] > WARNED_SHARE and left[count] >= STANDS_APART * left[count - 1]:
            return order[:count]
    return order[:0]


def _few_valued(column: Floats, codes: NDArray[np.intp]) -> bool:
    return len(np.unique(column[~np.isnan(column)])) <= codes.max() + 1


def separation_p(share: float, codes: NDArray[np.intp]) -> float:
    """p of a column that has `share` of its variance (epsilon squared) between the classes `codes` (N,)."""
    counts = np.bincount(codes)
    between, free = len(counts) - 1, len(codes) - len(counts)
    # From the unadjusted share: its F statistic under normal values without any difference.
    whole = min(1 - (1 - share) * free / (len(codes) - 1), 1 - 1e-12)
    p = float(f.sf(whole / between / ((1 - whole) / free), between, free))
    # Values need not be normal: no perfect split is rarer than one deal of the classes among all.
    return max(p, float(np.exp(gammaln(counts + 1).sum() - gammaln(len(codes) + 1))))


def variance_between(x: Floats, codes: NDArray[np.intp]) -> Floats:
    """Share of the variance of each column of `x` (N, G) that lies between the classes 0 ... K - 1 of `codes` (N,).

    Corrected for what chance gives (epsilon squared), so 0 is expected of a column without any difference; (G,). A gap
    takes no part; 0 for constant columns and those with fewer than `FEWEST` values in a class.
    """
    there = ~np.isnan(x)
    classes = codes == np.arange(codes.max() + 1)[:, None]
    counts = classes.astype(np.float64) @ there
    n = there.sum(axis=0)
    filled = np.where(there, x - np.nan_to_num(np.where(there, x, 0.0).sum(axis=0) / np.maximum(n, 1)), 0.0)
    sums = classes.astype(np.float64) @ filled
    total = (filled**2).sum(axis=0)
    between = (sums**2 / np.maximum(counts, 1)).sum(axis=0)
    usable = (counts >= FEWEST).all(axis=0) & (total > 1e-12 * np.maximum(1.0, np.nanmax(np.abs(x), axis=0) ** 2))
    share = np.divide(between, total, out=np.zeros(len(n)), where=usable)
    return np.where(usable, 1 - (1 - share) * (n - 1) / np.maximum(n - len(classes), 1), 0.0)


def _ordering(expression: ExpressionTable, time: Floats, event: NDArray[np.bool_]) -> Iterable[Finding]:
    """Columns that order the times of those who had the event."""
    order, known = rank_correlations(expression.values[event].astype(np.float64), time[event])
    size, p = np.abs(order), order_p(order, known)
    certain = size > IMPLAUSIBLE_ORDER
    tiers: tuple[tuple[Severity, NDArray[np.bool_]], ...] = (
        ("leak", certain),
        ("warning", (size > WARNED_ORDER) & ~certain),
    )
    for severity, found in tiers:
        columns = np.flatnonzero(found)
        if len(columns):
            names = tuple(str(expression.genes[column]) for column in columns)
            best, counted_on = float(size[columns].max()), int(known[columns].max())
            yield Finding(
                NAME,
                severity,
                few(names),
                best,
                "rank correlation",
                f"a single column ({few(names)}) orders the times of {counted_on:,} patients with the event with a "
                f"rank correlation of {best:.3f}",
                "it is most likely the time itself, or made from it: name it in `expression.ignore_columns`",
                names,
                p=min(1.0, float(p[columns].min()) * len(expression.genes)),
            )


def rank_correlations(x: Floats, time: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Spearman's correlation of each column of `x` (N, G) with `time` (N,), and of how many patients it is, both (G,).

    A gap takes no part; 0 for constant columns and those with fewer than `FEWEST` values.
    """
    there = ~np.isnan(x)
    known, order = there.sum(axis=0), np.zeros(x.shape[1])
    complete = there.all(axis=0)
    order[complete] = _of_ranks(rankdata(x[:, complete], axis=0), rankdata(time))
    for column in np.flatnonzero(~complete & (known >= FEWEST)):
        rows = there[:, column]
        order[column] = _of_ranks(rankdata(x[rows, column])[:, None], rankdata(time[rows]))[0]
    return order, known


def _of_ranks(ranks: Floats, own: Floats) -> Floats:
    """Correlation of each column of `ranks` (N, G) with `own` (N,)."""
    ranks, own = ranks - ranks.mean(axis=0), own - own.mean()
    size = np.sqrt((ranks**2).sum(axis=0) * (own**2).sum())
    return np.divide(own @ ranks, size, out=np.zeros(ranks.shape[1]), where=size > 0)


def order_p(order: Floats, known: NDArray[np.intp]) -> Floats:
    """Two-sided p of the rank correlations `order` (G,) of `known` (G,) patients: Student's t, and never below that of
    the one perfect order of so many."""
    freedom = np.maximum(known - 2, 1)
    by_t = 2 * t.sf(np.abs(order) * np.sqrt(freedom / np.maximum(1 - order**2, 1e-12)), freedom)
    return np.maximum(by_t, 2 * np.exp(-gammaln(known + 1.0)))
