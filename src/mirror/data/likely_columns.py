"""What the columns of a clinical table are likely to be: labels, times, events. Guesses to be asked about, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Literal

from mirror.data.sketch import Sketch, is_number

MANY_VALUES = 20
"""Different values up to which a column may be a label."""


def likely_labels(sketch: Sketch, *, but: Collection[str]) -> list[str]:
    """Columns of few different words: what a subtype is written as. Numbers, sites, and who is dead or alive are not
    guessed to be one."""
    named = ("subtype", "oncotree", "histolog", "diagnosis", "label", "class", "type")
    found: list[str] = []
    for column in sketch.cells:
        counts = Counter(sketch.values(column))
        few = 2 <= len(counts) <= MANY_VALUES and max(counts.values(), default=0) > 1
        vital = all(_is_vital(value.lower()) for value in counts)
        if column not in but and few and not vital and not sketch.numeric(column):
            found.append(column)
    return sorted(found, key=lambda name: not _says(name, named))


def likely_times(sketch: Sketch, *, but: Collection[str]) -> list[str]:
    """Columns of many numbers that are no less than zero, those called like a time first."""
    named = ("survival", "follow", "time", "months", "days", "years")
    found = [name for name in sketch.cells if name not in but and sketch.numeric(name) and _all(sketch, name, _is_time)]
    several = [name for name in found if len(set(sketch.values(name))) > MANY_VALUES // 2 or _says(name, named)]
    return sorted(several, key=lambda name: (not _says(name, named), _says(name, ("age", "birth"))))


def likely_events(sketch: Sketch, *, but: Collection[str]) -> list[str]:
    """Columns of exactly two values, zero and one or dead and alive, those called like an event first."""
    words = ("event", "censor", "status", "death", "dead", "vital", "os")
    two = ({"0", "1"}, {"0.0", "1.0"})
    found: list[str] = []
    for column in sketch.cells:
        values = {value.lower() for value in sketch.values(column)}
        if column not in but and (values in two or (values and all(_is_vital(value) for value in values))):
            found.append(column)
    return sorted(found, key=lambda name: not _says(name, words))


def time_unit_of(column: str) -> Literal["days", "months", "years"] | None:
    """The unit that a column is called by."""
    for unit in ("days", "months", "years"):
        if unit[:-1] in column.lower():
            return unit
    return None


def _is_vital(value: str) -> bool:
    return value.rpartition(":")[2] in ("deceased", "living", "dead", "alive")


def _says(name: str, words: Iterable[str]) -> bool:
    return any(word in name.lower() for word in words)


def _all(sketch: Sketch, column: str, test: Callable[[str], bool]) -> bool:
    return all(test(cell) for cell in sketch.values(column))


def _is_time(cell: str) -> bool:
    return is_number(cell) and float(cell) >= 0
