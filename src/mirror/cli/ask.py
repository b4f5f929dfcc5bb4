"""Questions on the terminal, each of which an option answers too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import typer

from mirror.errors import ConfigError

NONE = "none"
"""The answer that there is no such thing."""


def _answered(ask: Callable[[], Any]) -> Any:
    """What was typed. Raises `KeyboardInterrupt` for Ctrl-C and `ConfigError` where nobody answers, which the library
    below does not tell apart."""
    try:
        return ask()
    except typer.Abort as abort:
        if isinstance(abort.__context__, EOFError):
            raise ConfigError("the answers have come to an end; --no-input asks nothing, and options answer") from None
        raise KeyboardInterrupt from None


@dataclass(slots=True)
class Questions:
    """Asks what no option has answered. Without `interactive`, a question without default is collected as missing.

    `given`: what the command line said, by the name of its option (`event_convention` for --event-convention).
    """

    given: Mapping[str, Any]
    interactive: bool
    missing: list[str] = field(default_factory=list)

    def text(
        self,
        name: str,
        question: str,
        *,
        default: str | None = None,
        refusal: Callable[[str], str | None] | None = None,
    ) -> str:
        """A line. `refusal` says why an answer will not do; the question then comes again, an option is an error."""
        told = self.given.get(name)
        if told is not None:
            self._require(name, str(told), refusal)
            return str(told)
        if not self.interactive:
            return self._silent(name, default)
        while True:
            answer = str(_answered(lambda: typer.prompt(question, default=default))).strip()
            why = None if refusal is None else refusal(answer)
            if answer and why is None:
                return answer
            typer.echo(f"  {why or 'an answer is needed'}")

    def choice(
        self,
        name: str,
        question: str,
        options: Sequence[tuple[str, str]],
        *,
        default: str | None = None,
        others: Sequence[str] = (),
    ) -> str:
        """One of `options` (value, what it is), by its number or as it is written, or one of `others`, which are not
        listed."""
        values = [value for value, _ in options]

        def refusal(answer: str) -> str | None:
            known = answer in (*values, *others) or (answer.isdecimal() and 1 <= int(answer) <= len(values))
            besides = f", nor of {', '.join(others[:20])}" if others else ""
            return None if known else f"'{answer}' is none of {', '.join(values)}{besides}"

        if self.given.get(name) is None and self.interactive:
            typer.echo(question)
            for number, (value, what) in enumerate(options, start=1):
                typer.echo(f"  {number}  {value}{f'   {what}' if what else ''}")
            question = "  which"
        answer = self.text(name, question, default=default, refusal=refusal)
        written = answer in (*values, *others) or not answer.isdecimal()
        return answer if written else values[int(answer) - 1]

    def yes(self, name: str, question: str, *, default: bool) -> bool:
        """Yes or no."""
        told = self.given.get(name)
        if told is not None:
            return bool(told)
        return bool(_answered(lambda: typer.confirm(question, default=default))) if self.interactive else default

    def finish(self) -> None:
        """Raise `ConfigError` with the options that would have answered what could not be asked."""
        if self.missing:
            raise ConfigError(
                f"these things are never guessed, and --no-input asks nothing: give {', '.join(self.missing)}"
            )

    def _silent(self, name: str, default: str | None) -> str:
        if default is not None:
            return default
        self.missing.append(f"--{name.replace('_', '-')}")
        return ""

    def _require(self, name: str, answer: str, refusal: Callable[[str], str | None] | None) -> None:
        why = None if refusal is None else refusal(answer)
        if why is not None:
            raise ConfigError(f"--{name.replace('_', '-')}: {why}")
