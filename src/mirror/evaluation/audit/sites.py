"""Where the tissue comes from, and whether that alone tells the label.

Hospitals send different patients, and their slides look different; a model that reads the hospital off the slide then
knows something of the label (Howard et al., Nature Communications 2021). Legend: S sites, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import random_table

from mirror.errors import DataError
from mirror.evaluation.audit.finding import FAMILY_ALPHA, Check, Finding
from mirror.evaluation.metrics import Floats, auroc
from mirror.ids import TcgaBarcode
from mirror.seeding import rng_for
from mirror.types import Fold

NAME = "site confounded with label"
BARCODE = "tissue source site of the barcode"

DRAWS = 200_000
"""Drawings at most: the least p-value is 5e-6, so that up to twenty tests of one family can be told from chance."""

_ENOUGH, _FIRST, _AT_ONCE = 20, 500, 5_000


def barcode_sites(patients: Sequence[str]) -> dict[str, str]:
    """Patient -> tissue source site, of those whose name is a TCGA barcode."""
    found: dict[str, str] = {}
    for name in patients:
        with suppress(DataError):  # not a barcode: then it names no site
            found[name] = TcgaBarcode.parse(name).source_site
    return found


def check_sites(sites: Mapping[str, Mapping[str, str]], labels: pd.Series, folds: Sequence[Fold]) -> Check:
    """`sites`: column -> patient -> site; `labels` (index: patient), None without one."""
    known = labels.dropna().astype(str)
    if known.nunique() < 2:
        return Check(NAME, "no label to be confounded with")
    findings: list[Finding] = []
    looked: list[str] = []
    for by, of in sites.items():
        both = pd.DataFrame({"site": pd.Series(dict(of), dtype=object), "label": known}).dropna()
        if both["site"].nunique() < 2 or both["label"].nunique() < 2:
            continue
        table = pd.crosstab(both["site"], both["label"]).to_numpy()
        looked.append(f"{by} ({len(table)} sites)")
        p, v = permuted_p(table), cramers_v(table)
        area = site_auroc(both, folds) if p <= FAMILY_ALPHA else 0.5
        told = (
            f"tells the label with a Cramer's V of {v:.2f} ({len(table)} sites)"
            if np.isnan(area)
            else f"seen on training patients, tells the label of test patients with an AUROC of {area:.3f} (Cramer's V "
            f"{v:.2f}, {len(table)} sites)"
        )
        findings.append(
            Finding(
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
        )
    if not looked:
        return Check(NAME, "no site is known: patients are not TCGA barcodes and `clinical.groups` names no column")
    return Check(NAME, "; ".join(looked), tuple(findings), len(findings))


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


def share_as_large(draw: Callable[[int], Floats], observed: float) -> float:
    """Share of statistics drawn by chance (`draw` gives so many) that are at least `observed`, which is one of them.

    Drawing ends early once chance is clearly enough; `DRAWS` at most.
    """
    drawn = as_large = 0
    while drawn < DRAWS and as_large < _ENOUGH:
        count = _AT_ONCE if drawn else _FIRST
        as_large += int((draw(count) >= observed * (1 - 1e-12)).sum())
        drawn += count
    return (as_large + 1) / (drawn + 1)


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
    areas: list[float] = []
    for fold in folds:
        train, test = (both.index.isin(half) for half in (fold.train, fold.test))
        if train.any() and test.any():
            counts = np.zeros((len(sites), len(classes)))
            np.add.at(counts, (places[train], labels[train]), 1)
            rates = counts + counts.sum(axis=0) / counts.sum()
            p: Floats = (rates / rates.sum(axis=1, keepdims=True))[places[test]]
            areas.append(auroc(labels[test].astype(np.int64), p))
    return float(np.nanmean(areas)) if areas and not np.isnan(areas).all() else float("nan")
