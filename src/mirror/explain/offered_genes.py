"""Which targets' genes may be named for which model: those whose planted genes were found.

The figures are of `python experiments/genes_true.py` (docs/log.md): the share of planted genes among as many leading
ones of a simulated study. A kind of model and target that is not listed here was not measured and is offered.
"""

from __future__ import annotations

from typing import NamedTuple

from mirror.errors import ConfigError
from mirror.explain.offered import Kind, kind_of
from mirror.explain.relevance import Model
from mirror.explain.targets import CLASS, Target

PASSED = 0.8


class Recall(NamedTuple):
    """A kind of model, what a target is of (`class`, `risk`, `agreement`), and the measured recall of planted genes."""

    kind: Kind
    target: str
    recall: float


MEASURED: tuple[Recall, ...] = (
    Recall("closed form", "class", 1.0),
    Recall("closed form", "risk", 1.0),
    Recall("closed form", "agreement", 1.0),
    Recall("pooling network", "class", 0.90),
    Recall("pooling network", "risk", 1.0),
    Recall("pooling network", "agreement", 1.0),
    Recall("token attention", "class", 0.35),
    Recall("token attention", "risk", 0.40),
    Recall("token attention", "agreement", 0.85),
)


def why_not(model: Model, target: Target) -> str | None:
    """The reason, with its figure, why the genes of a target are not named for a model; None where they are."""
    kind, name = kind_of(model), "class" if target.name.startswith(CLASS) else target.name
    for one in MEASURED:
        if (one.kind, one.target) == (kind, name) and one.recall < PASSED:
            return (
                f"genes of '{target.name}' are not named for a model by {kind}: of genes planted in simulated cohorts "
                f"{one.recall:.2f} are found among as many leading ones, {PASSED} is asked for (docs/explain.md)"
            )
    return None


def require_offered(model: Model, target: Target) -> None:
    """Raise `ConfigError` where `why_not` has a reason."""
    reason = why_not(model, target)
    if reason is not None:
        raise ConfigError(f"{reason}; take the preset `mirror`")
