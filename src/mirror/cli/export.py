"""`mirror export`: a model for others, with its card, on disk or for the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen

console = screen(stderr=True)


@plain_errors(console)
def export(
    source: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run's folder, or a CONFIG.yaml with --fold or --all.")
    ],
    output: Annotated[Path, typer.Option("--output", help="Folder of the model to write.")],
    fold: Annotated[int | None, typer.Option("--fold", help="Of a CONFIG.yaml: the model of this fold.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of a CONFIG.yaml: of this seed (default: the first).")
    ] = None,
    all_patients: Annotated[
        bool, typer.Option("--all-patients", help="Of a CONFIG.yaml: a model trained on everybody (now, if need be).")
    ] = False,
    licence: Annotated[
        str | None, typer.Option("--license", help="Licence of the model, as the hub calls it, such as cc-by-nc-4.0.")
    ] = None,
    name_patients: Annotated[
        bool, typer.Option("--name-patients", help="Write whom it was trained on: for cohorts whose names are public.")
    ] = False,
    without_scores: Annotated[bool, typer.Option("--without-scores", help="Where there was no evaluation.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model that is there.")] = False,
) -> None:
    """Hand a model on: weights, genes, what it expects, its scores and a card, in one folder for disk or hub."""
    from mirror.tasks.model_folder import ModelFolder
    from mirror.workflow.export import Given, export_run, train_on_everybody, wanted_run

    run, config = wanted_run(source, fold=fold, seed=seed, all_patients=all_patients)
    if config is not None:
        with progress_bar(console, "pretrain  all patients") as progress:
            chosen = config.seeds[0] if seed is None else seed
            run = train_on_everybody(config, seed=chosen, overwrite=overwrite, progress=progress)
    given = Given(licence, name_patients=name_patients, scores=not without_scores)
    with progress_bar(console, "export") as progress:
        facts = export_run(run, ModelFolder(output), given=given, overwrite=overwrite, progress=progress)
    expects = facts.expects
    console.print(
        f"[bold]export[/]    {output}: {expects.width} numbers a tile of {expects.encoder or 'an encoder not named'}, "
        f"{expects.genes} genes, {len(facts.scores)} scores",
        highlight=False,
        soft_wrap=True,
    )
    console.print("          read README.md before you hand it on; `mirror embed --model` uses it", highlight=False)
