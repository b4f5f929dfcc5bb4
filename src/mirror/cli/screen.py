"""Where commands print."""

from __future__ import annotations

from rich.console import Console


def screen(*, stderr: bool = False) -> Console:
    """Standard output or standard error, on which nothing is an emoji: names such as `class:B:` are printed as they
    are."""
    return Console(stderr=stderr, emoji=False)
