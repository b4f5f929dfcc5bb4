"""`mirror doctor`: is this machine ready, and what to do where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.plain import plain_errors
from mirror.cli.screen import screen

console = screen(stderr=True)

_STYLE = {"good": "green", "note": "yellow", "problem": "bold red"}


@plain_errors(console)
def doctor(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the work is to be done.")] = Path(),
    as_json: AsJson = False,
    all_encoders: Annotated[
        bool, typer.Option("--encoders", help="List the encoders whose weights are not here.")
    ] = False,
) -> None:
    """Versions, devices, memory, disk, caches, encoders and their licences, a self-test; each problem with its remedy.

    The exit code is 1 where there is a problem.
    """
    from mirror.workflow.doctor import examine, problems

    with console.status("looking at this machine"):
        findings = examine(folder)
    wrong = problems(findings)
    if as_json:
        print_json({"ready": not wrong, "findings": findings})
    else:
        away = [one for one in findings if one.topic.startswith("encoder ") and one.state == "note"]
        table = Table(padding=(0, 1), pad_edge=False)
        for name in ("what", "", "found", "what to do"):
            table.add_column(name, overflow="fold")
        for one in findings:
            if all_encoders or one not in away:
                state = f"[{_STYLE[one.state]}]{one.state}[/]"
                table.add_row(escape(one.topic), state, escape(one.found), escape(one.remedy))
        screen().print(table)
        if away and not all_encoders:
            screen().print(f"{len(away)} more encoders, with their licences: mirror doctor --encoders", highlight=False)
    if wrong:
        raise SystemExit(1)
