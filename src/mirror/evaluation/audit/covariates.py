"""Clinical variables that are the label or the outcome under another name.

A column of diagnoses, or the days to death, among the covariates makes the clinical rows of the table as good as what
they are judged by. Legend: N patients.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency

from mirror.evaluation.audit.columns import (
    FEWEST,
    IMPLAUSIBLE_ORDER,
    IMPLAUSIBLE_SHARE,
    WARNED_ORDER,
    Floats,
    classes_of,
    order_p,
    rank_correlations,
    separation_p,
    variance_between,
)
from mirror.evaluation.audit.finding import Check, Finding, Severity

NAME = "clinical variables that give away"
WARNED_SHARE = 0.5
"""Share of the variance of a variable and of label or outcome that is the same, above which it is worth a look. Genes
come in crowds, clinical variables do not: none has to stand apart. A label of which 10 % is wrong has 0.64."""

REMEDY = "leave it out of `clinical.covariates`, unless a clinic has it before the outcome is known"


def check_covariates(covariates: pd.DataFrame, patients: pd.DataFrame) -> Check:
    """`covariates` (index: patient): float64 for numbers, str or None for categories; `patients` label, time, event."""
    if not len(covariates.columns):
        return Check(NAME, "no clinical variable is predicted from")
    known = covariates.reindex(patients.index)
    event = patients["event"].astype("boolean")
    happened = event.fillna(False).to_numpy(dtype=bool) & patients["time"].notna().to_numpy()
    time = patients["time"].to_numpy(np.float64)
    findings: list[Finding] = []
    tests = 0
    for name in known:
        for target, values in (("label", patients["label"]), ("event", event)):
            findings += _telling(known[name], values.astype(object), str(name), target)
            tests += 1
        if pd.api.types.is_numeric_dtype(known[name]) and happened.sum() >= FEWEST:
            findings += _ordering(known[name].to_numpy(np.float64)[happened], time[happened], str(name))
            tests += 1
    looked = (
        f"{', '.join(map(str, known))} against label, event and time to the event: a leak above {IMPLAUSIBLE_SHARE} of "
        f"the variance or a rank correlation of {IMPLAUSIBLE_ORDER}, a warning above {WARNED_SHARE} or {WARNED_ORDER}"
    )
    return Check(NAME, looked, tuple(findings), tests)


def _telling(column: pd.Series, values: pd.Series, name: str, target: str) -> Iterator[Finding]:
    """A finding where `column` (N,) and the classes `values` (N,) are all but the same."""
    there = column.notna().to_numpy()
    number = pd.api.types.is_numeric_dtype(column)
    if not number:
        # A category of few patients tells nothing of the next one, be it as pure as it may.
        counts = column.map(column.value_counts())
        there &= (counts >= FEWEST).fillna(False).to_numpy(dtype=bool)
    members, codes = classes_of(values[there])
    if not len(codes):
        return
    told = column[there][members]
    if number:
        share = float(variance_between(told.to_numpy(np.float64)[:, None], codes)[0])
        p = separation_p(share, codes)
    else:
        groups = np.unique(told.astype(str).to_numpy(), return_inverse=True)[1]
        if groups.max() == 0:
            return
        share = _share_told(codes, groups)
        tested: Any = chi2_contingency(pd.crosstab(groups, codes).to_numpy(), correction=False)
        p = float(tested.pvalue)
    severity = _severity(share, IMPLAUSIBLE_SHARE, WARNED_SHARE)
    if severity is not None:
        of = "its variance" if number else f"the variance of the {target}"
        sentence = f"the clinical variable '{name}' is nearly the {target}: the two share {share:.3f} of {of}"
        yield Finding(NAME, severity, name, share, f"shared with {target}", sentence, REMEDY, (name,), p=p)


def _ordering(column: Floats, time: Floats, name: str) -> Iterator[Finding]:
    """A finding where `column` (N,) orders the times of those who had the event."""
    order, known = rank_correlations(column[:, None], time)
    size = float(np.abs(order[0]))
    severity = _severity(size, IMPLAUSIBLE_ORDER, WARNED_ORDER)
    if severity is not None:
        sentence = (
            f"the clinical variable '{name}' orders the times of {known[0]:,} patients with the event with a rank "
            f"correlation of {size:.3f}"
        )
        p = float(order_p(order, known)[0])
        yield Finding(NAME, severity, name, size, "rank correlation", sentence, REMEDY, (name,), p=p)


def _severity(size: float, implausible: float, warned: float) -> Severity | None:
    return "leak" if size > implausible else "warning" if size > warned else None


def _share_told(codes: np.ndarray, groups: np.ndarray) -> float:
    """Share of the variance of class membership that lies between `groups` (Goodman and Kruskal's tau), both (N,).

    Corrected for what chance gives as `variance_between` is. So a group may be a part of a class.
    """
    table = pd.crosstab(groups, codes).to_numpy().astype(np.float64)
    n, sizes = table.sum(), table.sum(axis=1)
    total = 1 - ((table.sum(axis=0) / n) ** 2).sum()
    within = (sizes / n * (1 - ((table / sizes[:, None]) ** 2).sum(axis=1))).sum()
    return float(1 - within / total * (n - 1) / max(n - len(sizes), 1.0))
