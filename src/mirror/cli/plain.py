"""What every command does with an error that a user can mend."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console

from mirror.errors import MirrorError

MENDABLE, BUG, STOPPED = 1, 70, 130
"""Exit codes: what the user can mend, what only we can, and Ctrl-C. 0 is success; 2, of the libraries below, is a
command line that cannot be read."""


@contextmanager
def plain_errors(console: Console) -> Generator[None]:
    """Around every command: what a user can mend ends with its message, without a traceback."""
    try:
        yield
    except MirrorError as error:
        console.print("error:", error, style="bold red", markup=False, highlight=False)
        raise SystemExit(MENDABLE) from None
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from the last finished epoch or stage", style="bold")
        raise SystemExit(STOPPED) from None
