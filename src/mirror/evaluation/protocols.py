"""One fold, judged: every representation under every protocol, fitted on training patients, applied to test patients.

Subtyping: `linear` and `shotK`. Survival: `cox` and `discrete`. A patient takes part in a representation when it has
the modalities it needs; everyone else is counted. What cannot be computed is NaN with a note that says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mirror.config import EvaluationConfig
from mirror.errors import DataError, LeakError, raise_together
from mirror.evaluation import probes, survival
from mirror.evaluation.metrics import (
    CLASSIFICATION_METRICS,
    SURVIVAL_METRICS,
    Codes,
    Flags,
    Floats,
    c_index,
    classification_metrics,
)
from mirror.evaluation.representations import PatientTable, fit_representation, recipes, row_space
from mirror.evaluation.survival import SurvivalData
from mirror.seeding import rng_for, stream_seed
from mirror.types import Fold, Progress, silent


class Score(NamedTuple):
    """One number of one fold."""

    representation: str
    protocol: str
    task: str
    metric: str
    value: float


class Count(NamedTuple):
    """Who took part. In either half, evaluated + without endpoint + without modality = its patients in the fold."""

    representation: str
    task: str
    train: int
    test: int
    train_without_endpoint: int
    test_without_endpoint: int
    train_without_modality: int
    test_without_modality: int


@dataclass(frozen=True, slots=True)
class FoldResult:
    """What one fold gave.

    `predictions` has a row a test patient, representation, protocol and draw: patient, representation, protocol, task,
    draw (0 where nothing is drawn), strength (the probe's C or the head's penalty), then of subtyping label, predicted
    and `probability_<class>`, of survival time, event and risk. `notes` say what is missing and why.
    """

    scores: list[Score]
    predictions: pd.DataFrame
    counts: list[Count]
    notes: list[str]


class _Half(NamedTuple):
    """Patients of one half of the fold, by name ascending: their rows in the table, `x` (n, D), NaN where not `has`."""

    rows: NDArray[np.intp]
    x: Floats
    has: Flags

    def taking_part(self, known: Flags) -> NDArray[np.intp]:
        """Positions in this half of those who have the modalities and, by the table's `known`, the endpoint."""
        return np.flatnonzero(self.has & known[self.rows])


class _Judged(NamedTuple):
    """What one protocol gave: its scores, a frame of predictions a draw, the reasons for NaNs."""

    scores: list[Score]
    frames: list[pd.DataFrame]
    notes: list[str]


class _Fitted(NamedTuple):
    """One representation of one fold, ready for protocols."""

    name: str
    table: PatientTable
    fold: Fold
    config: EvaluationConfig
    seed: int
    train: _Half
    test: _Half
    notes: list[str]

    @property
    def inner_seed(self) -> int:
        """Of the inner folds: the same for every representation."""
        return stream_seed(self.seed, "inner folds", self.fold.number) % 2**32


def evaluate_fold(
    table: PatientTable,
    fold: Fold,
    config: EvaluationConfig,
    *,
    seed: int,
    progress: Progress = silent,
    n_jobs: int = 1,
    representations: Sequence[str] | None = None,
) -> FoldResult:
    """Every representation of the issue's table (or only `representations`) on one fold.

    The order of patients in `table` and `fold` and the number of jobs do not change any number; a job uses one thread.
    A representation of which the table has no view is left out with a note; so is a task nobody has an endpoint for.
    Raises `LeakError` when a patient is in both halves, `DataError` when one of the fold is not in the table.
    """
    both = sorted(set(fold.train) & set(fold.test))
    raise_together(LeakError, f"fold {fold.number} has patients in both halves; mend the folds:", both)
    tasks, notes = _tasks(table)
    names, left_out = _names(table, config, representations)
    jobs = (delayed(_evaluate)(name, table, fold, config, seed, tasks) for name in names)
    results: list[FoldResult] = []
    progress(0, len(names), f"fold {fold.number}")
    for result in cast("Iterator[FoldResult]", Parallel(n_jobs=n_jobs, return_as="generator")(jobs)):
        results.append(result)
        progress(len(results), len(names), f"fold {fold.number}, {names[len(results) - 1]}")
    frames = [result.predictions for result in results if len(result.predictions)]
    return FoldResult(
        scores=[score for result in results for score in result.scores],
        predictions=pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(),
        counts=[count for result in results for count in result.counts],
        notes=notes + left_out + [note for result in results for note in result.notes],
    )


def class_codes(table: PatientTable) -> Codes:
    """Position of each patient's label in the table's classes, -1 where it has none of them."""
    place = {name: code for code, name in enumerate(table.classes)}
    return np.array([-1 if label is None else place.get(label, -1) for label in table.labels], dtype=np.int64)


def _tasks(table: PatientTable) -> tuple[tuple[str, ...], list[str]]:
    present = len(np.unique(class_codes(table)[class_codes(table) >= 0]))
    missing = {
        "subtyping": f"its patients have {present} of the classes, two are needed" if present < 2 else None,
        "survival": "nobody's survival time is known" if np.isnan(table.time).all() else None,
    }
    notes = [f"no {task} in this cohort: {reason}" for task, reason in missing.items() if reason]
    return tuple(task for task, reason in missing.items() if reason is None), notes


def _names(table: PatientTable, config: EvaluationConfig, wanted: Sequence[str] | None) -> tuple[list[str], list[str]]:
    known = recipes(config.components)
    unknown = [f"'{name}'" for name in wanted or () if name not in known]
    raise_together(DataError, f"no such representation; there are {', '.join(known)}:", unknown)
    names, notes = [], []
    for name in known if wanted is None else wanted:
        absent = [view for view in known[name].views if view not in table.views]
        if absent:
            notes.append(f"{name} left out: there is no {' and no '.join(absent)} in this cohort")
        else:
            names.append(name)
    return names, notes


def _evaluate(
    name: str, table: PatientTable, fold: Fold, config: EvaluationConfig, seed: int, tasks: tuple[str, ...]
) -> FoldResult:
    # One thread: small matrices gain nothing from more, and sums in another order would end in other last digits.
    with threadpool_limits(1):
        fitted = _fit(name, table, fold, config, seed)
        judged: list[_Judged] = []
        counts: list[Count] = []
        if "subtyping" in tasks:
            counts.append(_count(fitted, "subtyping", class_codes(table) >= 0))
            judged += [_linear(fitted), _few_shot(fitted)]
        if "survival" in tasks:
            counts.append(_count(fitted, "survival", ~np.isnan(table.time)))
            judged += [_survival(fitted, protocol) for protocol in ("cox", "discrete")]
    frames = [frame for part in judged for frame in part.frames]
    return FoldResult(
        scores=[score for part in judged for score in part.scores],
        predictions=pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(),
        counts=counts,
        notes=[f"fold {fold.number}, {name}, {note}" for part in (fitted, *judged) for note in part.notes],
    )


def _fit(name: str, table: PatientTable, fold: Fold, config: EvaluationConfig, seed: int) -> _Fitted:
    rows = [table.rows(sorted(half)) for half in (fold.train, fold.test)]
    representation = fit_representation(name, table, rows[0])
    parts = [representation.transform(table, half) for half in rows]
    has: list[Flags] = [~np.isnan(x[:, 0]) for x in parts]
    basis = row_space(parts[0][has[0]])
    if basis is not None:
        parts = [x @ basis for x in parts]
    train, test = (_Half(half, x, there) for half, x, there in zip(rows, parts, has, strict=True))
    notes: list[str] = []
    wanted = recipes(config.components)[name].components
    for block in representation.blocks:
        if wanted and block.axes is not None and block.axes.shape[1] < wanted:
            notes.append(f"{block.view} has no more than {block.axes.shape[1]} components in its training patients")
    return _Fitted(name, table, fold, config, seed, train, test, notes)


def _count(fitted: _Fitted, task: str, known: Flags) -> Count:
    halves = (fitted.train, fitted.test)
    taking_part = [len(half.taking_part(known)) for half in halves]
    without_endpoint = [int(np.sum(~known[half.rows])) for half in halves]
    without_modality = [int(np.sum(~half.has & known[half.rows])) for half in halves]
    return Count(fitted.name, task, *taking_part, *without_endpoint, *without_modality)


def _linear(fitted: _Fitted) -> _Judged:
    codes = class_codes(fitted.table)
    rows = fitted.train.taking_part(codes >= 0)
    own = codes[fitted.train.rows[rows]]
    reason = probes.why_not(own, fitted.table.classes, needed=2)
    folds, seed = fitted.config.inner_folds, fitted.inner_seed
    fit = partial(probes.fit_linear_probe, fitted.train.x[rows], own, inner_folds=folds, seed=seed)
    return _subtyping(fitted, "linear", reason, lambda: iter([fit()]))


def _few_shot(fitted: _Fitted) -> _Judged:
    codes = class_codes(fitted.table)
    rows = fitted.train.taking_part(codes >= 0)
    own, shots = codes[fitted.train.rows[rows]], fitted.config.shots
    reason = probes.why_not(own, fitted.table.classes, needed=shots)

    def draw() -> Iterator[probes.Probe]:
        for number in range(fitted.config.draws):
            rng = rng_for(fitted.seed, "shots", fitted.fold.number, number)
            # Drawn for the whole half, whoever takes part: so a representation meets the same patients as the next.
            keys = rng.random(len(fitted.train.rows))[rows]
            yield probes.fit_few_shot_probe(fitted.train.x[rows], own, keys=keys, shots=shots)

    return _subtyping(fitted, f"shot{shots}", reason, draw)


def _subtyping(
    fitted: _Fitted, protocol: str, reason: str | None, fit: Callable[[], Iterator[probes.Probe]]
) -> _Judged:
    """Scores are means over the probes that `fit` gives; `reason` says why there are none."""
    table, test = fitted.table, fitted.test
    codes = class_codes(table)
    rows = test.taking_part(codes >= 0)
    if reason is None and not len(rows):
        reason = "no test patient has label and modality"
    if reason is not None:
        return _undefined(fitted, protocol, "subtyping", CLASSIFICATION_METRICS, reason)
    own = codes[test.rows[rows]]
    measured: list[dict[str, float]] = []
    frames: list[pd.DataFrame] = []
    for draw, probe in enumerate(fit()):
        p = probe.probabilities(test.x[rows])
        measured.append(classification_metrics(own, p))
        frame = _frame(fitted, rows, protocol, "subtyping", draw=draw, strength=probe.strength)
        frame["label"] = [table.classes[code] for code in own]
        frame["predicted"] = [table.classes[code] for code in p.argmax(axis=1)]
        for code, name in enumerate(table.classes):
            frame[f"probability_{name}"] = p[:, code]
        frames.append(frame)
    means = {metric: float(np.mean([one[metric] for one in measured])) for metric in CLASSIFICATION_METRICS}
    undefined = [metric for metric, value in means.items() if math.isnan(value)]
    absent = [name for code, name in enumerate(table.classes) if code not in own]
    notes = [f"{protocol}: no test patient of {', '.join(absent)}, so no {', '.join(undefined)}"] if absent else []
    return _Judged(_scores(fitted, protocol, "subtyping", means), frames, notes)


def _survival(fitted: _Fitted, protocol: str) -> _Judged:
    table, config = fitted.table, fitted.config
    known = ~np.isnan(table.time)
    train, test = (_survival_data(table, half, known) for half in (fitted.train, fitted.test))
    reason = survival.why_not(train)
    if reason is not None:
        return _undefined(fitted, protocol, "survival", SURVIVAL_METRICS, reason)
    inner = {"inner_folds": config.inner_folds, "seed": fitted.inner_seed}
    if protocol == "cox":
        fit = survival.fit_cox_head(train, **inner)
    else:
        fit = survival.fit_discrete_head(train, intervals=config.intervals, **inner)
    risk = fit.model.risk(test.x)
    value = c_index(test.time, test.event, risk)
    frame = _frame(fitted, fitted.test.taking_part(known), protocol, "survival", draw=0, strength=fit.penalty)
    frame["time"], frame["event"], frame["risk"] = test.time, test.event, risk
    notes = [f"{protocol}: no two test patients can be ordered by survival, so no c_index"] if math.isnan(value) else []
    return _Judged(_scores(fitted, protocol, "survival", {"c_index": value}), [frame], notes)


def _survival_data(table: PatientTable, half: _Half, known: Flags) -> SurvivalData:
    rows = half.taking_part(known)
    return SurvivalData(half.x[rows], table.time[half.rows[rows]], table.event[half.rows[rows]])


def _undefined(fitted: _Fitted, protocol: str, task: str, metrics: Sequence[str], reason: str) -> _Judged:
    return _Judged(_scores(fitted, protocol, task, dict.fromkeys(metrics, math.nan)), [], [f"{protocol}: {reason}"])


def _scores(fitted: _Fitted, protocol: str, task: str, values: dict[str, float]) -> list[Score]:
    return [Score(fitted.name, protocol, task, metric, value) for metric, value in values.items()]


def _frame(
    fitted: _Fitted, rows: NDArray[np.intp], protocol: str, task: str, *, draw: int, strength: float
) -> pd.DataFrame:
    """The columns that predictions of every task begin with, for the test patients at positions `rows`."""
    patients = [fitted.table.patients[row] for row in fitted.test.rows[rows]]
    columns = {"representation": fitted.name, "protocol": protocol, "task": task, "draw": draw, "strength": strength}
    return pd.DataFrame({"patient": patients, **columns})
