"""The three sentences the page opens with, in words that need no statistics: what was asked, what was found, how sure.

A score that counts pairs (AUROC, c-index) is said as what it is: how often, of two patients, the right one is named.
Figures, names and reservations are in `exactly`, which stands right below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from mirror.evaluation.report.exactly import asked_exactly, found_exactly, sentence, sure_exactly
from mirror.evaluation.report.names import TASKS, rank, task_label
from mirror.evaluation.report.verdicts import Verdict
from mirror.evaluation.representations import CLINICAL

OF_PAIRS = ("auroc", "c_index", "time_auroc")
"""Metrics that are the share of pairs of patients in the right order; 0.5 is guessing."""

OF_PATIENTS = ("balanced_accuracy", "accuracy")
"""Metrics that are a share of patients who are named right."""

LISTED_CLASSES = 3
"""Classes that the question names; of more it says how many."""

ALL_LABELS = "from all labels"

Sureness = Literal[
    "ahead", "behind", "may be chance", "all folds ahead", "all folds behind", "folds differ", "one fold"
]


class Opening(NamedTuple):
    """What was asked, what was found and how sure that is: in plain words, and the same in figures and names."""

    asked: str
    found: str
    sure: str
    asked_exactly: str
    found_exactly: str
    sure_exactly: str


def opening(chosen: Sequence[Verdict], *, scores: pd.DataFrame, patients: pd.DataFrame) -> Opening:
    """The opening of `chosen`, the `headlines` of `scores`.

    `patients` has a row a kept patient with `has_expression` and, where there are any, `label`. Retrieval has a section
    of its own: it is no question that a clinic asks.
    """
    tasks = sorted(set(scores["task"].astype(str)) - {"retrieval"}, key=lambda task: rank(task, TASKS))
    expression = bool(patients["has_expression"].any())
    asked = _asked(tasks, patients, expression=expression)
    exactly = asked_exactly(tasks, patients=len(patients), expression=expression)
    foremost: dict[str, Verdict] = {}
    for verdict in chosen:
        if verdict.task in tasks:
            foremost.setdefault(verdict.task, verdict)
    if not foremost:
        found = "No learned representation and baseline were judged on the same patients, so neither leads."
        sure = "There is no measurement to be sure of."
        return Opening(asked, found, sure, exactly, found, sure)
    shown = [*foremost.values(), *_few_shot(chosen, foremost)]
    shown.sort(key=lambda verdict: (rank(verdict.task, TASKS), verdict is not foremost[verdict.task]))
    rows = scores["representation"].nunique()
    return Opening(
        asked,
        _found(shown),
        _sure(shown),
        exactly,
        found_exactly(shown, foremost),
        sure_exactly(shown, foremost, rows=rows),
    )


def _few_shot(chosen: Sequence[Verdict], spoken_of: Mapping[str, Verdict]) -> list[Verdict]:
    """The verdict on few labels, at 10 a class or the nearest to it; none where that is spoken of already."""
    counts = {int(one.protocol[4:]): one for one in chosen if _is_few_shot(one)}
    if not counts:
        return []
    verdict = counts[min(counts, key=lambda count: (abs(count - 10), count))]
    return [] if verdict is spoken_of[verdict.task] else [verdict]


def _asked(tasks: Sequence[str], patients: pd.DataFrame, *, expression: bool) -> str:
    who = f"{len(patients):,} patients"
    if not tasks:
        source = "the slides and the gene expression" if expression else "the slides"
        return f"Nothing yet: {source} of {who} were learned from, and neither subtype nor survival was judged."
    source = "slides, gene expression or both" if expression else "slides"
    targets = [f"{task_label(task)}{_classes(patients) if task == 'subtyping' else ''}" for task in tasks]
    return f"Can {' and '.join(targets)} be told from {source}, in {who}?"


def _classes(patients: pd.DataFrame) -> str:
    names = sorted(patients["label"].dropna().astype(str).unique()) if "label" in patients else []
    if len(names) < 2:
        return ""
    if len(names) > LISTED_CLASSES:
        return f" (one of {len(names)})"
    return f" ({', '.join(names[:-1])} or {names[-1]})"


def _found(shown: Sequence[Verdict]) -> str:
    rival = "best simple baseline" if all(_is_simple(one.baseline) for one in shown) else "best baseline"
    pairs = [one for one in shown if one.metric in OF_PAIRS]
    said: list[str] = []
    if pairs:
        parts: list[str] = []
        for before, one in zip([None, *pairs], pairs, strict=False):
            of = _figures(one)
            # The task is said once: few labels stand behind all of them.
            again = before is not None and before.task == one.task
            what = labels_of([one]) if again else f"for {targets([one])}"
            times, whose = (" times in 100", f"{rival}: ") if before is None else ("", "")
            parts.append(f"{of.learned}{times} {what} ({whose}{of.baseline})")
        said.append(
            f"of two patients the best learned representation names the right one {_listed(parts)}, "
            "where guessing gives 50"
        )
    for one in shown:
        if one.metric in OF_PATIENTS:
            of = _figures(one)
            right = f"{of.learned} of 100 patients ({rival}: {of.baseline})"
            said.append(f"the best learned representation names {targets([one])} right in {right}")
        elif one.metric not in OF_PAIRS:
            place = "better than" if one.mean > 0 else "worse than" if one.mean < 0 else "as good as"
            said.append(f"the best learned representation predicts {targets([one])} {place} the {rival}")
    return sentence(", and ".join(said))


class _Figures(NamedTuple):
    learned: str
    baseline: str


def _figures(verdict: Verdict) -> _Figures:
    """Both sides out of a hundred, with a decimal where they would read the same without."""
    sides = 100 * verdict.learned_mean, 100 * verdict.baseline_mean
    whole = _Figures(*(f"{side:.0f}" for side in sides))
    return whole if whole.learned != whole.baseline else _Figures(*(f"{side:.1f}" for side in sides))


def _sure(shown: Sequence[Verdict]) -> str:
    groups: dict[Sureness, list[Verdict]] = {}
    for one in shown:
        groups.setdefault(sureness(one), []).append(one)
    *clauses, last = (_clause(how, targets(verdicts)) for how, verdicts in groups.items())
    return sentence(f"{', '.join(clauses)}, while {last}" if clauses else last)


def _clause(how: Sureness, what: str) -> str:
    chance = "than chance would explain"
    return {
        "ahead": f"the lead in {what} is larger {chance}",
        "behind": f"in {what} the baseline is better, by more {chance}",
        "may be chance": f"the difference in {what} may be chance",
        "all folds ahead": f"in {what} the learned representation is better in every group of test patients",
        "all folds behind": f"in {what} the baseline is better in every group of test patients",
        "folds differ": f"the difference in {what} is too uneven over groups of test patients to be sure of",
        "one fold": f"{what} was measured on one group of test patients only, which cannot show what is chance",
    }[how]


def sureness(verdict: Verdict) -> Sureness:
    """By the interval over patients; where there is none, by whether the folds agree."""
    interval = verdict.interval
    if interval is not None and not np.isnan(interval.low):
        if interval.low <= 0 <= interval.high:
            return "may be chance"
        return "ahead" if interval.low > 0 else "behind"
    if verdict.outcome == "one fold":
        return "one fold"
    if verdict.outcome == "undecided":
        return "folds differ"
    return "all folds ahead" if verdict.outcome == "ahead" else "all folds behind"


def targets(verdicts: Sequence[Verdict]) -> str:
    """Each task once, and from how many labels where not from all of them alone.

    `subtype`, `subtype from 10 labelled patients a class`, `subtype (from all labels and from 10 labelled patients a
    class) and survival`.
    """
    tasks: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        tasks.setdefault(task_label(verdict.task), []).append(verdict)
    return _listed([_of_task(task, asked) for task, asked in tasks.items()])


def _of_task(task: str, asked: Sequence[Verdict]) -> str:
    labels = labels_of(asked)
    if labels == ALL_LABELS:
        return task
    return f"{task} ({labels})" if labels.startswith(ALL_LABELS) else f"{task} {labels}"


def labels_of(verdicts: Sequence[Verdict]) -> str:
    """From how many labels: from all, from some a class, or both."""
    few = sorted(int(one.protocol.removeprefix("shot")) for one in verdicts if _is_few_shot(one))
    said = [] if len(few) == len(verdicts) else [ALL_LABELS]
    if few:
        said.append(f"from {_listed([str(count) for count in few])} labelled patient{'s' * (few != [1])} a class")
    return " and ".join(said)


def _is_few_shot(verdict: Verdict) -> bool:
    return re.fullmatch(r"shot\d+", verdict.protocol) is not None


def _is_simple(name: str) -> bool:
    """True for what is not trained: summaries of the data and clinical variables."""
    return name == CLINICAL or name.startswith(("raw_", "pca", "panel_"))


def _listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
