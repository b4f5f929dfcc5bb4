"""One protocol on one representation of one fold: scores, the predictions behind them, and reasons for what is missing.

A protocol is a function of a `Fitted` to a `Judged`, listed by its task in `PROTOCOLS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

from mirror.errors import DataError
from mirror.evaluation import few_shot, probes, survival
from mirror.evaluation.fitted import Fitted, Half, class_codes
from mirror.evaluation.horizons import FOLLOWED, Watched, fit_censoring, integrated_losses, mean_area, watched
from mirror.evaluation.metrics import (
    CLASSIFICATION_METRICS,
    RETRIEVAL_METRICS,
    SURVIVAL_METRICS,
    Codes,
    Flags,
    Floats,
    c_index,
)
from mirror.evaluation.representations import ALIGNED, CHANCE, PatientTable
from mirror.evaluation.retrieval import rank_rows, retrieval
from mirror.evaluation.supervised import Supervised
from mirror.evaluation.survival import SurvivalData, SurvivalFit
from mirror.evaluation.weighted import PROBABILITY, STATISTICS, SURVIVAL, UNCENSORED, fold_cells
from mirror.seeding import rng_for

PREDICTED_BY = ("patient", "representation", "protocol", "task", "draw", "strength")
"""The columns that predictions of every task begin with."""


class Score(NamedTuple):
    """One number of one fold."""

    representation: str
    protocol: str
    task: str
    metric: str
    value: float


class Judged(NamedTuple):
    """What one protocol gave: its scores, frames of predictions, the reasons for NaNs."""

    scores: list[Score]
    frames: list[pd.DataFrame]
    notes: list[str]


def judge_linear(fitted: Fitted) -> Judged:
    """`linear`: a probe on all training patients of the task."""
    rows, own = _labelled(fitted)
    reason = probes.why_not(own, fitted.table.classes, needed=2)

    def predict(x: Floats) -> _Predicted:
        probe = probes.fit_linear_probe(fitted.train.x[rows], own, **_inner(fitted))
        return _Predicted(probe.probabilities(x)[None], probe.strength)

    return _subtyping(fitted, "linear", reason, predict)


def linear_probe(fitted: Fitted) -> probes.Probe:
    """The probe that `linear` judges. Raises `DataError` where there is none."""
    rows, own = _labelled(fitted)
    reason = probes.why_not(own, fitted.table.classes, needed=2)
    if reason is not None:
        raise DataError(f"no linear probe on '{fitted.name}' of fold {fitted.fold.number}: {reason}")
    return probes.fit_linear_probe(fitted.train.x[rows], own, **_inner(fitted))


def cox_head(fitted: Fitted) -> SurvivalFit:
    """The head that `cox` judges. Raises `DataError` where there is none."""
    train = _survival_data(fitted.table, fitted.train, ~np.isnan(fitted.table.time))
    reason = survival.why_not(train)
    if reason is not None:
        raise DataError(f"no Cox head on '{fitted.name}' of fold {fitted.fold.number}: {reason}")
    return survival.fit_cox_head(train, **_inner(fitted))


def judge_prototype(fitted: Fitted) -> Judged:
    """`prototype`: the class whose mean over all its training patients is nearest."""
    rows, own = _labelled(fitted)
    reason = probes.why_not(own, fitted.table.classes, needed=1)

    def predict(x: Floats) -> _Predicted:
        return _Predicted(probes.fit_prototypes(fitted.train.x[rows], own).probabilities(x)[None], math.nan)

    return _subtyping(fitted, "prototype", reason, predict)


def judge_few_shot(fitted: Fitted) -> Judged:
    """`shotK` for each K of `shots`: `draws` probes on K training patients a class each; scores are their means."""
    rows, own = _labelled(fitted)
    train = fitted.train.x[rows]
    products = train @ train.T
    # Drawn for the whole half, whoever takes part: so a representation meets the same patients as the next.
    streams = (rng_for(fitted.seed, "shots", fitted.fold.number, draw) for draw in range(fitted.config.draws))
    keys = np.stack([rng.random(len(fitted.train.rows))[rows] for rng in streams])

    def judge(shots: int) -> Judged:
        def predict(x: Floats) -> _Predicted:
            drawn = few_shot.few_shot_rows(own, keys=keys, shots=shots)
            probabilities = few_shot.few_shot_probabilities(products, x @ train.T, own, drawn)
            return _Predicted(probabilities, few_shot.FEW_SHOT_STRENGTH)

        return _subtyping(fitted, f"shot{shots}", probes.why_not(own, fitted.table.classes, needed=shots), predict)

    parts = [judge(shots) for shots in fitted.config.shots]
    return Judged(
        [score for part in parts for score in part.scores],
        [frame for part in parts for frame in part.frames],
        [note for part in parts for note in part.notes],
    )


class _Predicted(NamedTuple):
    """Probabilities (draws, N, K) and the inverse penalty behind them, NaN where there is none."""

    probabilities: Floats
    strength: float


def _labelled(fitted: Fitted) -> tuple[NDArray[np.intp], Codes]:
    """Positions in the training half of who takes part in subtyping, and their classes."""
    codes = class_codes(fitted.table)
    rows = fitted.train.taking_part(codes >= 0)
    return rows, codes[fitted.train.rows[rows]]


def _subtyping(fitted: Fitted, protocol: str, reason: str | None, predict: Callable[[Floats], _Predicted]) -> Judged:
    """Scores are means over the draws that `predict` gives for test patients; `reason` says why there are none."""
    table, test = fitted.table, fitted.test
    codes = class_codes(table)
    rows = test.taking_part(codes >= 0)
    if reason is None and not len(rows):
        reason = "no test patient has label and modality"
    if reason is not None:
        return _undefined(fitted, protocol, "subtyping", CLASSIFICATION_METRICS, reason)
    own, names = codes[test.rows[rows]], np.array(table.classes, dtype=object)
    p, strength = predict(test.x[rows])
    draws = len(p)
    frame = _frame(fitted, np.tile(rows, draws), protocol, "subtyping", strength=strength)
    frame["draw"] = np.repeat(np.arange(draws), len(rows))
    frame["label"], frame["predicted"] = np.tile(names[own], draws), names[p.argmax(axis=2)].ravel()
    for code, name in enumerate(table.classes):
        frame[f"{PROBABILITY}{name}"] = p[..., code].ravel()
    # The weighted metrics, everybody weighing one, are those of `metrics` and take all draws at once.
    (cells,) = fold_cells(frame.assign(fold=fitted.fold.number, seed=fitted.seed))
    once = np.ones((1, len(rows)))
    means = {metric: float(STATISTICS[metric](cells)(once)[0]) for metric in CLASSIFICATION_METRICS}
    undefined = [metric for metric, value in means.items() if math.isnan(value)]
    absent = [name for code, name in enumerate(table.classes) if code not in own]
    notes = [f"{protocol}: no test patient of {', '.join(absent)}, so no {', '.join(undefined)}"] if absent else []
    return Judged(_scores(fitted, protocol, "subtyping", means), [frame], notes)


def judge_supervised(fitted: Fitted, found: Supervised) -> Judged:
    """`supervised`, `supervised_survival`: a model trained on the outcome, its logits being the columns of `fitted`."""
    if found.task == "survival":
        return _survival(fitted, "supervised_survival", lambda _: found.survival_fit())
    return _subtyping(fitted, "supervised", None, lambda x: _Predicted(softmax(x, axis=1)[None], found.strength))


def judge_cox(fitted: Fitted) -> Judged:
    """`cox`: the penalised Cox model."""
    return _survival(fitted, "cox", partial(survival.fit_cox_head, **_inner(fitted)))


def judge_discrete(fitted: Fitted) -> Judged:
    """`discrete`: the discrete-time head of METHOD section 7."""
    intervals = fitted.config.intervals
    return _survival(fitted, "discrete", partial(survival.fit_discrete_head, intervals=intervals, **_inner(fitted)))


def _inner(fitted: Fitted) -> dict[str, int]:
    return {"inner_folds": fitted.config.inner_folds, "seed": fitted.inner_seed}


def _survival(fitted: Fitted, protocol: str, fit_on: Callable[[SurvivalData], SurvivalFit]) -> Judged:
    table, config = fitted.table, fitted.config
    known = ~np.isnan(table.time)
    train, test = (_survival_data(table, half, known) for half in (fitted.train, fitted.test))
    reason = survival.why_not(train)
    if reason is not None:
        return _undefined(fitted, protocol, "survival", SURVIVAL_METRICS, reason)
    fit = fit_on(train)
    risk = fit.model.risk(test.x)
    months, censoring = np.array(config.horizons), fit_censoring(train.time, train.event)
    seen = watched(test.time, test.event, months=months, censoring=censoring)
    survived = fit.curves.survival(test.x, seen.months)
    measured = {
        "c_index": c_index(test.time, test.event, risk),
        "time_auroc": float(mean_area(seen, risk[None], np.ones((1, len(risk))))[0]),
        "integrated_brier": float(np.mean(integrated_losses(seen, survived))) if len(risk) else math.nan,
    }
    frame = _frame(fitted, fitted.test.taking_part(known), protocol, "survival", strength=fit.penalty)
    frame["time"], frame["event"], frame["risk"] = test.time, test.event, risk
    frame["uncensored"] = seen.uncensored
    for place, month in enumerate(seen.months):
        frame[f"{SURVIVAL}{month:g}"], frame[f"{UNCENSORED}{month:g}"] = survived[:, place], seen.uncensored_at[place]
    return Judged(
        _scores(fitted, protocol, "survival", measured), [frame], _unmeasured(protocol, measured, seen, months)
    )


def judge_slide_to_expression(fitted: Fitted) -> Judged:
    """`slide_to_expression`: does a test patient's slide find that patient's expression? Nothing is fitted."""
    slide, expression = (block.view for block in fitted.blocks)
    return _retrieval(fitted, "slide_to_expression", (slide, expression))


def judge_expression_to_slide(fitted: Fitted) -> Judged:
    """`expression_to_slide`: the other way round."""
    slide, expression = (block.view for block in fitted.blocks)
    return _retrieval(fitted, "expression_to_slide", (expression, slide))


def _retrieval(fitted: Fitted, protocol: str, views: tuple[str, str]) -> Judged:
    """Among the test patients who have both modalities; beside the run's own `chance`, what a random order reaches."""
    rows = np.flatnonzero(fitted.test.has)
    if not len(rows):
        reason = "no test patient has both modalities"
        return _undefined(fitted, protocol, "retrieval", RETRIEVAL_METRICS, reason)
    queries, gallery = (fitted.table.views[view][fitted.test.rows[rows]] for view in views)
    ranks, found = rank_rows(queries, gallery), retrieval(queries, gallery)
    frame = _frame(fitted, rows, protocol, "retrieval", strength=math.nan)
    frame["closer"], frame["tied"], frame["gallery"] = ranks.closer, ranks.tied, float(found.gallery)
    frame["first"] = frame["patient"].to_numpy()[ranks.first]
    sides = [(fitted.name, found.recall, found.median_rank)]
    if fitted.name == ALIGNED:
        sides.append((CHANCE, found.chance, (found.gallery + 1) / 2))
    scores = [
        Score(name, protocol, "retrieval", metric, value)
        for name, recall, median in sides
        for metric, value in zip(RETRIEVAL_METRICS, (*recall.values(), median), strict=True)
    ]
    return Judged(scores, [frame], [])


def _unmeasured(protocol: str, measured: dict[str, float], seen: Watched, months: Floats) -> list[str]:
    """What of survival could not be measured, or not everywhere, and why."""
    notes: list[str] = []
    if math.isnan(measured["c_index"]):
        notes.append(f"{protocol}: no two test patients can be ordered by survival, so no c_index")
    beyond = [f"{month:g}" for month in months if month not in seen.months]
    if beyond:
        horizon = f"fewer than {FOLLOWED} training patients are followed beyond {', '.join(beyond)} months"
        notes.append(f"{protocol}: {horizon}, so time_auroc and integrated_brier do not look there")
    if len(seen.months) and math.isnan(measured["time_auroc"]):
        notes.append(f"{protocol}: at no horizon are there test patients with and without event, so no time_auroc")
    return notes


def _survival_data(table: PatientTable, half: Half, known: Flags) -> SurvivalData:
    rows = half.taking_part(known)
    return SurvivalData(half.x[rows], table.time[half.rows[rows]], table.event[half.rows[rows]])


def _undefined(fitted: Fitted, protocol: str, task: str, metrics: Sequence[str], reason: str) -> Judged:
    return Judged(_scores(fitted, protocol, task, dict.fromkeys(metrics, math.nan)), [], [f"{protocol}: {reason}"])


def _scores(fitted: Fitted, protocol: str, task: str, values: dict[str, float]) -> list[Score]:
    return [Score(fitted.name, protocol, task, metric, value) for metric, value in values.items()]


def _frame(fitted: Fitted, rows: NDArray[np.intp], protocol: str, task: str, *, strength: float) -> pd.DataFrame:
    """The columns that predictions of every task begin with, for the test patients at positions `rows`; draw 0."""
    patients = [fitted.table.patients[row] for row in fitted.test.rows[rows]]
    columns = {"representation": fitted.name, "protocol": protocol, "task": task, "draw": 0, "strength": strength}
    return pd.DataFrame({"patient": patients, **columns})


PROTOCOLS: dict[str, tuple[Callable[[Fitted], Judged], ...]] = {
    "subtyping": (judge_linear, judge_few_shot, judge_prototype),
    "survival": (judge_cox, judge_discrete),
    "retrieval": (judge_slide_to_expression, judge_expression_to_slide),
}
"""Task -> its protocols, in the order of the score table."""
