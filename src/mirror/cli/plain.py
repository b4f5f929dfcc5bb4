"""What every command does with an error that a user can mend."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console

from mirror.errors import MirrorError, UnwritableError

MENDABLE, BUG, STOPPED = 1, 70, 130
"""Exit codes: what the user can mend, what only we can, and Ctrl-C. 0 is success; 2, of the libraries below, is a
command line that cannot be read."""

GOES_ON = "the same command goes on from the last finished epoch or stage"


@contextmanager
def plain_errors(console: Console, *, output: str | None = None, stopped: str = GOES_ON) -> Generator[None]:
    """Around every command: what a user can mend ends with its message, without a traceback.

    `output`: the option that names the folder to write, where the command has one besides the configuration's;
    `stopped`: what is left after Ctrl-C.
    """
    try:
        with _named(output):
            yield
    except MirrorError as error:
        console.print("error:", error, style="bold red", markup=False, highlight=False)
        raise SystemExit(MENDABLE) from None
    except KeyboardInterrupt:
        console.print(f"stopped; {stopped}", style="bold", highlight=False)
        raise SystemExit(STOPPED) from None


@contextmanager
def _named(output: str | None) -> Generator[None]:
    """What cannot be written is told with the option that names another place."""
    try:
        yield
    except UnwritableError as error:
        raise error if output is None else error.choosing(output) from None
