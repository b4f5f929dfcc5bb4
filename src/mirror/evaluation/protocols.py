"""One fold, judged: every representation under every protocol, fitted on training patients, applied to test patients.

Subtyping: `linear`, `shotK` and `prototype`. Survival: `cox` and `discrete`. Retrieval, of the aligned views alone:
`slide_to_expression` and `expression_to_slide`. A patient takes part in a representation when it has the modalities it
needs; everyone else is counted. What cannot be computed is NaN with a note that says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from mirror.config import EvaluationConfig
from mirror.errors import DataError, LeakError, raise_together
from mirror.evaluation.fitted import Count, Fitted, class_codes, count, fit_on_fold
from mirror.evaluation.judged import PREDICTED_BY, PROTOCOLS, Judged, Score, judge_supervised
from mirror.evaluation.representations import CLINICAL, PatientTable, is_aligned, recipes, runs_beside
from mirror.evaluation.supervised import Supervised, SupervisedFold
from mirror.types import Fold, Progress, silent

__all__ = ["Count", "FoldResult", "Score", "evaluate_fold"]


NO_MODELS = SupervisedFold()


@dataclass(frozen=True, slots=True)
class FoldResult:
    """What one fold gave.

    `predictions` has a row a test patient, representation, protocol and draw: patient, representation, protocol, task,
    draw (0 where nothing is drawn), strength (the probe's C or the head's penalty, NaN where there is none), then of
    subtyping label, predicted and `probability_<class>`, of survival time, event and risk, of retrieval closer, tied,
    gallery and first. `notes` say what is missing and why.
    """

    scores: list[Score]
    predictions: pd.DataFrame
    counts: list[Count]
    notes: list[str]


def evaluate_fold(
    table: PatientTable,
    fold: Fold,
    config: EvaluationConfig,
    *,
    seed: int,
    progress: Progress = silent,
    n_jobs: int = 1,
    representations: Sequence[str] | None = None,
    supervised: SupervisedFold = NO_MODELS,
) -> FoldResult:
    """Every representation of the score table (or only `representations`) on one fold, and the models `supervised`.

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
    results += [_supervised(found, table, fold, config, seed) for found in supervised.models if found.task in tasks]
    frames = [result.predictions for result in results if len(result.predictions)]
    return FoldResult(
        scores=[score for result in results for score in result.scores],
        predictions=pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(PREDICTED_BY)),
        counts=[count for result in results for count in result.counts],
        notes=notes + left_out + list(supervised.notes) + [note for result in results for note in result.notes],
    )


def _tasks(table: PatientTable) -> tuple[tuple[str, ...], list[str]]:
    present = len(np.unique(class_codes(table)[class_codes(table) >= 0]))
    missing = {
        "subtyping": f"its patients have {present} of the classes, two are needed" if present < 2 else None,
        "survival": "nobody's survival time is known" if np.isnan(table.time).all() else None,
    }
    notes = [f"no {task} in this cohort: {reason}" for task, reason in missing.items() if reason]
    return tuple(task for task, reason in missing.items() if reason is None), notes


def _names(table: PatientTable, config: EvaluationConfig, wanted: Sequence[str] | None) -> tuple[list[str], list[str]]:
    known = recipes(
        config.components,
        panel="panel_expression" in table.views,
        clinical=CLINICAL in table.views,
        beside=runs_beside(table.views),
    )
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


def _supervised(found: Supervised, table: PatientTable, fold: Fold, config: EvaluationConfig, seed: int) -> FoldResult:
    fitted = found.fitted(table, fold, config, seed)
    return _result(fitted, (found.task,), [judge_supervised(fitted, found)])


def _evaluate(
    name: str, table: PatientTable, fold: Fold, config: EvaluationConfig, seed: int, tasks: tuple[str, ...]
) -> FoldResult:
    # One thread: small matrices gain nothing from more, and sums in another order would end in other last digits.
    with threadpool_limits(1):
        fitted = fit_on_fold(name, table, fold, config, seed)
        tasks = ("retrieval",) if is_aligned(name) else tasks
        judged = [judge(fitted) for task in tasks for judge in PROTOCOLS[task]]
    return _result(fitted, tasks, judged)


def _result(fitted: Fitted, tasks: Sequence[str], judged: Sequence[Judged]) -> FoldResult:
    table = fitted.table
    everybody = np.ones(len(table.patients), dtype=bool)
    known = {"subtyping": class_codes(table) >= 0, "survival": ~np.isnan(table.time), "retrieval": everybody}
    frames = [frame for part in judged for frame in part.frames]
    return FoldResult(
        scores=[score for part in judged for score in part.scores],
        predictions=pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(),
        counts=[count(fitted, task, known[task]) for task in tasks],
        notes=[
            f"fold {fitted.fold.number}, {fitted.name}, {note}" for part in (fitted, *judged) for note in part.notes
        ],
    )
