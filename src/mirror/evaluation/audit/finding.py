"""What an audit says: findings, each with its size and its remedy, and the checks that made them.

Some checks are certain (a patient is in both halves or not), some are tests of chance. All tests of one audit are one
family: Holm's correction over them, at `FAMILY_ALPHA`. So a cohort without any of these flaws raises a false alarm with
a probability of at most one in ten thousand, and two hundred clean cohorts together with at most two in a hundred.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from mirror.evaluation.bootstrap import holm

FAMILY_ALPHA = 1e-4
"""Probability that the tests of one audit together raise an alarm where there is nothing to find."""

SHOWN = 5
"""Names that a sentence lists; `examples` has them all."""

Severity = Literal["leak", "warning"]


class Finding(NamedTuple):
    """One thing that is wrong.

    `size` counts or measures it in `unit`; `p` is of its being chance, after Holm, None where chance has no part.
    A `leak` makes scores that cannot be trusted; a `warning` is to be known before they are read.
    """

    check: str
    severity: Severity
    where: str
    size: float
    unit: str
    sentence: str
    remedy: str
    examples: tuple[str, ...] = ()
    p: float | None = None

    @property
    def amount(self) -> str:
        """Size and unit for people: `15 patients`, `0.661 AUROC`."""
        size = f"{self.size:,.0f}" if float(self.size).is_integer() else f"{self.size:.3f}"
        return f"{size} {self.unit}"


class Check(NamedTuple):
    """One kind of flaw: `looked` says at what, and what could not be looked at and why. `findings` with a `p` are
    suspicions until `settle` has corrected them; `tests` counts the tests that were made, those of no finding too."""

    name: str
    looked: str
    findings: tuple[Finding, ...] = ()
    tests: int = 0


class Audit(NamedTuple):
    """All checks of a run, settled."""

    checks: tuple[Check, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Leaks first."""
        found = [finding for check in self.checks for finding in check.findings]
        return tuple(sorted(found, key=lambda finding: finding.severity))

    @property
    def leaks(self) -> int:
        """How many of the findings are leaks."""
        return sum(finding.severity == "leak" for finding in self.findings)

    def summary(self) -> str:
        """`2 leaks and 1 warning in 6 checks`, or that there is none."""
        warnings = len(self.findings) - self.leaks
        counts = [f"{n} {word}{'s' * (n != 1)}" for n, word in ((self.leaks, "leak"), (warnings, "warning")) if n]
        return f"{' and '.join(counts) or 'nothing found'} in {len(self.checks)} checks"

    def as_json(self) -> dict[str, Any]:
        """Everything, as values that JSON has."""
        checks = [check._asdict() | {"findings": [one._asdict() for one in check.findings]} for check in self.checks]
        return {"kind": "audit", "family_alpha": FAMILY_ALPHA, "leaks": self.leaks, "checks": checks}


def settle(checks: Iterable[Check]) -> Audit:
    """Correct the p-values of all checks together and drop the suspicions that chance explains."""
    given = list(checks)
    raw = [finding.p for check in given for finding in check.findings if finding.p is not None]
    quiet = sum(check.tests for check in given) - len(raw)
    corrected = iter(holm([*raw, *[1.0] * quiet])[: len(raw)])
    settled: list[Check] = []
    for check in given:
        kept: list[Finding] = []
        for finding in check.findings:
            p = None if finding.p is None else float(next(corrected))
            if p is None or p <= FAMILY_ALPHA:
                kept.append(finding._replace(p=p))
        settled.append(check._replace(findings=tuple(kept)))
    return Audit(tuple(settled))


def few(names: Sequence[str]) -> str:
    """The first names, and that there are more."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def counted(count: int, word: str) -> str:
    """`1 patient`, `2 patients`."""
    return f"{count:,} {word}{'s' * (count != 1)}"
