"""What the prototypes of a model stand for, how stable they are, what they cover.

Prototypes are learned without outcomes, so the patients a model was trained on may be tested as well as those it has
not seen; both are reported, because the features of training patients did shape the prototypes. A patient counts once,
however many slides there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from lifelines.statistics import logrank_test
from scipy.special import softmax
from scipy.stats import entropy, fisher_exact
from sklearn.metrics import adjusted_rand_score

from mirror.evaluation.bootstrap import holm
from mirror.evaluation.prototypes import FEWEST, Membership

AMONG = ("all", "test")
SURE = 0.5
SURVIVAL = "survival"


class Association(NamedTuple):
    """One test: is `outcome` (`label:ILC`, `survival`) different in a prototype from that of everybody else?

    `among` all patients of the run or its test patients; `inside` and `outside` with a known outcome. `value`: the odds
    ratio of the label by Fisher's exact test; of survival, by the log-rank test, events inside over those expected.
    `p` two-sided, `p_holm` after Holm over every test of the whole answer.
    """

    run: str
    prototype: int
    outcome: str
    among: str
    inside: int
    outside: int
    value: float
    p: float
    p_holm: float = float("nan")


class Coverage(NamedTuple):
    """How much of a run's patients its prototypes cover.

    Of `total` prototypes `in_use` have patients and `large` have `FEWEST` or more; `share_large` of the patients are in
    those, `share_sure` of them belong to their prototype with a probability above one half (softmax of their closeness
    to all prototypes over the model's temperature). `effective`: the number of equally large prototypes that have the
    same entropy, 1 where all patients are in one.
    """

    total: int
    in_use: int
    large: int
    share_large: float
    share_sure: float
    effective: float


class Stability(NamedTuple):
    """How alike two models divide the patients: `adjusted_rand` in [-1, 1], 0 by chance; and for each prototype of the
    first its `best_match` in the second, the largest Jaccard index of their patients, in [0, 1]."""

    adjusted_rand: float
    best_match: dict[int, float]


def associations(run: str, found: Membership, patients: pd.DataFrame, classes: Sequence[str]) -> list[Association]:
    """Every test of every prototype with at least `FEWEST` patients among those tested, uncorrected.

    `patients` (index: patient) with label, time, event. Who has no label, or no follow-up, is in no test of it.
    """
    people = patients.reindex(list(found.patients))
    labels = classes[1:] if len(classes) == 2 else classes  # of two classes both tests would be one
    role, prototype = np.array(found.roles), found.prototype
    tests: list[Association] = []
    for among in AMONG:
        some = np.ones(len(role), dtype=bool) if among == "all" else role == "test"
        for number in found.in_use:
            inside = prototype == number
            if (inside & some).sum() < FEWEST:
                continue
            labelled = some & people["label"].isin(list(classes)).to_numpy()
            for label in labels:
                has = (people["label"] == label).to_numpy(dtype=bool, na_value=False)
                tests += _label(run, number, label, among, inside[labelled], has[labelled])
            followed = some & people["time"].notna().to_numpy() & people["event"].notna().to_numpy()
            tests += _survival(run, number, among, inside[followed], people[followed])
    return tests


def corrected(tests: Iterable[Association]) -> list[Association]:
    """With Holm's correction over all of them."""
    every = list(tests)
    p = holm(one.p for one in every)
    return [one._replace(p_holm=float(value)) for one, value in zip(every, p, strict=True)]


def coverage(found: Membership, *, temperature: float) -> Coverage:
    """`temperature` is the model's, of the cosines that prototypes were learned with."""
    sizes = np.bincount(found.prototype, minlength=found.closeness.shape[1])
    large = sizes >= FEWEST
    chance = softmax(found.closeness / temperature, axis=1).max(axis=1)
    return Coverage(
        len(sizes),
        int((sizes > 0).sum()),
        int(large.sum()),
        float(sizes[large].sum() / sizes.sum()),
        float((chance > SURE).mean()),
        float(np.exp(entropy(sizes / sizes.sum()))),
    )


def stability(first: Membership, second: Membership) -> Stability | None:
    """Over the patients of both; None where they share none."""
    shared = sorted(set(first.patients) & set(second.patients))
    if not shared:
        return None
    a, b = (
        pd.Series(one.prototype, index=list(one.patients)).loc[shared].to_numpy() for one in (first, second)
    )  # numbers of prototypes are each model's own
    counts = pd.crosstab(a, b)
    union = counts.sum(axis=1).to_numpy()[:, None] + counts.sum(axis=0).to_numpy() - counts.to_numpy()
    best = (counts.to_numpy() / union).max(axis=1)
    return Stability(
        float(adjusted_rand_score(a, b)),
        {int(number): float(value) for number, value in zip(counts.index, best, strict=True)},
    )


def _label(run: str, number: int, label: str, among: str, inside: np.ndarray, has: np.ndarray) -> list[Association]:
    if not inside.any() or inside.all() or not has.any() or has.all():
        return []
    table = [[int((side & part).sum()) for part in (has, ~has)] for side in (inside, ~inside)]
    found: Any = fisher_exact(table)
    sizes = int(inside.sum()), int((~inside).sum())
    return [Association(run, number, f"label:{label}", among, *sizes, float(found.statistic), float(found.pvalue))]


def _survival(run: str, number: int, among: str, inside: np.ndarray, people: pd.DataFrame) -> list[Association]:
    time, event = people["time"].to_numpy(dtype=float), people["event"].to_numpy(dtype=float) > 0.5
    if inside.sum() < FEWEST or (~inside).sum() < FEWEST or event.sum() < 2:
        return []
    p = float(logrank_test(time[inside], time[~inside], event[inside], event[~inside]).p_value)
    moments = np.unique(time[event])
    at_risk = time[:, None] >= moments
    died = np.array([(event & (time == moment)).sum() for moment in moments])
    expected = float((died * at_risk[inside].sum(axis=0) / at_risk.sum(axis=0)).sum())
    value = float(event[inside].sum() / expected) if expected > 0 else float("nan")
    return [Association(run, number, SURVIVAL, among, int(inside.sum()), int((~inside).sum()), value, p)]
