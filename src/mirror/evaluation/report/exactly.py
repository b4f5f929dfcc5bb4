"""The opening in figures and names: what was asked, what was found and how sure, each number as the tables have it.

None of the sentences speaks of significance where no test was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mirror.evaluation.bootstrap import Interval
from mirror.evaluation.report.names import metric_label, protocol_label, representation_label, task_label
from mirror.evaluation.report.pictures import signed
from mirror.evaluation.report.verdicts import Verdict


def asked_exactly(tasks: Sequence[str], *, patients: int, expression: bool) -> str:
    """The question as the evaluation puts it: learned representations against summaries that cost no training."""
    source = "the slides and the gene expression" if expression else "the slides"
    who = f"{patients:,} patients"
    if not tasks:
        return f"A representation was learned from {source} of {who}; no task was asked of it."
    return (
        f"Does a representation learned from {source} of {who} say more about the "
        f"{' and the '.join(map(task_label, tasks))} of patients it has never seen than plain summaries of the same "
        "data that need no training?"
    )


def found_exactly(shown: Sequence[Verdict], foremost: Mapping[str, Verdict]) -> str:
    """The scores of both sides of each of `shown`; `foremost` is the first of each task, the others have few labels."""
    return sentence("; ".join((_found if one is foremost[one.task] else _found_few)(one) for one in shown))


def sure_exactly(shown: Sequence[Verdict], foremost: Mapping[str, Verdict], *, rows: int) -> str:
    """The interval, or the folds, of each of `shown`, and what they do not hold; chosen from `rows` of the table."""
    said = "; ".join((_sure if one is foremost[one.task] else _sure_few)(one) for one in shown)
    picked = "each side is the best of several on these same folds, and " if rows > 2 else ""
    if any(one.interval for one in foremost.values()):
        caution = f"{picked}an interval holds the chance of having met these patients, not that of another training"
    else:
        caution = f"{picked}no test of significance was made"
    return sentence(f"{said}; {caution}")


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return text[:1].upper() + text[1:] + "."


def _found(verdict: Verdict) -> str:
    gap = f"{abs(verdict.mean):.3f}"
    place = "level with" if not gap.strip("0.") else f"{gap} {'above' if verdict.mean > 0 else 'below'}"
    return (
        f"for {task_label(verdict.task)}, the best learned representation "
        f"({_inline(verdict.learned)}) reached a mean {metric_label(verdict.metric)} of "
        f"{verdict.learned_mean:.3f} by {protocol_label(verdict.protocol)}, {place} the best baseline "
        f"({_inline(verdict.baseline)}) with {verdict.baseline_mean:.3f}"
    )


def _found_few(verdict: Verdict) -> str:
    """The same of few labels, in the wake of `_found`."""
    return (
        f"with {verdict.protocol[4:]} labelled patients a class it is {verdict.learned_mean:.3f} "
        f"({_inline(verdict.learned)}) against {verdict.baseline_mean:.3f} ({_inline(verdict.baseline)})"
    )


def _sure(verdict: Verdict) -> str:
    task, folds = task_label(verdict.task), len(verdict.differences)
    spread = f"spread over folds (sd {verdict.spread:.3f})"
    if verdict.interval is not None and not np.isnan(verdict.interval.low):
        zero = _where_zero_is(verdict.interval)
        return (
            f"for {task}, drawing the patients anew puts the difference between {_ends(verdict.interval)} "
            f"(95 % interval; {zero}), and learned is ahead in {verdict.ahead} of {folds} folds"
        )
    if verdict.outcome == "one fold":
        return f"{task} was measured on one fold only, which cannot show how far chance moves the difference"
    if verdict.outcome != "undecided":
        winner = "learned representation" if verdict.outcome == "ahead" else "baseline"
        return f"for {task}, the {winner} is ahead in all {folds} folds, by more than the {spread}"
    size = "within" if abs(verdict.mean) <= verdict.spread else "larger than"
    return f"{task} is undecided: learned ahead in {verdict.ahead} of {folds} folds, the difference {size} its {spread}"


def _sure_few(verdict: Verdict) -> str:
    """The same of few labels, in the wake of `_sure`."""
    said = f"learned ahead in {verdict.ahead} of {len(verdict.differences)} folds"
    if verdict.interval is None or np.isnan(verdict.interval.low):
        return f"with few labels {said}"
    return f"with few labels between {_ends(verdict.interval)} ({_where_zero_is(verdict.interval)}), {said}"


def _ends(interval: Interval) -> str:
    """Both ends; one that rounds to zero, which is not in the interval, is said to lie on its side of it."""
    said = [signed(end) for end in (interval.low, interval.high)]
    if interval.low > 0 and not said[0].strip("+0."):
        said[0] = "just above zero"
    if interval.high < 0 and not said[1].strip("\N{MINUS SIGN}0."):
        said[1] = "just below zero"
    return " and ".join(said)


def _where_zero_is(interval: Interval) -> str:
    return "zero is within it" if interval.low <= 0 <= interval.high else "zero is outside it"


def _inline(name: str) -> str:
    label = "slide and expression together" if name == "fused" else representation_label(name)
    return label if label.startswith("PCA") else label.lower()
