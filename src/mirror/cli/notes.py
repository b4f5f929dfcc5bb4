"""Notes of several slides on the terminal: each once, behind the slides that it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape

MOST, NAMED = 10, 3
"""Notes, and slides that a note names."""


def print_notes(console: Console, notes: Mapping[str, Sequence[str]], *, slides: int, kept: str) -> None:
    """Print notes by slide, of so many `slides` in all; `kept` says where those are that are not printed."""
    told = told_notes(notes, slides=slides)
    if len(told) > MOST:
        told[MOST:] = [f"{len(told) - MOST:,} more notes, {kept}"]
    for note in told:
        console.print(f"[bold]explain[/]   {escape(note)}", highlight=False, soft_wrap=True)


def told_notes(notes: Mapping[str, Sequence[str]], *, slides: int) -> list[str]:
    """Each different note once; of several slides it begins with their names, the first few and how many more."""
    of: dict[str, list[str]] = {}
    for slide, own in notes.items():
        for note in own:
            of.setdefault(note, []).append(slide)
    return list(of) if slides == 1 else [f"{_named(names, slides)}: {note}" for note, names in of.items()]


def _named(names: Sequence[str], slides: int) -> str:
    if len(names) == slides:
        return f"all {slides:,} slides"
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
