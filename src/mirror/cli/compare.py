"""`mirror compare`: who wins where, by how much, how surely."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.cli.tables import comparison_tables

console = screen(stderr=True)


@plain_errors(console)
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Configurations or their output folders.")],
    output: Annotated[Path, typer.Option("--output", help="The .csv or .json file to write.")] = Path("comparison.csv"),
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="A metric to compare, again for more (auroc and c_index).")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Of a single run: the representation to compare with (fused).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the drawn patients.")] = 0,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="How often patients are drawn.")] = 2000,
    as_json: AsJson = False,
) -> None:
    """Who wins where, by how much, how surely: runs of the same patients and folds, or one run's representations."""
    from mirror.evaluation.comparison import FOREMOST
    from mirror.workflow import compare as stage

    stage.require_ending(output)
    with progress_bar(console, "compare") as progress:
        found = stage.compare(
            runs, metrics=metric or FOREMOST, against=against, seed=seed, resamples=resamples, progress=progress
        )
    stage.write_comparison(output, found, seed=seed, resamples=resamples)
    if as_json:
        print_json(found.rows)
    else:
        for table in comparison_tables(found):
            screen().print(table)
    if found.same:
        shown = "; ".join(found.same[:3]) + (" ..." if len(found.same) > 3 else "")
        console.print(f"[bold]compare[/]   the same on both sides, so not compared: {shown}", highlight=False)
    most = max((row.resamples for row in found.rows), default=resamples)
    drawn = f"{resamples:,}" if most <= resamples else f"{resamples:,} (where none was beyond 0: {most:,})"
    console.print(
        f"[bold]compare[/]   {len(found.rows)} comparisons in {output}; p after Holm over all of them, "
        f"{drawn} resamples of patients",
        highlight=False,
        soft_wrap=True,
    )
