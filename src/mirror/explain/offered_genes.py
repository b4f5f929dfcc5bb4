"""Which targets' genes may be named for which model: those whose planted genes were found.

The figures are of `python experiments/genes_true.py` (docs/log.md): the share of planted genes among as many leading
ones of a simulated study. What was not measured is not offered.
"""

from __future__ import annotations

from typing import NamedTuple

from mirror.errors import ConfigError
from mirror.explain.offered import Kind, kind_of
from mirror.explain.relevance import Model
from mirror.explain.targets import AGREEMENT, CLASS, Target

PASSED = 0.8


class Recall(NamedTuple):
    """A kind of model, what a target is of (`class`, `risk`, `agreement`), the measured recall of planted genes, and
    what its head reads."""

    kind: Kind
    target: str
    recall: float
    representation: str = "expression"


MEASURED: tuple[Recall, ...] = (
    Recall("closed form", "class", 1.0),
    Recall("closed form", "risk", 1.0),
    Recall("closed form", "agreement", 1.0),
    Recall("closed form", "class", 0.975, "fused"),
    Recall("closed form", "risk", 0.942, "fused"),
    Recall("pooling network", "class", 0.908),
    Recall("pooling network", "risk", 0.933),
    Recall("pooling network", "agreement", 1.0),
    Recall("pooling network", "class", 0.875, "fused"),
    Recall("pooling network", "risk", 0.908, "fused"),
    Recall("token attention", "class", 0.925),
    Recall("token attention", "risk", 0.917),
    Recall("token attention", "agreement", 0.85),
    Recall("token attention", "class", 0.858, "fused"),
    Recall("token attention", "risk", 1.0, "fused"),
    Recall("Nystrom attention", "class", 0.95),
    Recall("Nystrom attention", "risk", 0.933),
    Recall("Nystrom attention", "agreement", 0.883),
    Recall("Nystrom attention", "class", 0.85, "fused"),
    Recall("Nystrom attention", "risk", 0.933, "fused"),
)


def why_not(model: Model, target: Target) -> str | None:
    """The reason, with its figure, why the genes of a target are not named for a model; None where they are."""
    kind, name = kind_of(model), "class" if target.name.startswith(CLASS) else target.name
    read = "expression" if name == AGREEMENT else target.representation
    measured = next((one for one in MEASURED if (one.kind, one.target, one.representation) == (kind, name, read)), None)
    if measured is not None and measured.recall >= PASSED:
        return None
    why = "whether planted genes are found was not measured"
    if measured is not None:
        found = f"of genes planted in simulated cohorts {measured.recall:.2f} are found among as many leading ones"
        why = f"{found}, {PASSED} is asked for"
    return f"genes of '{target.name}' on '{read}' are not named for a model by {kind}: {why} (docs/explain.md)"


def require_offered(model: Model, target: Target) -> None:
    """Raise `ConfigError` where `why_not` has a reason."""
    reason = why_not(model, target)
    if reason is not None:
        raise ConfigError(f"{reason}; take the preset `mirror`")
