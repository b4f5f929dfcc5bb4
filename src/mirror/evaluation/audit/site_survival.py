"""Where the tissue comes from, and whether that alone tells how patients fare.

Hospitals send patients of other stages and follow them for other times; a model that reads the hospital off the slide
then orders survival without any biology. Legend: N patients, S sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.evaluation.audit.columns import FEWEST
from mirror.evaluation.audit.finding import Check, Finding
from mirror.evaluation.audit.sites import share_as_large
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
    findings: list[Finding] = []
    looked: list[str] = []
    for by, of in sites.items():
        both = followed.assign(site=pd.Series(dict(of), dtype=object)).dropna()
        both["site"] = both["site"].where(both["site"].map(both["site"].value_counts()) >= FEWEST, SMALL)
        count = both["site"].nunique()
        if count < 2 or both["event"].sum() < FEWEST:
            continue
        p, index = permuted_log_rank(both), site_c_index(both, folds)
        looked.append(
            f"{by} ({count} sites, those of fewer than {FEWEST} patients as one: c-index of test patients {index:.3f}, "
            f"p {p:.2g} before Holm's correction)"
        )
        findings.append(
            Finding(
                NAME,
                "warning",
                by,
                index,
                "c-index",
                f"{by} alone, seen on training patients, orders the survival of test patients with a c-index of "
                f"{index:.3f} (log-rank over {count} groups); a model that reads the group off a slide has that much "
                "without anything else",
                "read the c-indices beside this number, or, of sites, make folds that keep each one in one half "
                "(`folds.path`)",
                tuple(sorted(both["site"].unique())),
                p=p,
            )
        )
    if not looked:
        return Check(NAME, "no site is known: patients are not TCGA barcodes and `clinical.groups` names no column")
    return Check(NAME, "; ".join(looked), tuple(findings), len(findings))


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


def site_c_index(both: pd.DataFrame, folds: Sequence[Fold]) -> float:
    """c-index of ordering test patients by the hazard of their `site` among training patients, mean over folds.

    A site's hazard is its events over its expected ones, one more of each added, so that an unseen site says nothing.
    NaN where no fold can say.
    """
    found: list[float] = []
    for fold in folds:
        train, test = (both[both.index.isin(half)] for half in (fold.train, fold.test))
        if len(train) and len(test):
            awaited = expected_events(train["time"].to_numpy(np.float64), train["event"].to_numpy(np.float64))
            by_site = train.assign(awaited=awaited).groupby("site")[["event", "awaited"]].sum() + 1
            risk = test["site"].map(by_site["event"] / by_site["awaited"]).fillna(1.0).to_numpy(np.float64)
            found.append(c_index(test["time"].to_numpy(np.float64), test["event"].to_numpy() > 0.5, risk))
    return float(np.nanmean(found)) if found and not np.isnan(found).all() else float("nan")
