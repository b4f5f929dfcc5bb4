"""Recursive feature elimination with cross-validation: which features of a wide matrix tell the classes apart.

The answers are those of scikit-learn's `RFECV(LinearSVC(C=cost, loss="squared_hinge", dual=True), step=step,
cv=StratifiedKFold(folds), scoring="accuracy", min_features_to_select=minimum)`, with every machine solved to rounding
instead of to a tolerance. The folds and the elimination on all samples walk in step: each keeps a samples x samples
Gram matrix, from which the columns that leave are subtracted, and one product a round gives the coefficients of all.

Source: METHOD section 8. Shape legend: N samples, G features, P problems (folds + 1), C one-vs-rest machines, R rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mirror.data.gram_pruning import Indices, Pruning, gram_of, importances_of, twins_of
from mirror.data.svm_dual import Array
from mirror.errors import ConfigError, DataError, raise_together
from mirror.types import Progress, silent


@dataclass(frozen=True, slots=True)
class Elimination:
    """What an elimination found.

    sizes: `[R]` number of features in every round, descending from all of them to the minimum.
    scores: `[folds, R]` accuracy on the held-out samples of each fold, in [0, 1].
    survived: `[G]` rounds that each feature outlived in the elimination on all samples, in [0, R - 1].
    """

    sizes: Indices
    scores: Array
    survived: Indices

    @property
    def mean_score(self) -> Array:
        """Mean accuracy over folds at each size, `[R]`."""
        return self.scores.mean(axis=0)

    @property
    def std_score(self) -> Array:
        """Population standard deviation over folds at each size, `[R]`."""
        return self.scores.std(axis=0)

    @property
    def best_size(self) -> int:
        """The size of highest mean accuracy, the smallest where several tie."""
        return int(self.sizes[self._best_round])

    @property
    def kept(self) -> Indices:
        """Selected columns, ascending."""
        return self.kept_at(self.best_size)

    @property
    def ranking(self) -> Indices:
        """`[G]`: 1 for selected features, then 2, 3, ... from the last that left to the first."""
        return 1 + np.maximum(0, self._best_round - self.survived)

    def kept_at(self, size: int) -> Indices:
        """The columns, ascending, of the round that had `size` features; `ConfigError` if no round had."""
        rounds = np.flatnonzero(self.sizes == size)
        if len(rounds) == 0:
            raise ConfigError(f"no round of the elimination had {size} features; ask for one of {self.sizes.tolist()}")
        return np.flatnonzero(self.survived >= rounds[0])

    @property
    def _best_round(self) -> int:
        # summed as scikit-learn's RFECV does it, not averaged: a division could make or break a tie of floats
        return len(self.sizes) - 1 - int(np.argmax(self.scores.sum(axis=0)[::-1]))


def eliminate(
    matrix: NDArray[Any],
    labels: Sequence[object] | NDArray[Any],
    *,
    step: float = 0.05,
    folds: int = 5,
    minimum: int = 1,
    cost: float = 1.0,
    threads: int = 1,
    progress: Progress = silent,
) -> Elimination:
    """Remove the features of least squared coefficient, round by round, and score every size by cross-validation.

    `matrix` `[N, G]` of any real dtype is taken as it comes (no scaling) and copied once, in its own dtype, unless its
    columns are contiguous; products are float64. `labels` `[N]` are classes: subtypes, or the bins of survival times.
    `step` is a share of the original number of features if below 1, else a number of features; `minimum` ends the
    elimination; `cost` is C of the machines; `progress` is told after each round.

    `threads` work on different folds and do not move the result; up to folds + 1 have something to do. While this runs,
    BLAS is held to one thread each: on matrices of this size its own threads mostly wait for each other, and on a
    machine that others share they took seven times as long as one.

    The order of rows matters through the folds alone: they are dealt in that order, without shuffling, as in
    scikit-learn. Who wants one panel for any order sorts by patient first. The order of columns matters only among
    exactly equal coefficients (constant or repeated columns), of which the leftmost leaves first. The random state of
    scikit-learn's solver has no counterpart: the solution is unique, and found.

    Raises `DataError` for lengths that differ, a missing label, fewer than two classes, a class with fewer members than
    folds, and cells that are no finite numbers; `ConfigError` for settings out of range.
    """
    _check_settings(step, folds, minimum, cost, threads)
    matrix = _check_matrix(np.asarray(matrix), minimum)
    codes = _encode(labels, samples=len(matrix), folds=folds)
    others = np.arange(codes.max() + 1) if codes.max() > 1 else np.array([1])
    signs_NC = np.where(codes[:, None] == others, 1.0, -1.0)

    from sklearn.model_selection import StratifiedKFold  # seconds of start-up that only a refinement pays

    columns_GN = np.ascontiguousarray(matrix.T)
    everyone = np.arange(len(codes))
    splits = [*StratifiedKFold(folds).split(codes, codes), (everyone, everyone[:0])]
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        gram_NN = _finite_gram(columns_GN) + 1
        prunings = [
            Pruning(gram_NN, signs_NC, train=train, test=test, features=len(columns_GN), cost=cost)
            for train, test in splits
        ]
        return _walk(prunings, columns_GN, _plan(len(columns_GN), step, minimum), codes, pool=pool, progress=progress)


def _walk(
    prunings: Sequence[Pruning],
    columns_GN: NDArray[Any],
    sizes: Sequence[int],
    codes: Indices,
    *,
    pool: Executor,
    progress: Progress,
) -> Elimination:
    """Take all folds and, last of `prunings`, the elimination on all samples through the rounds, side by side."""
    twins = twins_of(columns_GN)
    scores = np.empty((len(prunings) - 1, len(sizes)))
    survived = np.full(len(columns_GN), len(sizes) - 1)
    for now, (size, smaller) in enumerate(pairwise([*sizes, 0])):
        list(pool.map(Pruning.fit, prunings))
        scores[:, now] = [pruning.accuracy(codes) for pruning in prunings[:-1]]
        if smaller:
            importances = importances_of(columns_GN, prunings)[:, twins]
            drop = partial(Pruning.drop, count=size - smaller, columns_GN=columns_GN)
            *_, leaving = pool.map(drop, prunings, importances)
            survived[leaving] = now
        progress(now + 1, len(sizes))
    return Elimination(np.array(sizes, dtype=np.intp), scores, survived)


def _plan(features: int, step: float, minimum: int) -> list[int]:
    """Sizes of all rounds: steps of a fixed number of features, the last one shorter where it must be."""
    stride = int(max(1, step * features)) if step < 1 else int(step)
    return [*range(features, minimum, -stride), minimum]


def _check_settings(step: float, folds: int, minimum: int, cost: float, threads: int) -> None:
    problems = {
        f"step is {step}: give a share between 0 and 1, or a number of features": not step > 0,
        f"folds is {folds}: cross-validation needs at least 2": folds < 2,
        f"minimum is {minimum}: keep at least 1 feature": minimum < 1,
        f"cost is {cost}: give a number above 0": not cost > 0,
        f"threads is {threads}: give at least 1": threads < 1,
    }
    raise_together(
        ConfigError, "elimination cannot run with these settings:", [p for p, bad in problems.items() if bad]
    )


def _check_matrix(matrix: NDArray[Any], minimum: int) -> NDArray[Any]:
    if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
        raise DataError(
            f"elimination needs a matrix of numbers, samples x features; got {matrix.dtype} of shape {matrix.shape}"
        )
    if matrix.shape[1] < minimum:
        raise DataError(f"the matrix has {matrix.shape[1]} features, fewer than the {minimum} to keep; lower minimum")
    return matrix


def _encode(labels: Sequence[object] | NDArray[Any], *, samples: int, folds: int) -> Indices:
    """Classes as 0 .. C - 1 in sorted order."""
    named = np.asarray(labels)
    if named.shape != (samples,):
        raise DataError(f"{samples} samples need {samples} labels, one each; got labels of shape {named.shape}")
    missing = np.flatnonzero(pd.isna(named))
    raise_together(DataError, "samples without a label; leave them out:", [f"row {row}" for row in missing])
    classes, codes = np.unique(named, return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"elimination needs at least two classes; the {samples} labels name {classes.tolist()}")
    counts = np.bincount(codes)
    heading = (
        f"{folds} folds need {folds} members of every class among the {samples} samples to choose on; lower "
        "`refinement.folds`, or merge or leave out the class:"
    )
    few = [f"{name} has {count}" for name, count in zip(classes, counts, strict=True) if count < folds]
    raise_together(DataError, heading, few)
    return codes


def _finite_gram(columns_GN: NDArray[Any]) -> Array:
    """Inner products of samples over all features; a NaN or infinite cell shows on the diagonal at no further cost."""
    with np.errstate(invalid="ignore", over="ignore"):
        gram = gram_of(columns_GN, np.arange(len(columns_GN)))
    suspects = np.flatnonzero(~np.isfinite(gram.diagonal()))
    if len(suspects):
        row = int(suspects[0])
        cells = np.flatnonzero(~np.isfinite(columns_GN[:, row]))
        where = f"row {row}, column {cells[0]} is {columns_GN[cells[0], row]}" if len(cells) else f"row {row} overflows"
        raise DataError(
            f"elimination needs finite numbers: {where} ({len(suspects)} rows are affected, {len(cells)} cells of this "
            "one); fill or leave out missing features, and take raw values to a log scale"
        )
    return gram
