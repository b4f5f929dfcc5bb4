"""Where the tissue comes from: its sites, and what a site alone says of test patients.

Hospitals send different patients, and their slides look different; a model that reads the hospital off the slide then
knows something of them (Howard et al., Nature Communications 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.evaluation.audit.finding import Check, Finding
from mirror.evaluation.metrics import Floats
from mirror.ids import TcgaBarcode
from mirror.types import Fold

BARCODE = "tissue source site of the barcode"

DRAWS = 200_000
"""Drawings at most: the least p-value is 5e-6, so that up to twenty tests of one family can be told from chance."""

_ENOUGH, _FIRST, _AT_ONCE = 20, 500, 5_000


def barcode_sites(patients: Sequence[str]) -> dict[str, str]:
    """Patient -> tissue source site, of those whose name is a TCGA barcode."""
    barcodes = {name: TcgaBarcode.of(name) for name in patients}
    return {name: barcode.source_site for name, barcode in barcodes.items() if barcode is not None}


def check_each(
    name: str,
    sites: Mapping[str, Mapping[str, str]],
    known: pd.DataFrame,
    look: Callable[[str, pd.DataFrame], tuple[str, Finding] | None],
) -> Check:
    """The check called `name` of every column of `sites` (column -> patient -> site).

    `look` gets the column's name and `known` (index: patient) with a column `site`, patients without a gap alone; it
    gives what it looked at and found, or None where that says nothing.
    """
    columns = {by: known.assign(site=pd.Series(dict(of), dtype=object)).dropna() for by, of in sites.items()}
    found = [one for by, both in columns.items() if (one := look(by, both)) is not None]
    if not found:
        return Check(name, "no site is known: patients are not TCGA barcodes and `clinical.groups` names no column")
    return Check(name, "; ".join(looked for looked, _ in found), tuple(finding for _, finding in found), len(found))


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


def mean_over_folds(
    patients: pd.Index, folds: Sequence[Fold], judge: Callable[[NDArray[np.bool_], NDArray[np.bool_]], float]
) -> float:
    """Mean of what `judge` says of test `patients` (N,) from the training ones, both given as (N,) flags.

    A fold without either of them takes no part, and none of which `judge` says NaN; NaN where no fold is left.
    """
    halves = ((patients.isin(fold.train), patients.isin(fold.test)) for fold in folds)
    said = np.array([judge(train, test) for train, test in halves if train.any() and test.any()])
    return float(said[~np.isnan(said)].mean()) if not np.isnan(said).all() else float("nan")
