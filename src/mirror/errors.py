"""The package's own error tree. Every message says what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MirrorError(Exception):
    """Base of all errors that a user can mend; the command line prints it without a traceback."""


class ConfigError(MirrorError):
    """The configuration asks for something that does not exist or contradicts itself."""


class DataError(MirrorError):
    """A file or table is not what the configuration says it is."""


class LeakError(MirrorError):
    """A patient would stand on both sides of a fold, or something fitted would meet the patients it was judged on."""


class ArtefactError(MirrorError):
    """A file written by an earlier stage is missing, damaged, of another version, or made from other inputs."""


class UnwritableError(MirrorError):
    """A file that could not be written or removed. Its message ends with what names another place: `output` of a
    configuration, or the option of a command (`choosing`)."""

    def __init__(self, what: str, place: str = "`output`") -> None:
        super().__init__(what, place)  # both, or it would come out of another process with its end twice
        self._what, self._place = what, place

    def __str__(self) -> str:
        return f"{self._what}; free space or choose another {self._place}"

    def choosing(self, place: str) -> UnwritableError:
        """The same, for who names the place by `place`."""
        return UnwritableError(self._what, place)


def first_line(error: BaseException) -> str:
    """What a library's error says, in one line: its further lines speak of the library's inside."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def nearest(word: str, known: tuple[str, ...]) -> str:
    """The end of a message about an unknown `word`: the known one that was probably meant, or all of them."""
    as_written = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), as_written, n=1, cutoff=0.5)
    return f"; did you mean '{as_written[close[0]]}'?" if close else f"; known are: {', '.join(known)}"


def raise_together(kind: type[MirrorError], heading: str, problems: Iterable[str], *, show: int = 20) -> None:
    """Raise one `kind` that lists every problem (the first `show` in full), or nothing when there is none."""
    listed = list(problems)
    if not listed:
        return
    lines = [heading, *(f"  - {problem}" for problem in listed[:show])]
    if len(listed) > show:
        lines.append(f"  ... and {len(listed) - show} more of the same kind")
    raise kind("\n".join(lines))
