"""Who is taken for whom."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd


class Confusion(NamedTuple):
    """Test patients of the first seed, each once: `counts[i][j]` of class i who were called class j."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def share(self, row: int, column: int) -> float:
        """Of the patients of class `row`, how many were called `column`; 0 where there is nobody."""
        total = sum(self.counts[row])
        return self.counts[row][column] / total if total else 0.0

    @property
    def right(self) -> float:
        """Mean over classes of the share that was found: balanced accuracy of all folds together."""
        rows = [row for row in range(len(self.classes)) if sum(self.counts[row])]
        return sum(self.share(row, row) for row in rows) / len(rows)


def confusion(predictions: pd.DataFrame) -> Confusion | None:
    """Of one representation under one protocol without draws (`linear`); None without predictions."""
    known = predictions.dropna(subset=["label", "predicted"])
    if known.empty:
        return None
    once = known[known["seed"] == known["seed"].min()].sort_values(["fold", "draw"], kind="stable")
    once = once.drop_duplicates("patient")
    classes = tuple(sorted(set(once["label"].astype(str)) | set(once["predicted"].astype(str))))
    table = pd.crosstab(once["label"].astype(str), once["predicted"].astype(str))
    table = table.reindex(index=list(classes), columns=list(classes), fill_value=0)
    return Confusion(classes, tuple(tuple(int(count) for count in row) for row in table.to_numpy()))
