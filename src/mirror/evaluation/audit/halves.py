"""Patients who stand in both halves of a fold: what a model learned of them, it is then judged on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mirror.evaluation.audit.finding import Check, Finding, counted, few
from mirror.types import Fold

NAME = "patients in both halves"


class Judged(NamedTuple):
    """What one run did: trained on `trained`, was judged on `judged`. `run` names it for people."""

    run: str
    trained: frozenset[str]
    judged: frozenset[str]


def check_halves(folds: Iterable[Fold], runs: Iterable[Judged], *, source: str) -> Check:
    """The halves as they are written (`source` says where), and as each run used them."""
    findings: list[Finding] = []
    folds, runs = list(folds), list(runs)
    for fold in folds:
        both = sorted(set(fold.train) & set(fold.test))
        if both:
            findings.append(_finding(f"fold {fold.number}", both, len(set(fold.test)), f"{source} puts"))
    written = {name for finding in findings for name in finding.examples}
    for run in runs:
        both = sorted((run.trained & run.judged) - written)
        if both:
            findings.append(_finding(run.run, both, len(run.judged), "training and scores of this run put"))
    looked = f"{counted(len(folds), 'fold')} of {source}, and {counted(len(runs), 'finished run')}"
    return Check(NAME, looked, tuple(findings))


def check_pooled(pooled: Mapping[str, Iterable[str]], judged: Mapping[str, Iterable[str]]) -> Iterable[Finding]:
    """Test patients of a run (`judged`) who are among the patients that it was lent by pooled cohorts (`pooled`)."""
    for run, lent in pooled.items():
        both = sorted(set(lent) & set(judged[run]))
        if both:
            yield _finding(run, both, len(set(judged[run])), "cohorts of `pool` put")


def _finding(where: str, both: list[str], tested: int, who: str) -> Finding:
    return Finding(
        NAME,
        "leak",
        where,
        len(both),
        "patients",
        f"{who} {counted(len(both), 'patient')} of {tested:,} test patients into the training half too: {few(both)}",
        "give each patient one half; without `folds.path` folds are made by patient. Train and evaluate again",
        tuple(both),
    )
