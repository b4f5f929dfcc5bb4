"""`mirror embed`: the cohort with each of its runs, or new patients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirror.cli.cohort import alone, prepared
from mirror.cli.embed_new import NewPatients, embed_with_model, embed_with_run
from mirror.cli.options import OneFold, OneSeed
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.config import load_config
from mirror.errors import ConfigError

if TYPE_CHECKING:
    from mirror.config import Config
    from mirror.workflow.embed import EmbeddingReport

console = screen(stderr=True)


@plain_errors(console)
def embed(
    config_file: Annotated[
        Path, typer.Argument(metavar="CONFIG.yaml", help="The configuration; with --model also a folder of features.")
    ],
    run_path: Annotated[
        Path | None,
        typer.Option("--run", help="Embed the configuration's patients, new to it, with this finished run."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Embed new patients with this model: a folder, or OWNER/NAME on the hub."),
    ] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="With --model: branch, tag or commit.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="With --run or --model: the .h5ad file to write.")
    ] = None,
    slide_table: Annotated[
        Path | None,
        typer.Option("--slides", help="Of a folder: table of slide_id and case_id (default: a slide is a patient)."),
    ] = None,
    expression_table: Annotated[
        Path | None, typer.Option("--expression", help="Of a folder: expression, a row a patient.")
    ] = None,
    units: Annotated[str | None, typer.Option("--units", help="Of a folder: units of the expression.")] = None,
    genes_in_rows: Annotated[
        bool, typer.Option("--genes-in-rows", help="Of a folder: the expression has a row a gene.")
    ] = False,
    keep_without_slide: Annotated[
        bool, typer.Option("--keep-without-slide", help="Of a folder: patients who have expression alone stay.")
    ] = False,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Of a folder: the encoder, where files do not say it.")
    ] = None,
    fold: OneFold = None,
    seed: OneSeed = None,
) -> None:
    """Embed every slide of the cohort with each run, or new patients with a finished run or a handed-on model."""
    if run_path is not None and model is not None:
        raise ConfigError("--run and --model both name a model; give one of them")
    if model is not None:
        patients = NewPatients(slide_table, expression_table, units, genes_in_rows, keep_without_slide, encoder)
        _say_embedded(embed_with_model(config_file, model, revision=revision, output=output, patients=patients))
        return
    config = load_config(config_file)
    if run_path is None:
        embed_runs(config, fold=fold, seed=seed)
    else:
        _say_embedded(embed_with_run(config, run_path, output or Path(f"{config.name}.embeddings.h5ad")))


def embed_runs(config: Config, *, fold: int | None = None, seed: int | None = None) -> None:
    """Embed the cohort with every run of a configuration, or with those of one fold or seed."""
    from mirror.training.runs import run_folder
    from mirror.workflow.embed import embed_run
    from mirror.workflow.pretrain import wanted_runs

    made = prepared(config)
    for number, one_fold in wanted_runs(config, made, fold=fold, seed=seed):
        folder = run_folder(config.output, seed=number, fold=one_fold.number)
        with progress_bar(console, f"embed     seed {number} fold {one_fold.number}") as progress:
            embed_run(folder, made, fold=one_fold, path=folder.embeddings, device=config.device, progress=progress)
    console.print(f"[bold]embed[/]     {len(made.slides)} slides by each run")


def _say_embedded(done: EmbeddingReport) -> None:
    console.print(
        f"[bold]embed[/]     {done.slides} slides ({done.without_expression} without expression embedding"
        f"{alone(done.without_slide)}) to {done.path}",
        highlight=False,
        soft_wrap=True,
    )
    if done.missing_genes:
        console.print(
            f"          {len(done.missing_genes)} of the panel's {done.panel_genes} genes are missing and take the "
            f"panel's fill value: {', '.join(done.missing_genes[:10])}{' ...' if len(done.missing_genes) > 10 else ''}",
            highlight=False,
        )
