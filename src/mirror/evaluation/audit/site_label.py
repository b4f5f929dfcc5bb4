"""Whether the site that tissue comes from alone tells the label. Legend: S sites, K classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import random_table

from mirror.evaluation.audit.finding import FAMILY_ALPHA, Check, Finding
from mirror.evaluation.audit.sites import check_each, mean_over_folds, share_as_large
from mirror.evaluation.metrics import Floats, auroc
from mirror.seeding import rng_for
from mirror.types import Fold

NAME = "site confounded with label"


def check_site_label(sites: Mapping[str, Mapping[str, str]], labels: pd.Series, folds: Sequence[Fold]) -> Check:
    """`sites`: column -> patient -> site; `labels` (index: patient), None without one."""
    known = labels.dropna().astype(str)
    if known.nunique() < 2:
        return Check(NAME, "no label to be confounded with")

    def look(by: str, both: pd.DataFrame) -> tuple[str, Finding] | None:
        if both["site"].nunique() < 2 or both["label"].nunique() < 2:
            return None
        table = pd.crosstab(both["site"], both["label"]).to_numpy()
        p, v = permuted_p(table), cramers_v(table)
        area = site_auroc(both, folds) if p <= FAMILY_ALPHA else 0.5
        told = (
            f"tells the label with a Cramer's V of {v:.2f} ({len(table)} sites)"
            if np.isnan(area)
            else "seen on training patients, tells the label of test patients: of two of them it names who has a class "
            f"in {100 * area:.0f} of 100 pairs (AUROC {area:.3f}, Cramer's V {v:.2f}, {len(table)} sites)"
        )
        return f"{by} ({len(table)} sites)", Finding(
            NAME,
            "warning",
            by,
            v if np.isnan(area) else area,
            "Cramer's V" if np.isnan(area) else "AUROC",
            f"the site ({by}) alone, {told}; a model that reads the site off a slide has that without any biology",
            "read the scores beside this number and the report's performance by site, or make folds that keep "
            "each site in one half (`folds.path`)",
            tuple(sorted(both["site"].unique())),
            p=p,
        )

    return check_each(NAME, sites, known.to_frame("label"), look)


def permuted_p(table: NDArray[np.intp]) -> float:
    """Share of tables with these margins, drawn at random, whose chi-square is as large; never 0.

    `table` (S, K) counts. As good as dealing labels anew among patients, and right for sites of two patients, where
    the chi-square distribution is not.
    """
    rng = rng_for(0, "audit", "site")
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    expected = np.outer(rows, columns) / table.sum()
    observed = float(((table - expected) ** 2 / expected).sum())
    margins = random_table(rows, columns)

    def chi_squares(count: int) -> Floats:
        return ((margins.rvs(count, random_state=rng) - expected) ** 2 / expected).sum(axis=(1, 2))

    return share_as_large(chi_squares, observed)


def cramers_v(table: NDArray[np.intp]) -> float:
    """Cramer's V of a table of counts, corrected for its bias (Bergsma 2013); [0, 1]."""
    n, (r, k) = int(table.sum()), table.shape
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi = float(((table - expected) ** 2 / expected).sum() / n)
    phi = max(0.0, phi - (k - 1) * (r - 1) / (n - 1))
    rows, columns = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    return float(np.sqrt(phi / max(min(rows, columns) - 1, 1e-12)))


def site_auroc(both: pd.DataFrame, folds: Sequence[Fold]) -> float:
    """Macro AUROC of predicting `label` from `site` (index: patient), mean over folds that have every class.

    The chance of a class at a site is its share among the training patients of that site, one more patient at the
    rate of all training patients added, so that an unseen site says nothing. NaN where no fold can say.
    """
    classes, labels = np.unique(both["label"].to_numpy(dtype=object), return_inverse=True)
    sites, places = np.unique(both["site"].to_numpy(dtype=object), return_inverse=True)

    def judge(train: NDArray[np.bool_], test: NDArray[np.bool_]) -> float:
        counts = np.zeros((len(sites), len(classes)))
        np.add.at(counts, (places[train], labels[train]), 1)
        rates = counts + counts.sum(axis=0) / counts.sum()
        p: Floats = (rates / rates.sum(axis=1, keepdims=True))[places[test]]
        return auroc(labels[test].astype(np.int64), p)

    return mean_over_folds(both.index, folds, judge)
