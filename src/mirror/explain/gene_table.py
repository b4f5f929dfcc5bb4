"""Effects of genes over folds and seeds: their means, with intervals.

The interval knows that folds share training patients.

The interval is the corrected resampled t-interval (Nadeau and Bengio, 2003) at 95 %: the seeds of a fold are averaged,
and the variance of the mean over J folds is taken as s^2 (1 / J + test / training patients) instead of s^2 / J, because
models of folds that share most of their training patients are not J independent ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t

from mirror.evaluation.metrics import Floats

LEVEL = 0.95
INTERVAL = (
    "95 % corrected resampled t-interval over folds (Nadeau and Bengio, 2003), the seeds of a fold averaged first; "
    "undefined for a gene that fewer than two folds have"
)
COLUMNS = ("gene", "target", "effect", "size", "low", "high", "folds", "runs")


class RunEffects(NamedTuple):
    """Of one target and run: `effect` and `size` (G,) of `genes`, and `share`, test patients a training patient."""

    seed: int
    fold: int
    genes: tuple[str, ...]
    effect: Floats
    size: Floats
    share: float


def summarise_effects(target: str, runs: Sequence[RunEffects]) -> pd.DataFrame:
    """The columns of `COLUMNS`, a row a gene that any run has, the largest mean effect first.

    A gene that the panel of a fold lacks has no effect there and is a mean over the others; `folds` counts those.
    """
    parts = [
        pd.DataFrame({"gene": run.genes, "fold": run.fold, "effect": run.effect, "size": run.size}) for run in runs
    ]
    every = pd.concat(parts, ignore_index=True)
    by_fold = every.groupby(["gene", "fold"], sort=False)[["effect", "size"]].mean()
    grouped = by_fold.groupby("gene", sort=False)
    table = grouped.mean()
    table["folds"] = grouped.size()
    table["runs"] = every.groupby("gene", sort=False).size()
    share = float(np.mean([run.share for run in runs]))
    spread = grouped["effect"].std(ddof=1), table["folds"]
    half = _half_width(*(np.asarray(part, dtype=np.float64) for part in spread), share=share)
    table["low"], table["high"] = table["effect"] - half, table["effect"] + half
    order = table["effect"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index().assign(target=target)[list(COLUMNS)]


def mean_null(genes: Sequence[str], runs: Sequence[tuple[int, tuple[str, ...], Floats]]) -> Floats:
    """(G, B): the mean over folds, seeds of a fold averaged first, of the nulls (fold, genes, (g, B)) of runs."""
    place = {gene: row for row, gene in enumerate(genes)}
    folds = sorted({fold for fold, *_ in runs})
    total, count = np.zeros((len(genes), runs[0][2].shape[1])), np.zeros(len(genes))
    for fold in folds:
        own = [(names, null) for number, names, null in runs if number == fold]
        there, summed = np.zeros(len(genes)), np.zeros_like(total)
        for names, null in own:
            rows = [place[name] for name in names]
            summed[rows] += null
            there[rows] += 1
        had = there > 0
        total[had] += summed[had] / there[had, None]
        count += had
    return total / np.maximum(count, 1)[:, None]


def _half_width(deviation: Floats, folds: Floats, *, share: float) -> Floats:
    several = folds > 1
    width = np.full(len(folds), np.nan)
    factor = t.ppf((1 + LEVEL) / 2, np.maximum(folds - 1, 1)) * np.sqrt(1 / np.maximum(folds, 1) + share)
    width[several] = (factor * deviation)[several]
    return width
