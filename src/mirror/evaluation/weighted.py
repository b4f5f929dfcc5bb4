"""The metrics of a fold for many weightings of its patients at once: what a bootstrap needs, in matrix form.

Patients drawn with replacement are patients with whole-number weights, and each metric here equals that of
`mirror.evaluation.metrics` on rows repeated as often as the weights say; tests prove it. Areas and concordances are
shares of ordered pairs, so they are two quadratic forms in the weights, and a mean over draws and seeds is the form of
the mean matrix: twenty draws cost what one does. B weightings, C cells (a seed and draw each), n patients, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.errors import DataError, raise_together
from mirror.evaluation import horizons
from mirror.evaluation.horizons import Watched
from mirror.evaluation.metrics import CONFIDENCE_BINS, TOP, Flags, Floats, confidence_bins
from mirror.evaluation.retrieval import Ranks

Statistic: TypeAlias = Callable[[Floats], Floats]
"""Weights (B, n) -> values (B,), NaN where a weighting leaves the metric undefined."""

PROBABILITY, SURVIVAL, UNCENSORED = "probability_", "survival_", "uncensored_"
"""Columns of predictions begin with these, and end with a class or a horizon in months."""


class FoldCells(NamedTuple):
    """Test predictions of one fold: `frame` sorted by cell and patient, each of the C cells with the same n patients.

    `shares` (C,) sum to one: the mean over draws of each seed, then over seeds, as in the table of scores.
    """

    number: int
    patients: tuple[str, ...]
    shares: Floats
    frame: pd.DataFrame

    def floats(self, column: str) -> Floats:
        """(C, n) numbers. Raises `DataError` where predictions of an older version lack the column."""
        if column not in self.frame:
            raise DataError(f"the predictions have no column '{column}'; run `mirror evaluate` again")
        return self.frame[column].to_numpy(dtype=np.float64).reshape(len(self.shares), -1)

    def names(self, column: str) -> NDArray[np.object_]:
        """(C, n) names."""
        return self.frame[column].to_numpy(dtype=object).reshape(len(self.shares), -1)


def fold_cells(predictions: pd.DataFrame) -> list[FoldCells]:
    """The folds of `predictions` (one representation under one protocol), by number ascending.

    Raises `DataError` when the rows are of several representations, protocols, presets or cohorts, when a patient
    stands twice in a cell, or when the cells of a fold have not the same patients: their mean would be of nothing.
    """
    of = ["cohort", "preset", "representation", "protocol"]
    several = [
        f"{name} {', '.join(map(str, predictions[name].unique()))}"
        for name in of
        if name in predictions and predictions[name].nunique() > 1
    ]
    raise_together(DataError, "a metric is of one representation under one protocol; select one of each:", several)
    if predictions.empty:
        raise DataError("there are no predictions to measure; a protocol without predictions says why in its notes")
    return [_cells_of(int(str(number)), part) for number, part in predictions.groupby("fold", sort=True)]


def _cells_of(number: int, part: pd.DataFrame) -> FoldCells:
    # Arrays, because every interval of every report comes through here, and pandas takes ten times as long.
    names, who = np.unique(np.array(part["patient"], dtype=str), return_inverse=True)
    seed_and_draw = part[["seed", "draw"]].to_numpy()
    cells, cell = np.unique(seed_and_draw, axis=0, return_inverse=True)
    cell = cell.reshape(-1)  # a column under numpy 2.0
    judged = np.zeros((len(cells), len(names)), dtype=np.intp)
    np.add.at(judged, (cell, who), 1)
    uneven = [
        f"seed {seed}, draw {draw}: {np.count_nonzero(of_cell)} patients in {of_cell.sum()} rows"
        for (seed, draw), of_cell in zip(cells, judged, strict=True)
        if (of_cell != 1).any()
    ]
    heading = f"fold {number} has {len(names)} test patients, each once in every seed and draw; evaluate again:"
    raise_together(DataError, heading, uneven)
    _, seed, draws = np.unique(cells[:, 0], return_inverse=True, return_counts=True)
    shares = 1.0 / (len(draws) * draws[seed].astype(np.float64))
    return FoldCells(number, tuple(names.tolist()), shares, part.iloc[np.lexsort((who, cell))])


def accuracy(fold: FoldCells) -> Statistic:
    """Weighted share of patients whose predicted class is theirs."""
    hits = fold.shares @ (fold.names("predicted") == fold.names("label")).astype(np.float64)
    return lambda weights: _ratio(weights @ hits, weights.sum(axis=1))


def balanced_accuracy(fold: FoldCells) -> Statistic:
    """Mean over classes of the weighted share found."""
    hits = fold.shares @ (fold.names("predicted") == fold.names("label")).astype(np.float64)
    members = _members(fold)
    return lambda weights: _mean_over_classes(
        [_ratio(weights[:, own] @ hits[own], weights[:, own].sum(axis=1)) for own in members]
    )


def macro_f1(fold: FoldCells) -> Statistic:
    """Mean over classes of weighted F1; a class never predicted counts 0, an absent one leaves it undefined."""
    predicted, members = fold.names("predicted"), _members(fold)
    named = [(predicted == name).astype(np.float64).T for name in classes_of(fold)]

    def f1(weights: Floats) -> Floats:
        parts: list[Floats] = []
        for own, said in zip(members, named, strict=True):
            present = weights[:, own].sum(axis=1)
            each = 2 * (weights[:, own] @ said[own]) / np.maximum(weights @ said + present[:, None], 1.0)
            parts.append(np.where(present > 0, each @ fold.shares, np.nan))
        return _mean_over_classes(parts)

    return f1


def auroc(fold: FoldCells) -> Statistic:
    """Mean of the one-versus-rest areas (for two classes: the usual one), ties counting a half."""
    members, names = _members(fold), classes_of(fold)
    scored = range(1, 2) if len(names) == 2 else range(len(names))
    ordered = [
        _ordered(fold.floats(f"{PROBABILITY}{names[k]}"), fold.shares, above=members[k], below=~members[k])
        for k in scored
    ]

    def area(weights: Floats) -> Floats:
        parts = [
            _ratio(
                _pairs(weights, table, above=members[k], below=~members[k]),
                weights[:, members[k]].sum(axis=1) * weights[:, ~members[k]].sum(axis=1),
            )
            for k, table in zip(scored, ordered, strict=True)
        ]
        # As in `metrics.auroc`: without somebody of every class there is no number, not a mean over the others.
        return np.where(_all_present(weights, members), _mean_over_classes(parts), np.nan)

    return area


def c_index(fold: FoldCells) -> Statistic:
    """Harrell's concordance, ties of risk counting a half; of two at one time only event and censored are ordered."""
    time, event = fold.floats("time")[0], fold.floats("event")[0] > 0.5
    first, everybody = event, np.ones(len(time), dtype=bool)
    comparable = (time[first][:, None] < time) | ((time[first][:, None] == time) & ~event)
    concordant = comparable * _ordered(fold.floats("risk"), fold.shares, above=first, below=everybody)
    return lambda weights: _ratio(
        _pairs(weights, concordant, above=first, below=everybody),
        _pairs(weights, comparable.astype(np.float64), above=first, below=everybody),
    )


def calibration_error(fold: FoldCells) -> Statistic:
    """Weighted expected calibration error over the bins of the largest probability."""
    table = np.stack([fold.floats(f"{PROBABILITY}{name}") for name in classes_of(fold)], axis=2)
    hits = fold.names("predicted") == fold.names("label")
    sums = [
        (cell.max(axis=1) - right)[:, None] * (confidence_bins(cell)[:, None] == np.arange(CONFIDENCE_BINS))
        for cell, right in zip(table, hits, strict=True)
    ]
    return lambda weights: _ratio(
        np.sum(
            [share * np.abs(weights @ one).sum(axis=1) for share, one in zip(fold.shares, sums, strict=True)], axis=0
        ),
        weights.sum(axis=1),
    )


def time_auroc(fold: FoldCells) -> Statistic:
    """Time-dependent AUROC, mean over the horizons that the fold's predictions have."""
    seen, risk = watched_of(fold), fold.floats("risk")
    return lambda weights: horizons.mean_area(seen, risk, weights)


def integrated_brier(fold: FoldCells) -> Statistic:
    """Brier score over the horizons that the fold's predictions have, a patient's loss being its mean over cells."""
    seen = watched_of(fold)
    cells = np.stack([fold.floats(f"{SURVIVAL}{month:g}") for month in seen.months], axis=2) if len(seen.months) else []
    losses = [horizons.integrated_losses(seen, cell) for cell in cells]
    if not losses:
        return lambda weights: np.full(len(weights), np.nan)
    mean = fold.shares @ np.stack(losses)
    return lambda weights: _ratio(weights @ mean, weights.sum(axis=1))


def recall(fold: FoldCells, *, k: int) -> Statistic:
    """Weighted share of patients who were found among the `k` closest; the gallery stays as it is."""
    found = fold.shares @ _ranks_of(fold).found(k)
    return lambda weights: _ratio(weights @ found, weights.sum(axis=1))


def median_rank(fold: FoldCells) -> Statistic:
    """Weighted median of the ranks, mean over cells; of an even number of patients the mean of the middle two."""
    ranks = _ranks_of(fold).rank

    def median(weights: Floats) -> Floats:
        return fold.shares @ np.stack([_medians(cell, weights) for cell in ranks])

    return median


def _ranks_of(fold: FoldCells) -> Ranks:
    return Ranks(fold.floats("closer"), fold.floats("tied"), np.empty(0, dtype=np.intp))


def _medians(values: Floats, weights: Floats) -> Floats:
    """The median of `values` (n,) repeated as often as `weights` (B, n) say, (B,)."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[:, order], axis=1)
    whole = reached[:, -1:]
    low, high = ((reached < place).sum(axis=1) for place in (np.floor((whole + 1) / 2), np.ceil((whole + 1) / 2)))
    return np.where(whole[:, 0] > 0, (values[order][low % len(values)] + values[order][high % len(values)]) / 2, np.nan)


def watched_of(fold: FoldCells) -> Watched:
    """The fold's patients at the horizons for which its predictions have a survival."""
    named = [str(name) for name in fold.frame.columns if str(name).startswith(UNCENSORED)]
    columns = [name for name in named if fold.frame[name].notna().any()]
    months = np.array([float(name.removeprefix(UNCENSORED)) for name in columns])
    at = np.array([fold.floats(name)[0, 0] for name in columns])
    time, event = fold.floats("time")[0], fold.floats("event")[0] > 0.5
    return Watched(months, time, event, fold.floats("uncensored")[0], at)


STATISTICS: Mapping[str, Callable[[FoldCells], Statistic]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "auroc": auroc,
    "calibration_error": calibration_error,
    "c_index": c_index,
    "time_auroc": time_auroc,
    "integrated_brier": integrated_brier,
    **{f"recall@{k}": partial(recall, k=k) for k in TOP},
    "median_rank": median_rank,
}
"""Metric -> its weighted form."""


def classes_of(fold: FoldCells) -> list[str]:
    """The classes that were predicted, in the order of their columns."""
    columns = [str(name) for name in fold.frame.columns if str(name).startswith(PROBABILITY)]
    return [name.removeprefix(PROBABILITY) for name in columns if fold.frame[name].notna().any()]


def _members(fold: FoldCells) -> list[Flags]:
    """Of each class who has it, (n,)."""
    labels = fold.names("label")[0]
    return [np.asarray(labels == name) for name in classes_of(fold)]


def _ordered(scores: Floats, shares: Floats, *, above: Flags, below: Flags) -> Floats:
    """Mean over cells of 1 where the row's score is the higher, 1/2 where equal, (above, below); `scores` (C, n)."""
    table = np.zeros((int(above.sum()), int(below.sum())))
    for cell, share in zip(scores, shares, strict=True):
        high, low = cell[above][:, None], cell[below]
        table += share * ((high > low) + 0.5 * (high == low))
    return table


def _pairs(weights: Floats, table: Floats, *, above: Flags, below: Flags) -> Floats:
    """Sum over pairs of `table` (above, below), a pair counting the product of its weights, (B,)."""
    return np.einsum("bj,bj->b", weights[:, above] @ table, weights[:, below])


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _all_present(weights: Floats, members: list[Flags]) -> Flags:
    return np.all([weights[:, own].sum(axis=1) > 0 for own in members], axis=0)


def _mean_over_classes(parts: list[Floats]) -> Floats:
    return np.mean(parts, axis=0)
