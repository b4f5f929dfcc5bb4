"""Everything that is fitted remembers on whom; here that is held against the fold, and against the numbers themselves.

A memory could be wrong, so what can be fitted anew in a moment is: moments that are not those of the patients they
name are a leak too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mirror.evaluation.audit.finding import Check, Finding, Severity, counted, few
from mirror.evaluation.metrics import Floats

NAME = "fitted on the wrong patients"

TOLERANCE = 1e-3
"""Deviations, in standard deviations, that single precision explains; other patients move a mean by far more."""


class Memory(NamedTuple):
    """What was fitted in a run, and on whom: None where it does not say. `test` are the patients judged there,
    `others` those who may be among the fitted ones besides them. Seeing values alone is `mild`: no label was seen."""

    what: str
    run: str
    fitted_on: frozenset[str] | None
    train: frozenset[str]
    test: frozenset[str]
    mild: bool = False
    remedy: str = "train and evaluate again with `--overwrite`"


class Refit(NamedTuple):
    """Means and scales `found` in a run, and the same `refitted` on the patients they name; both (D,), and the
    deviation `unit` (D,) of each column among those patients."""

    what: str
    run: str
    found: Floats
    refitted: Floats
    unit: Floats


def check_memories(memories: Iterable[Memory], refits: Iterable[Refit], *, skipped: Iterable[str] = ()) -> Check:
    """Hold each memory against its fold and each refit against its numbers. `skipped`: what could not be refitted."""
    memories, refits, skipped = list(memories), list(refits), list(dict.fromkeys(skipped))
    findings = [finding for memory in memories for finding in _held(memory)]
    silent = dict.fromkeys((memory.what, memory.remedy) for memory in memories if memory.fitted_on is None)
    for what, remedy in silent:
        runs = [memory.run for memory in memories if memory.fitted_on is None and memory.what == what]
        said = f"{what} of {counted(len(runs), 'run')} do not say on whom they were fitted ({few(runs)})"
        findings.append(Finding(NAME, "warning", few(runs), len(runs), "runs", said, remedy, tuple(runs)))
    findings += [finding for refit in refits for finding in _compared(refit)]
    kinds = ", ".join(dict.fromkeys(memory.what for memory in memories)) or "nothing has been fitted yet"
    again = ", ".join(dict.fromkeys(refit.what for refit in refits))
    looked = f"{kinds}" + (f"; fitted anew: {again}" if again else "")
    return Check(NAME, "; ".join([looked, *skipped]), tuple(findings))


def _held(memory: Memory) -> Iterable[Finding]:
    if memory.fitted_on is None:
        return
    seen = sorted(memory.fitted_on & memory.test)
    if seen:
        what = "saw values (no label) of" if memory.mild else "were fitted on"
        said = f"{what} {counted(len(seen), 'patient')} of {len(memory.test):,} who are judged there: {few(seen)}"
        yield _finding(memory, "warning" if memory.mild else "leak", len(seen), said, seen)
    strangers = sorted(memory.fitted_on - memory.train - memory.test)
    if strangers:
        said = f"were fitted on {counted(len(strangers), 'patient')} who are in neither half: {few(strangers)}"
        yield _finding(memory, "warning", len(strangers), said, strangers)


def _compared(refit: Refit) -> Iterable[Finding]:
    if refit.found.shape != refit.refitted.shape:
        away = np.array([np.inf])
    else:
        away = np.abs(refit.found - refit.refitted) / np.where(refit.unit > 0, refit.unit, 1.0)
    wrong = int((~(away <= TOLERANCE)).sum())
    if wrong:
        yield Finding(
            NAME,
            "leak",
            refit.run,
            wrong,
            f"of {len(refit.found):,} columns",
            f"{refit.what} of {refit.run} are not those of the patients they name: fitted on them anew, "
            f"{wrong:,} of {len(refit.found):,} columns differ, by up to {np.nanmax(away):.3g} standard deviations",
            "the file was changed, or made from other patients or values: train again with `--overwrite`",
        )


def _finding(memory: Memory, severity: Severity, size: int, said: str, names: Iterable[str]) -> Finding:
    sentence = f"{memory.what} of {memory.run} {said}"
    return Finding(NAME, severity, memory.run, size, "patients", sentence, memory.remedy, tuple(names))
