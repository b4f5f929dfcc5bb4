"""The intervals of every score, from the predictions behind them; one row a number, beside the table of scores."""

from __future__ import annotations

import pandas as pd

from mirror.evaluation.bootstrap import RESAMPLES, Resamples, distribution_of, draw_resamples
from mirror.evaluation.metrics import CLASSIFICATION_METRICS, RETRIEVAL_METRICS, SURVIVAL_METRICS
from mirror.evaluation.weighted import fold_cells
from mirror.seeding import rng_for
from mirror.types import Progress, silent

TASK_METRICS = {
    "subtyping": CLASSIFICATION_METRICS,
    "survival": SURVIVAL_METRICS,
    "retrieval": RETRIEVAL_METRICS,
}
KEYS = ("cohort", "preset", "representation", "protocol", "task")
INTERVAL_COLUMNS = (*KEYS, "metric", "estimate", "low", "high", "undefined", "patients", "seeds", "seed_sd")
"""`estimate` is the mean of the table of scores; `low` and `high` end its 95 % interval; `undefined` counts resamples
without a value; `seeds` and `seed_sd`, over seeds of the mean over folds, say what training by chance adds."""


def interval_table(
    scores: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    progress: Progress = silent,
) -> pd.DataFrame:
    """A row of `INTERVAL_COLUMNS` for every representation, protocol and metric that has predictions.

    `scores` and `predictions` as `mirror evaluate` writes them; a stream named by `seed` draws the patients, the same
    for all representations that judge the same ones.
    """
    rows: list[tuple[object, ...]] = []
    drawn: dict[tuple[tuple[int, str], ...], Resamples] = {}
    cells = list(predictions.groupby(list(KEYS), sort=False))
    for done, (key, part) in enumerate(cells):
        progress(done, len(cells), "intervals")
        tested = part[["fold", "patient"]].drop_duplicates().sort_values(["fold", "patient"])
        who = tuple((int(fold), str(name)) for fold, name in zip(tested["fold"], tested["patient"], strict=True))
        if who not in drawn:
            drawn[who] = draw_resamples(part, resamples=resamples, rng=rng_for(seed, "bootstrap", "intervals"))
        folds = fold_cells(part)
        for metric in TASK_METRICS[str(key[-1])]:
            found = distribution_of(folds, drawn[who], metric=metric).interval()
            values = (found.estimate, found.low, found.high, found.undefined, part["patient"].nunique())
            rows.append((*key, metric, *values))
    progress(len(cells), len(cells), "intervals")
    measured = pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS[:-2]))
    return measured.merge(spread_over_seeds(scores), on=[*KEYS, "metric"], how="left", validate="1:1")


def spread_over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """`seeds` and `seed_sd` (n - 1; NaN for one seed) of each number: its mean over folds in one seed and the next."""
    by_seed = scores.groupby([*KEYS, "metric", "seed"], sort=False)["value"].mean().reset_index()
    grouped = by_seed.groupby([*KEYS, "metric"], sort=False)["value"]
    return grouped.agg(seeds="size", seed_sd="std").reset_index()
