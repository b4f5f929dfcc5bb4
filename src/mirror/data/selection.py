"""How the genes of a panel were chosen: by what, on whom, and what each size of panel scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Scope = Literal["fold", "cohort"]
Criterion = Literal["label", "survival", "variance"]
Origin = Literal["elimination", "variance", "curated", "both"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The account of a choice of genes.

    `origins`, one a gene of the panel, say which of criterion and curated list asked for it, or that both did.
    `sizes` (descending), `mean_score` and `std_score` are the curve of cross-validated accuracy, in [0, 1], against the
    number of genes; empty for a criterion that scores nothing. `selected_on` are the patients whose values (and, but
    for `variance`, whose endpoints) were seen. `curated_missing` are curated symbols that the table does not have.
    """

    scope: Scope
    criterion: Criterion
    origins: tuple[Origin, ...]
    sizes: tuple[int, ...]
    mean_score: tuple[float, ...]
    std_score: tuple[float, ...]
    selected_on: tuple[str, ...]
    curated_missing: tuple[str, ...]
    note: str
    """A sentence for the reader of a report: whom the choice saw, and what that means for the scores."""

    def as_json(self) -> dict[str, Any]:
        """Everything, as values that JSON has."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], *, genes: int) -> Selection:
        """What `as_json` gave. Raises `KeyError`, `TypeError` or `ValueError` when it is damaged."""
        made = cls(**{name: _frozen(content[name]) for name in cls.__slots__})
        curve = {len(made.sizes), len(made.mean_score), len(made.std_score)}
        known = made.scope in get_args(Scope) and made.criterion in get_args(Criterion)
        if len(made.origins) != genes or len(curve) != 1 or not known or set(made.origins) - {*get_args(Origin)}:
            raise ValueError("the selection does not fit the genes")
        return made


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
