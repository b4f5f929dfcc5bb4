"""Rows of a sweep against the free baselines and against each other, on the same patients of one cohort.

The best free baseline is chosen for every number by its mean on the very patients that are reported: a choice in its
favour. p-values are of single comparisons; `mirror.evaluation.bootstrap.holm` corrects a family of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from mirror.evaluation.bootstrap import RESAMPLES, Interval, paired_difference, shared_patients
from mirror.seeding import rng_for

BEST = "best free baseline"
FUSED, MODALITIES, ROWS = "fused", ("slide", "expression"), "rows"
"""Blocks: the fused representation, each modality alone against its own raw view, one row against the others."""


class Judgement(NamedTuple):
    """Scores and predictions of one row of a sweep, or of the free baselines, on one cohort."""

    row: str
    scores: pd.DataFrame
    predictions: pd.DataFrame


class Line(NamedTuple):
    """One number of one representation, and where it is compared its difference to another with a 95 % interval.

    `mean` over folds and seeds; `sd_folds` of the folds, each the mean of its seeds; `sd_seeds` of the seeds, each the
    mean of its folds (NaN for one). `patients`: those who are judged on both sides. `against` is empty, and what
    follows it NaN, where nothing is compared.
    """

    cohort: str
    block: str
    row: str
    representation: str
    protocol: str
    metric: str
    mean: float
    sd_folds: float
    sd_seeds: float
    against: str = ""
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    patients: int = 0


class _Side(NamedTuple):
    judgement: Judgement
    representation: str


def compare(
    cohort: str,
    baselines: Judgement,
    rows: Sequence[Judgement],
    *,
    measures: Sequence[tuple[str, str]],
    compared: str | None = None,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """A `Line` a number, for the (protocol, metric) pairs in `measures` that the cohort has an endpoint for.

    Of every row the fused representation against the best free one, the slide alone against `raw_slide`, the expression
    alone against `raw_expression`; of the row `compared` the fused one against every other row's.
    """
    present = set(zip(baselines.scores["protocol"], baselines.scores["metric"], strict=True))
    lines: list[Line] = []
    for measure in measures:
        if measure in present:
            lines += _fused(cohort, baselines, rows, measure, resamples)
            for modality in MODALITIES:
                lines += _alone(cohort, baselines, rows, modality, measure, resamples)
            lines += _among_rows(cohort, rows, compared, measure, resamples)
    return pd.DataFrame(lines, columns=list(Line._fields))


def _fused(
    cohort: str, baselines: Judgement, rows: Sequence[Judgement], measure: tuple[str, str], resamples: int
) -> Iterator[Line]:
    of = _numbers(baselines.scores, measure)
    means = of[of["representation"].str.endswith("_fused")].groupby("representation", sort=False)["value"].mean()
    if means.isna().all():
        return
    best = _Side(baselines, str(means.idxmax()))
    yield _line(cohort, FUSED, BEST, best, None, measure, resamples)
    for row in rows:
        yield _line(cohort, FUSED, row.row, _Side(row, FUSED), best, measure, resamples)


def _alone(
    cohort: str,
    baselines: Judgement,
    rows: Sequence[Judgement],
    modality: str,
    measure: tuple[str, str],
    resamples: int,
) -> Iterator[Line]:
    raw = _Side(baselines, f"raw_{modality}")
    if raw.representation not in set(baselines.scores["representation"]):
        return
    yield _line(cohort, modality, raw.representation, raw, None, measure, resamples)
    for row in rows:
        yield _line(cohort, modality, row.row, _Side(row, modality), raw, measure, resamples)


def _among_rows(
    cohort: str, rows: Sequence[Judgement], compared: str | None, measure: tuple[str, str], resamples: int
) -> Iterator[Line]:
    one = next((row for row in rows if row.row == compared), None)
    for other in rows:
        if one is not None and other is not one:
            sides = _Side(one, FUSED), _Side(other, FUSED)
            yield _line(cohort, ROWS, one.row, *sides, measure, resamples)


def _line(
    cohort: str,
    block: str,
    row: str,
    side: _Side,
    against: _Side | None,
    measure: tuple[str, str],
    resamples: int,
) -> Line:
    of = _numbers(side.judgement.scores, measure)
    of = of[of["representation"] == side.representation]
    folds, seeds = (of.groupby(key)["value"].mean() for key in ("fold", "seed"))
    line = Line(
        cohort, block, row, side.representation, *measure, float(folds.mean()), float(folds.std()), float(seeds.std())
    )
    if against is None:
        return line
    parts = _predictions(side, measure), _predictions(against, measure)
    first, second = shared_patients(*parts)
    found = Interval(math.nan, math.nan, math.nan, math.nan)
    if len(first):
        # The same stream for every comparison of a cohort: they differ in what is compared, not in who is drawn.
        found = paired_difference(
            first, second, metric=measure[1], rng=rng_for(0, "sweep", cohort), resamples=resamples
        )
    name = against.representation if block != ROWS else against.judgement.row
    return line._replace(
        against=name,
        difference=found.estimate,
        low=found.low,
        high=found.high,
        p=found.p,
        patients=int(first["patient"].nunique()),
    )


def _numbers(scores: pd.DataFrame, measure: tuple[str, str]) -> pd.DataFrame:
    return scores[(scores["protocol"] == measure[0]) & (scores["metric"] == measure[1])]


def _predictions(side: _Side, measure: tuple[str, str]) -> pd.DataFrame:
    of = side.judgement.predictions
    return of[(of["representation"] == side.representation) & (of["protocol"] == measure[0])]
