"""How sure a number is: patients drawn again and again, with the models that judged them left as they are.

Patients are drawn with replacement within each fold, because a fold's test patients are that fold's model's; a metric
is taken in each fold (mean over draws, then over seeds) and averaged over folds, as the table of scores does. Two sides
are compared on the same drawn patients. Where test halves overlap a patient is drawn once for all folds it is tested
in, among all patients.

Intervals are percentiles: they stay within the range of the metric, and the p-value inverts them, so that both say the
same about 0. What they do not hold is the training: other training patients or seeds would give other models
(docs/evaluation.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from mirror.errors import DataError, raise_together
from mirror.evaluation.metrics import Floats
from mirror.evaluation.weighted import STATISTICS, FoldCells, fold_cells

RESAMPLES = 2000
LEVEL = 0.95
OUTCOMES = ("label", "time", "event")


class Interval(NamedTuple):
    """A number with its 95 % interval and the two-sided p of its being the `reference` (0 for a difference).

    NaN where the metric is undefined, `p` also where there is no reference. `undefined`: resamples without a value,
    which the interval leaves out.
    """

    estimate: float
    low: float
    high: float
    p: float
    undefined: int = 0


@dataclass(frozen=True, slots=True)
class Resamples:
    """How often each patient was drawn: `weights` (B, N) whole numbers for N `patients`, ascending."""

    patients: tuple[str, ...]
    weights: Floats

    def of(self, patients: Sequence[str]) -> Floats:
        """(B, n) weights of these patients. Raises `DataError` with the names of those who were not drawn from."""
        place = {name: column for column, name in enumerate(self.patients)}
        unknown = [name for name in patients if name not in place]
        raise_together(DataError, "resamples were drawn without these patients; draw from all of them:", unknown)
        return self.weights[:, [place[name] for name in patients]]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A metric by fold: of the patients as they are `observed` (F,), of each resample `resampled` (F, B)."""

    observed: Floats
    resampled: Floats

    def __sub__(self, other: Distribution) -> Distribution:
        return Distribution(self.observed - other.observed, self.resampled - other.resampled)

    def interval(self, *, reference: float | None = None) -> Interval:
        """Mean over folds that have the number, with its interval and the p of its being `reference`."""
        estimate = float(_mean_over_folds(self.observed[:, None])[0])
        values = _mean_over_folds(self.resampled)
        known = values[~np.isnan(values)]
        undefined = len(values) - len(known)
        if np.isnan(estimate) or not len(known):
            return Interval(estimate, np.nan, np.nan, np.nan, undefined)
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Interval(estimate, float(low), float(high), _two_sided(known, reference), undefined)


class Pair(NamedTuple):
    """A metric of two sides on the same drawn patients."""

    first: Distribution
    second: Distribution


def draw_resamples(predictions: pd.DataFrame, *, resamples: int, rng: np.random.Generator) -> Resamples:
    """Draw the patients of `predictions` `resamples` times, within folds where no patient is tested in two of them.

    The order of rows does not matter: the same patients and state of `rng` give the same resamples.
    """
    tested = predictions[["fold", "patient"]].drop_duplicates()
    patients = sorted(str(name) for name in tested["patient"].unique())
    if len(tested) > len(patients):
        strata = [patients]
    else:
        strata = [sorted(map(str, part)) for _, part in tested.groupby("fold", sort=True)["patient"]]
    place = {name: column for column, name in enumerate(patients)}
    weights = np.zeros((resamples, len(patients)))
    for stratum in strata:
        even = np.full(len(stratum), 1.0 / len(stratum))
        weights[:, [place[name] for name in stratum]] = rng.multinomial(len(stratum), even, size=resamples)
    return Resamples(tuple(patients), weights)


def distribution(predictions: pd.DataFrame, drawn: Resamples, *, metric: str) -> Distribution:
    """The metric of one representation under one protocol, observed and in each resample.

    `predictions` as in predictions.parquet, any number of folds, seeds and draws; `metric` one of
    `mirror.evaluation.weighted.STATISTICS`. Raises `DataError` for another metric and as `fold_cells` does.
    """
    return distribution_of(fold_cells(predictions), drawn, metric=metric)


def pooled_interval(
    predictions: pd.DataFrame,
    *,
    metric: str,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    reference: float | None = None,
) -> Interval:
    """The metric of one representation under one protocol with its interval, pooled over folds.

    `p` is of its being `reference` (such as 0.5, chance of an AUROC), NaN without one.
    """
    drawn = draw_resamples(predictions, resamples=resamples, rng=rng)
    return distribution(predictions, drawn, metric=metric).interval(reference=reference)


def paired_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    metric: str,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Interval:
    """`first` minus `second` on the same drawn patients, with its interval and the p of no difference.

    Each side is one representation under one protocol; sides may differ in seeds and draws, which are averaged. Raises
    `DataError` when a patient is judged on one side only or with another outcome: see `shared_patients`.
    """
    sides = paired_distributions(first, second, metric=metric, rng=rng, resamples=resamples)
    return (sides.first - sides.second).interval(reference=0.0)


def paired_distributions(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    metric: str,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Pair:
    """The metric of both sides on the same drawn patients. Raises as `paired_difference` does."""
    return distributions_on(first, second, draw_resamples(first, resamples=resamples, rng=rng), metric=metric)


def distributions_on(first: pd.DataFrame, second: pd.DataFrame, drawn: Resamples, *, metric: str) -> Pair:
    """The metric of both sides on patients who were `drawn` before. Raises as `paired_difference` does."""
    sides = fold_cells(first), fold_cells(second)
    _require_paired(*sides)
    return Pair(*(distribution_of(side, drawn, metric=metric) for side in sides))


def shared_patients(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both sides cut to the patients whom both judged in the same fold: say with the result how many those are."""
    keys = [pd.MultiIndex.from_frame(side[["fold", "patient"]]) for side in (first, second)]
    return first[keys[0].isin(keys[1])], second[keys[1].isin(keys[0])]


def holm(p: Iterable[float]) -> Floats:
    """Holm's correction of the p-values of a family of comparisons; NaN stays NaN and is no comparison."""
    given = np.array(list(p), dtype=np.float64)
    known = np.flatnonzero(~np.isnan(given))
    ascending = known[np.argsort(given[known], kind="stable")]
    factors = np.arange(len(ascending), 0, -1)
    corrected = np.full(len(given), np.nan)
    corrected[ascending] = np.minimum(np.maximum.accumulate(given[ascending] * factors), 1.0)
    return corrected


def distribution_of(folds: Sequence[FoldCells], drawn: Resamples, *, metric: str) -> Distribution:
    """`distribution` of predictions that are cut into folds already, as `fold_cells` does it."""
    if metric not in STATISTICS:
        raise DataError(f"no interval is known for the metric '{metric}'; there are {', '.join(STATISTICS)}")
    observed: list[float] = []
    resampled: list[Floats] = []
    for fold in folds:
        statistic = STATISTICS[metric](fold)
        observed.append(float(statistic(np.ones((1, len(fold.patients))))[0]))
        resampled.append(statistic(drawn.of(fold.patients)))
    return Distribution(np.array(observed), np.stack(resampled))


def _mean_over_folds(values: Floats) -> Floats:
    """(F, B) -> (B,), folds without a number left out; NaN where no fold has one."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(values.shape[1], np.nan), where=count > 0)


def _two_sided(values: Floats, reference: float | None) -> float:
    """Twice the share of resamples on the rarer side of `reference`, itself included; never 0."""
    if reference is None:
        return float("nan")
    tails = [int((values <= reference).sum()), int((values >= reference).sum())]
    return min(1.0, 2 * (min(tails) + 1) / (len(values) + 1))


def _require_paired(first: Sequence[FoldCells], second: Sequence[FoldCells]) -> None:
    judged = [{(fold.number, name) for fold in side for name in fold.patients} for side in (first, second)]
    lonely = [
        f"fold {number}, {name}: only on the {side} side"
        for side, own, other in (("first", *judged), ("second", *reversed(judged)))
        for number, name in sorted(own - other)
    ]
    remedy = "cut both with `shared_patients` and say how many those are"
    raise_together(DataError, f"a paired comparison needs the same patients in the same folds; {remedy}:", lonely)
    changed = [
        f"fold {one.number}: {column}"
        for one, other in zip(first, second, strict=True)
        for column in OUTCOMES
        if column in one.frame and column in other.frame and _outcomes(one, column) != _outcomes(other, column)
    ]
    raise_together(DataError, "both sides judge the same patients with different outcomes; evaluate again:", changed)


def _outcomes(fold: FoldCells, column: str) -> list[str]:
    return [str(value) for value in fold.names(column)[0]]
