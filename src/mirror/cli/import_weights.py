"""`mirror import-weights`: a checkpoint of the authors' code becomes a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mirror.cli.plain import plain_errors
from mirror.cli.screen import screen

console = screen(stderr=True)


@plain_errors(console)
def import_weights(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint of the authors' code.")],
    output: Annotated[Path, typer.Option("--output", help="Folder of the run to write.")],
    genes: Annotated[
        Path | None, typer.Option("--genes", help="Text file: the gene of each expression column, one a line.")
    ] = None,
    units: Annotated[str | None, typer.Option("--units", help="Units of the expression it was trained on.")] = None,
    encoder: Annotated[str | None, typer.Option("--encoder", help="Tile encoder it was trained on.")] = None,
) -> None:
    """Turn a checkpoint trained with the authors' code into a run that `mirror embed --run` can use."""
    from mirror.training.runs import RunFolder
    from mirror.workflow.imported import import_weights as stage

    stage(file, RunFolder(output), genes=genes, units=units, encoder=encoder)
    console.print(f"[bold]import[/]    {file.name} is now a run in {output}", highlight=False)
    if genes is None:
        console.print("          without --genes it embeds slides only: its expression columns have no names")
