"""What a picture says it is of: a title, lines below it and what warns of it, as long as they are, within its width."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from mirror.evaluation.report.drawing import INK
from mirror.explain.lettering import drawable, families

TITLE, LINE = 13.0, 10.0
"""Sizes of text, points."""
MOST = 2
"""Lines that a title, or one of the lines below it, may take; what is longer loses its middle."""
_LEAD = 1.7


class Caption(NamedTuple):
    """A title, and what is to be said below it, each of one or more lines; `warnings` are bold and never shortened."""

    title: str
    lines: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def laid(self, width: float) -> tuple[list[Row], float]:
        """The rows of text within `width` points, and the height that they take."""
        rows: list[Row] = []
        down = 6.0
        parts = [
            (self.title, TITLE, _bold(self.title), MOST),
            *((line, LINE, "normal", MOST) for line in self.lines),
            *((line, LINE, _bold(line), len(line)) for line in self.warnings),
        ]
        for text, size, weight, most in parts:
            for part in fitted(text, width, size=size, weight=weight, most=most):
                down += _LEAD * size
                rows.append(Row(part, down, size, weight))
        return rows, down + LINE


class Row(NamedTuple):
    """One row: its text, how far its base line is below the picture's edge, points, and how it is set."""

    text: str
    down: float
    size: float
    weight: str = "normal"


def _bold(text: str) -> str:
    """Bold, unless a font that the text needs is not."""
    return "bold" if drawable(text, "bold") == drawable(text) else "normal"


def write_rows(figure: Figure, rows: Sequence[Row], *, left: float = 14) -> None:
    """Put the rows of a caption at the top of a figure, `left` points from its edge."""
    width, height = (72 * side for side in figure.get_size_inches())
    for row in rows:
        set_as: dict[str, Any] = {
            "size": row.size,
            "weight": row.weight,
            "family": families(row.text, row.weight),
            "color": INK,
        }
        figure.text(left / width, 1 - row.down / height, row.text, **set_as)


def fitted(text: str, width: float, *, size: float, weight: str = "normal", most: int = MOST) -> list[str]:
    """`text` in at most `most` rows of at most `width` points, broken between words, a longer word within; what does
    not go into them loses its middle, because the ends of names tell them apart. Letters that no font has are written
    by their code."""
    text = drawable(text, weight)
    rows = list(_rows(text, width, size, weight))
    if len(rows) <= most:
        return rows
    shorter = [f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}" for kept in range(len(text))]
    # The first that is too long, by halves: rows hardly ever grow fewer with another letter.
    most_kept = bisect_left(shorter, most + 1, key=lambda one: len(list(_rows(one, width, size, weight)))) - 1
    return list(_rows(shorter[max(0, most_kept)], width, size, weight))[:most]


def _rows(text: str, width: float, size: float, weight: str) -> Iterator[str]:
    if _across(text, size, weight) <= width:  # most do, and the words need not be measured one after the other
        yield text
        return
    row = ""
    for word in text.split(" "):
        longer = f"{row} {word}" if row else word
        if _across(longer, size, weight) <= width:
            row = longer
            continue
        if row:
            yield row
        row = word
        while _across(row, size, weight) > width and len(row) > 1:
            end = max(1, next(end for end in range(len(row) - 1, -1, -1) if _across(row[:end], size, weight) <= width))
            yield row[:end]
            row = row[end:]
    yield row


@lru_cache(maxsize=4096)
def _across(text: str, size: float, weight: str) -> float:
    """Points that a line of text takes, by the advances of its letters: without its outlines, which take 40 ms."""
    font = FontProperties(family=families(text, weight), size=size, weight=weight)
    return text_to_path.get_text_width_height_descent(text, font, False)[0] if text.strip() else 0.0
