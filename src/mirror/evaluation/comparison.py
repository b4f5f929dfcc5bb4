"""Who wins where, by how much and how surely: two sides on the same drawn patients, Holm's correction over all rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from mirror.errors import DataError
from mirror.evaluation.bootstrap import (
    RESAMPLES,
    Interval,
    Resamples,
    distributions_on,
    draw_resamples,
    holm,
    shared_patients,
)
from mirror.evaluation.intervals import TASK_METRICS
from mirror.evaluation.metrics import LOWER_IS_BETTER
from mirror.seeding import rng_for
from mirror.types import Progress, silent

FOREMOST = ("auroc", "c_index")
SURE = 0.05
MOST_RESAMPLES = 50_000
"""Drawings at most, for memory: so many tell up to 1,250 comparisons from chance."""


class Side(NamedTuple):
    """What is compared under one name: the predictions of a run, or of one representation of a run."""

    name: str
    predictions: pd.DataFrame


class Compared(NamedTuple):
    """One comparison: `first` minus `second` of a metric on the patients whom both judged.

    `ahead` is the name of the better side, or `level`; `verdict` whether that holds after Holm's correction over the
    whole table (`p_holm` below 0.05). `left_out`: patients whom only one side judged. `resamples`: how often patients
    were drawn.
    """

    task: str
    protocol: str
    metric: str
    representation: str
    first: str
    second: str
    first_value: float
    second_value: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    ahead: str
    verdict: Literal["sure", "undecided", "undefined"]
    patients: int
    left_out: int
    seeds: str
    resamples: int


class Comparison(NamedTuple):
    """The rows, and what was not compared because both sides are the same to the last digit."""

    rows: list[Compared]
    same: list[str]

    def table(self) -> pd.DataFrame:
        """A column a field of `Compared`."""
        return pd.DataFrame(self.rows, columns=list(Compared._fields))


def compare_runs(
    runs: Sequence[Side],
    *,
    seed: int,
    metrics: Sequence[str] = FOREMOST,
    resamples: int = RESAMPLES,
    progress: Progress = silent,
) -> Comparison:
    """Each pair of runs in each representation, protocol and metric that both have, in the order of the first.

    Representations that both runs predict alike (the baselines of equal runs) are named and not compared: they would
    only dilute the correction.
    """
    pairs = [
        (representation, Side(one.name, left), Side(other.name, right))
        for one, other in combinations(runs, 2)
        for representation, left, right in _shared(one.predictions, other.predictions, "representation")
    ]
    return _compare(pairs, seed=seed, metrics=metrics, resamples=resamples, progress=progress)


def compare_representations(
    run: Side,
    *,
    against: str,
    seed: int,
    metrics: Sequence[str] = FOREMOST,
    resamples: int = RESAMPLES,
    progress: Progress = silent,
) -> Comparison:
    """Each representation of one run with that called `against`. Raises `DataError` where the run has none such."""
    parts = {str(name): part for name, part in run.predictions.groupby("representation", sort=False)}
    if against not in parts:
        raise DataError(f"{run.name} has no predictions of '{against}'; it has {', '.join(parts)}")
    pairs = [(name, Side(name, part), Side(against, parts[against])) for name, part in parts.items() if name != against]
    return _compare(pairs, seed=seed, metrics=metrics, resamples=resamples, progress=progress)


def _compare(
    pairs: Sequence[tuple[str, Side, Side]],
    *,
    seed: int,
    metrics: Sequence[str],
    resamples: int,
    progress: Progress,
) -> Comparison:
    known = {name for names in TASK_METRICS.values() for name in names}
    unknown = [name for name in metrics if name not in known]
    if unknown:
        raise DataError(f"there is no metric {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    asked: list[_Asked] = []
    same: list[str] = []
    for representation, one, other in pairs:
        for protocol, left, right in _shared(one.predictions, other.predictions, "protocol"):
            if _alike(left, right):
                same.append(f"{representation}, {protocol}: {one.name} = {other.name}")
                continue
            sides = Side(one.name, left), Side(other.name, right)
            task = str(left["task"].iloc[0])
            chosen = [name for name in metrics if name in TASK_METRICS[task]]
            asked += [_Asked(representation, protocol, task, metric, sides) for metric in chosen]
    draws = _Draws(seed)
    rows: list[Compared] = []
    for done, one in enumerate(asked):
        progress(done, len(asked), one.representation)
        rows.append(_compared(one, draws, resamples))
    # Where nobody drawn is on the other side of 0, p is as small as the drawings allow, and after the correction over
    # many rows that is not small: those rows are drawn as often as it takes to tell them from chance.
    enough = min(round(2 * len(rows) / (SURE / 2)), MOST_RESAMPLES)
    least = 2 / (resamples + 1)
    again = [place for place, row in enumerate(rows) if row.p <= least and enough > resamples]
    for done, place in enumerate(again):
        progress(done, len(again), f"{asked[place].representation}, drawn {enough:,} times")
        rows[place] = _compared(asked[place], draws, enough)
    progress(len(asked), len(asked))
    return Comparison(_corrected(rows), same)


class _Asked(NamedTuple):
    """A row to be filled."""

    representation: str
    protocol: str
    task: str
    metric: str
    sides: tuple[Side, Side]


class _Draws:
    """Patients drawn by one stream: rows that judge the same ones share their drawings."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._of: tuple[int, tuple[tuple[object, object], ...]] | None = None
        self._last: Resamples | None = None

    def of(self, predictions: pd.DataFrame, resamples: int) -> Resamples:
        """Drawings of the patients of `predictions`; those of the last call where they are the same."""
        tested = predictions[["fold", "patient"]].drop_duplicates().sort_values(["fold", "patient"])
        key = resamples, tuple(zip(tested["fold"], tested["patient"], strict=True))
        if self._last is None or key != self._of:
            rng = rng_for(self._seed, "bootstrap", "comparison")
            self._of, self._last = key, draw_resamples(predictions, resamples=resamples, rng=rng)
        return self._last


def _compared(asked: _Asked, draws: _Draws, resamples: int) -> Compared:
    one, other = asked.sides
    judged = [set(zip(side.predictions["fold"], side.predictions["patient"], strict=True)) for side in asked.sides]
    values, found = (np.nan, np.nan), Interval(np.nan, np.nan, np.nan, np.nan)
    if judged[0] & judged[1]:
        cut = shared_patients(one.predictions, other.predictions)
        pair = distributions_on(*cut, draws.of(cut[0], resamples), metric=asked.metric)
        values = pair.first.interval().estimate, pair.second.interval().estimate
        found = (pair.first - pair.second).interval(reference=0.0)
    gain = -found.estimate if asked.metric in LOWER_IS_BETTER else found.estimate
    return Compared(
        task=asked.task,
        protocol=asked.protocol,
        metric=asked.metric,
        representation=asked.representation,
        first=one.name,
        second=other.name,
        first_value=values[0],
        second_value=values[1],
        difference=found.estimate,
        low=found.low,
        high=found.high,
        p=found.p,
        p_holm=np.nan,
        ahead="" if np.isnan(gain) else "level" if gain == 0 else one.name if gain > 0 else other.name,
        verdict="undefined",
        patients=len({name for _, name in judged[0] & judged[1]}),
        left_out=len({name for _, name in judged[0] ^ judged[1]}),
        seeds=" and ".join(str(side.predictions["seed"].nunique()) for side in asked.sides),
        resamples=resamples,
    )


def _corrected(rows: Sequence[Compared]) -> list[Compared]:
    """The rows with Holm's p over all of them, and the verdict that follows."""
    corrected = holm(row.p for row in rows)
    return [
        row._replace(p_holm=float(p), verdict="undefined" if np.isnan(p) else "sure" if p < SURE else "undecided")
        for row, p in zip(rows, corrected, strict=True)
    ]


def _shared(one: pd.DataFrame, other: pd.DataFrame, column: str) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """The parts of both for each value of `column` that both have, in the order of `one`."""
    theirs = {str(name): part for name, part in other.groupby(column, sort=False)}
    for name, part in one.groupby(column, sort=False):
        if str(name) in theirs:
            yield str(name), part, theirs[str(name)]


def _alike(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether both sides predict the same for the same patients, folds, seeds and draws, digit by digit."""
    keys = ["fold", "seed", "draw", "patient"]
    said = [name for name in one.columns if name not in (*keys, "cohort", "preset", "representation", "strength")]
    left, right = (
        frame[[*keys, *said]].dropna(axis=1, how="all").sort_values(keys).reset_index(drop=True)
        for frame in (one, other.reindex(columns=one.columns))
    )
    return left.equals(right)
