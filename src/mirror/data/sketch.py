"""A table of a folder, sketched: its first rows, and the cells of the columns that say what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mirror.data.tables import Glance, glance, read_text_table

MANY_NUMBERS = 50
"""Columns of numbers from which on a table of patients is taken for expression."""

FEW_COLUMNS = 200
"""Columns of a table that are read whole, to see what is in them."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """A table: the first rows of it, and of the columns that were read whole, the cells."""

    path: Path
    seen: Glance
    cells: Mapping[str, Sequence[str | None]] = field(repr=False)

    def values(self, column: str) -> list[str]:
        """The cells of a column that are not empty."""
        return [cell for cell in self.cells.get(column, ()) if cell is not None]

    def numeric(self, column: str) -> bool:
        """Whether all the cells that were seen are numbers, and there are some."""
        return _is_numeric(self.seen, self.seen.columns.index(column))


def sketch_table(path: Path) -> Sketch:
    """Sketch a table. Raises `DataError` when it cannot be read."""
    seen = glance(path)
    counts = Counter(seen.columns)
    numbers = [_is_numeric(seen, place) for place in range(len(seen.columns))]
    # Of a table of measurements the numbers are not read: their names and first rows say enough.
    measured = sum(numbers) >= MANY_NUMBERS
    columns = [
        name
        for place, name in enumerate(seen.columns)
        if counts[name] == 1 and (place == 0 or not (measured and numbers[place]))
    ]
    wanted = columns[:FEW_COLUMNS]
    cells = read_text_table(path, wanted) if wanted else None
    return Sketch(path, seen, {} if cells is None else {name: cells[name].tolist() for name in wanted})


def _is_numeric(seen: Glance, place: int) -> bool:
    cells = [cell for row in seen.rows if (cell := row[place]) is not None]
    return bool(cells) and all(map(is_number, cells))


def is_number(cell: str) -> bool:
    """Whether a cell is a number as it is written."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
