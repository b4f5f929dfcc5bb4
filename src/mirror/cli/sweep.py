"""`mirror sweep`: the table of one command, which goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.cli.tables import block_table
from mirror.errors import ConfigError, MirrorError, nearest, raise_together
from mirror.sweep import load_sweep, resolve_sweep
from mirror.types import Progress

console = screen(stderr=True)


@plain_errors(console)
def sweep(
    sweep_file: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="Rows and cohorts; see the README.")],
    row: Annotated[str | None, typer.Option("--row", help="Work on this row only (default: all).")] = None,
    cohort: Annotated[str | None, typer.Option("--cohort", help="Work on this cohort only (default: all).")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Train a row anew where runs of other settings stand.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Every row on every cohort: cohort, pretrain, embed, evaluate; then the table of all that is finished.

    A row that fails does not stop the others; it is named at the end.
    """
    from mirror.workflow.sweep import run_baselines, run_row, sweep_table, write_table

    settings = load_sweep(sweep_file)
    cohorts = resolve_sweep(settings)
    _require("row", row, settings.rows)
    _require("cohort", cohort, [one.name for one in cohorts])
    failed: list[str] = []

    def attempt(title: str, work: Callable[[], None]) -> None:
        try:
            work()
        except MirrorError as error:
            failed.append(f"{title}: {error}")
            console.print(f"[bold]sweep[/]     {title} failed; going on with the next", highlight=False)
        else:
            console.print(f"[bold]sweep[/]     {title} is finished", highlight=False)

    for one in cohorts:
        if cohort not in (None, one.name):
            continue
        attempt(f"{one.name} baselines", lambda one=one: run_baselines(one.baselines, stage=_stage(one.name)))
        for name, config in one.rows.items():
            if row in (None, name):
                title = f"{one.name} {name}"
                attempt(title, lambda c=config, t=title: run_row(c, stage=_stage(t), overwrite=overwrite))
    table = sweep_table(settings, cohorts, stage=_stage(settings.name))
    page, numbers = write_table(settings, table)
    if as_json:
        print_json({"scores": table.lines, "retrieval": table.retrieval, "unfinished": table.unfinished})
    else:
        for block in table.blocks:
            screen().print(block_table(block))
    if table.unfinished:
        console.print(f"          not finished: {', '.join(table.unfinished)}", highlight=False)
    console.print(f"[bold]sweep[/]     {page} and {numbers.name}", highlight=False, soft_wrap=True)
    raise_together(MirrorError, "failed, and the same command tries again:", failed)


def _stage(title: str) -> Callable[[str], AbstractContextManager[Progress]]:
    return lambda name: progress_bar(console, f"{title}: {name}")


def _require(kind: str, wanted: str | None, known: Iterable[str]) -> None:
    if wanted is not None and wanted not in known:
        raise ConfigError(f"the sweep has no {kind} '{wanted}'{nearest(wanted, tuple(known))}")
