"""The account of what a cohort was given, what it kept, and what was left out, with a reason each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import pandas as pd

from mirror.errors import MirrorError

Kind = Literal["slide", "feature_file", "expression", "clinical", "gene"]


class Excluded(NamedTuple):
    """One row of excluded.csv: a slide, feature file, expression row, clinical row or gene that was left out."""

    kind: Kind
    item: str
    reason: str
    source: str


class Count(NamedTuple):
    """What became of one kind of input; `kept + excluded == given`."""

    given: int
    kept: int
    excluded: int


def balance(given: Mapping[Kind, int], kept: Mapping[Kind, int], excluded: Iterable[Excluded]) -> dict[str, Count]:
    """One `Count` for each kind that was given. Raises `MirrorError` when an item is unaccounted for."""
    left_out = Counter(entry.kind for entry in excluded)
    counts: dict[str, Count] = {kind: Count(given[kind], kept[kind], left_out[kind]) for kind in given}
    wrong = [f"{kind} {count}" for kind, count in counts.items() if count.kept + count.excluded != count.given]
    if wrong or left_out.keys() - counts.keys():
        raise MirrorError(f"kept + excluded is not given ({'; '.join(wrong)}): a defect of mirror, please report it")
    return counts


def as_frame(excluded: Iterable[Excluded]) -> pd.DataFrame:
    """The entries as a table of four string columns."""
    return pd.DataFrame(list(excluded), columns=list(Excluded._fields), dtype=object)
