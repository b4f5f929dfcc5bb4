"""Whether the site that tissue comes from alone tells how patients fare. Legend: N patients, S sites.

Hospitals send patients of other stages and follow them for other times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.evaluation.audit.columns import FEWEST
from mirror.evaluation.audit.finding import Check, Finding
from mirror.evaluation.audit.sites import check_each, mean_over_folds, share_as_large
from mirror.evaluation.metrics import Floats, c_index
from mirror.seeding import rng_for
from mirror.types import Fold

NAME = "site confounded with survival"
SMALL = "sites of few patients"


def check_site_survival(sites: Mapping[str, Mapping[str, str]], patients: pd.DataFrame, folds: Sequence[Fold]) -> Check:
    """`sites`: column -> patient -> site; `patients` (index: patient) has time and event, missing without follow-up."""
    followed = patients[["time", "event"]].dropna().astype(np.float64)
    if followed["event"].sum() < FEWEST:
        return Check(NAME, f"fewer than {FEWEST} patients are known to have had the event")

    def look(by: str, both: pd.DataFrame) -> tuple[str, Finding] | None:
        large = both["site"].map(both["site"].value_counts()) >= FEWEST
        both = both.assign(site=both["site"].where(large, SMALL))
        count = both["site"].nunique()
        if count < 2 or both["event"].sum() < FEWEST:
            return None
        p, index, apart = permuted_log_rank(both), site_c_index(both, folds), site_hazards(both)
        ratio = float(apart.max() / apart.min())
        ordered = "no fold has test patients to order" if np.isnan(index) else f"c-index of test patients {index:.3f}"
        told = (
            f"{by} alone tells groups apart of which one has {ratio:.2f} times the hazard of another (log-rank over "
            f"{count} groups; no fold has test patients to order by it)"
            if np.isnan(index)
            else f"{by} alone, seen on training patients, tells the survival of test patients: of two of them it names "
            f"whose event came first in {100 * index:.0f} of 100 pairs (c-index {index:.3f}, log-rank over "
            f"{count} groups)"
        )
        return (
            f"{by} ({count} sites, those of fewer than {FEWEST} patients as one: {ordered}, "
            f"p {p:.2g} before Holm's correction)"
        ), Finding(
            NAME,
            "warning",
            by,
            ratio if np.isnan(index) else index,
            "times the hazard" if np.isnan(index) else "c-index",
            f"{told}; a model that reads the group off a slide has that much without anything else",
            "read the c-indices beside this number, or, of sites, make folds that keep each one in one half "
            "(`folds.path`)",
            tuple(sorted(both["site"].unique())),
            p=p,
        )

    return check_each(NAME, sites, followed, look)


def permuted_log_rank(both: pd.DataFrame) -> float:
    """p of as large a log-rank statistic over `site` (N,) where outcomes are dealt anew among patients; never 0.

    The statistic is the sum over sites of (observed - expected)^2 / expected events, expected by the Nelson-Aalen
    hazard of all patients: its distribution is not chi-square where sites are small.
    """
    rng = rng_for(0, "audit", "site survival")
    codes = np.sort(np.unique(both["site"].to_numpy(dtype=object), return_inverse=True)[1])
    order = np.argsort(np.unique(both["site"].to_numpy(dtype=object), return_inverse=True)[1], kind="stable")
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    event = both["event"].to_numpy(np.float64)[order]
    expected = expected_events(both["time"].to_numpy(np.float64)[order], event)

    def statistic(places: NDArray[np.intp]) -> Floats:
        seen, awaited = (np.add.reduceat(one[places], starts, axis=1) for one in (event, expected))
        return ((seen - awaited) ** 2 / np.maximum(awaited, 1e-12)).sum(axis=1)

    own = np.arange(len(event))
    observed = float(statistic(own[None])[0])
    return share_as_large(lambda count: statistic(rng.permuted(np.tile(own, (count, 1)), axis=1)), observed)


def expected_events(time: Floats, event: Floats) -> Floats:
    """Events each patient (N,) was to have by the end of the own follow-up, at the hazard of all (Nelson-Aalen)."""
    at, own = np.unique(time, return_inverse=True)
    happened, leaving = np.bincount(own, event, len(at)), np.bincount(own, minlength=len(at))
    at_risk = leaving[::-1].cumsum()[::-1]
    return (happened / at_risk).cumsum()[own]


def site_hazards(patients: pd.DataFrame) -> pd.Series:
    """Hazard of each `site` among these patients (N rows of time, event, site), 1 that of all of them; (S,).

    Its events over its expected ones, one more of each added, so that few patients say little.
    """
    awaited = expected_events(patients["time"].to_numpy(np.float64), patients["event"].to_numpy(np.float64))
    sums = patients.assign(awaited=awaited).groupby("site")[["event", "awaited"]].sum() + 1
    return sums["event"] / sums["awaited"]


def site_c_index(both: pd.DataFrame, folds: Sequence[Fold]) -> float:
    """c-index of ordering test patients by the hazard of their `site` among training patients, mean over folds.

    An unseen site has the hazard of all. NaN where no fold can say.
    """

    def judge(train: NDArray[np.bool_], test: NDArray[np.bool_]) -> float:
        tested = both[test]
        risk = tested["site"].map(site_hazards(both[train])).fillna(1.0).to_numpy(np.float64)
        return c_index(tested["time"].to_numpy(np.float64), tested["event"].to_numpy() > 0.5, risk)

    return mean_over_folds(both.index, folds, judge)
