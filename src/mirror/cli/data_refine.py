"""`mirror data refine`: from a recipe to a panel a fold and a dataset card."""

from __future__ import annotations

from typing import Annotated

import typer

from mirror.cli.data_fetch import fetch_files
from mirror.cli.data_recipe import (
    Bandwidth,
    Curated,
    Disk,
    Locked,
    Output,
    RecipeName,
    Settings,
    Symbol,
    Workers,
    given_recipe,
    require_extra,
)
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen

console = screen(stderr=True)


@plain_errors(console)
def refine(
    recipe: RecipeName,
    output: Output,
    settings: Settings = None,
    curated: Curated = None,
    symbol: Symbol = None,
    disk: Disk = None,
    bandwidth: Bandwidth = None,
    workers: Workers = None,
    locked: Locked = False,
    offline: Annotated[bool, typer.Option("--offline", help="Use what was fetched; ask no source.")] = False,
) -> None:
    """The whole recipe: fetch, expression table, a panel a fold, the published panel, dataset card."""
    require_extra()
    config = given_recipe(
        recipe, None, settings, curated=curated, symbol=symbol, disk=disk, bandwidth=bandwidth, workers=workers
    )
    if not offline:
        fetch_files(config, output, None, locked=locked)
    from mirror.workflow.dataset_card import write_card
    from mirror.workflow.refined_set import make_refined_set

    with progress_bar(console, "refine") as progress:
        made = make_refined_set(output, progress=progress)
    card = write_card(output, made)
    for name, panel in made.panels.items():
        assert panel.selection is not None  # every panel of a set was chosen
        console.print(
            f"[bold]refine[/]    {name}: {len(panel.genes)} transcripts. {panel.selection.note}", highlight=False
        )
    kept = sum(row.kept for row in made.patients)
    console.print(
        f"[bold]refine[/]    {kept} of {len(made.patients)} patients; {card}", highlight=False, soft_wrap=True
    )
    if (output / "run.yaml").exists():
        console.print(f"[bold]refine[/]    next: mirror run {output / 'run.yaml'}", highlight=False, soft_wrap=True)
