"""`mirror export`, and `mirror embed --model`: a model goes from the one who trained it to the one who uses it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console

from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.config import load_config
from mirror.errors import ConfigError

if TYPE_CHECKING:
    from mirror.workflow.embed import EmbeddingReport

console = Console(stderr=True)


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


class NewPatients(NamedTuple):
    """What the command line says of new patients besides their features."""

    slides: Path | None
    expression: Path | None
    units: str | None
    genes_in_rows: bool
    keep_without_slide: bool
    encoder: str | None

    def given(self) -> list[str]:
        """The options that were given."""
        return [f"--{name.replace('_', '-')}" for name, value in self._asdict().items() if value]


def embed_with_model(
    source: Path, model: str, *, revision: str | None, output: Path | None, patients: NewPatients
) -> EmbeddingReport:
    """Embed a folder of features, or the cohort of a configuration, with a handed-on model."""
    import numpy as np

    from mirror.evaluation.embed import save_table
    from mirror.workflow.embed import EmbeddingReport, embed_cohort
    from mirror.workflow.handed_on import load

    if source.is_dir():
        path = output or Path(f"{source.resolve().name}.embeddings.h5ad")
        loaded = load(model, revision=revision)
        with progress_bar(console, "embed") as progress:
            table = loaded.embed(
                source,
                patients=patients.slides,
                expression=patients.expression,
                units=patients.units,
                genes_in_rows=patients.genes_in_rows,
                without_slide="keep" if patients.keep_without_slide else "leave_out",
                encoder=patients.encoder,
                progress=progress,
            )
        save_table(path, table)
        for kind, reason, count in table.uns["excluded"].value_counts(["kind", "reason"]).reset_index().to_numpy():
            console.print(f"          left out: {count} x {kind}, {reason}", markup=False, highlight=False)
        alone = int(np.isnan(table.obsm["X_expression"]).any(axis=1).sum())
        missing = tuple(str(table.uns["missing_genes"]).split())
        return EmbeddingReport(path, len(table), alone, 0, loaded.facts.expects.genes, missing)
    if patients.given():
        raise ConfigError(f"{', '.join(patients.given())}: {source} says these things itself; they are for a folder")
    from mirror.data.cohort import build_cohort

    config = load_config(source)
    path = output or Path(f"{config.name}.embeddings.h5ad")
    loaded = load(model, revision=revision)
    with progress_bar(console, "cohort") as progress:
        made = build_cohort(config.cohort, with_folds=False, progress=progress)
    with progress_bar(console, "embed") as progress:
        return embed_cohort(loaded.trained, made, fold=None, path=path, device=config.device, progress=progress)
