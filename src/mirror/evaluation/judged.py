"""One protocol on one representation of one fold: scores, the predictions behind them, and reasons for what is missing.

A protocol is a function of a `Fitted` to a `Judged`, listed by its task in `PROTOCOLS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.evaluation import probes, survival
from mirror.evaluation.fitted import Fitted, Half, class_codes
from mirror.evaluation.horizons import FOLLOWED, Watched, fit_censoring, integrated_losses, mean_area, watched
from mirror.evaluation.metrics import (
    CLASSIFICATION_METRICS,
    SURVIVAL_METRICS,
    Flags,
    Floats,
    c_index,
    classification_metrics,
)
from mirror.evaluation.representations import PatientTable
from mirror.evaluation.survival import SurvivalData
from mirror.evaluation.weighted import SURVIVAL, UNCENSORED
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
    """What one protocol gave: its scores, a frame of predictions a draw, the reasons for NaNs."""

    scores: list[Score]
    frames: list[pd.DataFrame]
    notes: list[str]


def judge_linear(fitted: Fitted) -> Judged:
    """`linear`: a probe on all training patients of the task."""
    codes = class_codes(fitted.table)
    rows = fitted.train.taking_part(codes >= 0)
    own = codes[fitted.train.rows[rows]]
    reason = probes.why_not(own, fitted.table.classes, needed=2)
    folds, seed = fitted.config.inner_folds, fitted.inner_seed
    fit = partial(probes.fit_linear_probe, fitted.train.x[rows], own, inner_folds=folds, seed=seed)
    return _subtyping(fitted, "linear", reason, lambda: iter([fit()]))


def judge_few_shot(fitted: Fitted) -> Judged:
    """`shotK`: `draws` probes on K training patients a class each; scores are their means."""
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


def _subtyping(fitted: Fitted, protocol: str, reason: str | None, fit: Callable[[], Iterator[probes.Probe]]) -> Judged:
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
    return Judged(_scores(fitted, protocol, "subtyping", means), frames, notes)


def judge_cox(fitted: Fitted) -> Judged:
    """`cox`: the penalised Cox model."""
    return _survival(fitted, "cox")


def judge_discrete(fitted: Fitted) -> Judged:
    """`discrete`: the discrete-time head of METHOD section 7."""
    return _survival(fitted, "discrete")


def _survival(fitted: Fitted, protocol: str) -> Judged:
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
    months, censoring = np.array(config.horizons), fit_censoring(train.time, train.event)
    seen = watched(test.time, test.event, months=months, censoring=censoring)
    survived = fit.curves.survival(test.x, seen.months)
    measured = {
        "c_index": c_index(test.time, test.event, risk),
        "time_auroc": float(mean_area(seen, risk[None], np.ones((1, len(risk))))[0]),
        "integrated_brier": float(np.mean(integrated_losses(seen, survived))) if len(risk) else math.nan,
    }
    frame = _frame(fitted, fitted.test.taking_part(known), protocol, "survival", draw=0, strength=fit.penalty)
    frame["time"], frame["event"], frame["risk"] = test.time, test.event, risk
    frame["uncensored"] = seen.uncensored
    for place, month in enumerate(seen.months):
        frame[f"{SURVIVAL}{month:g}"], frame[f"{UNCENSORED}{month:g}"] = survived[:, place], seen.uncensored_at[place]
    return Judged(
        _scores(fitted, protocol, "survival", measured), [frame], _unmeasured(protocol, measured, seen, months)
    )


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


def _frame(
    fitted: Fitted, rows: NDArray[np.intp], protocol: str, task: str, *, draw: int, strength: float
) -> pd.DataFrame:
    """The columns that predictions of every task begin with, for the test patients at positions `rows`."""
    patients = [fitted.table.patients[row] for row in fitted.test.rows[rows]]
    columns = {"representation": fitted.name, "protocol": protocol, "task": task, "draw": draw, "strength": strength}
    return pd.DataFrame({"patient": patients, **columns})


PROTOCOLS: dict[str, tuple[Callable[[Fitted], Judged], ...]] = {
    "subtyping": (judge_linear, judge_few_shot),
    "survival": (judge_cox, judge_discrete),
}
"""Task -> its protocols, in the order of the score table."""
