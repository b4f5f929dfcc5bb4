"""The command line: thin, and quick to start, because every heavy import waits inside its command."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer
from rich.console import Console

import mirror
from mirror.cli import configuration, data, explain, expression, sweep
from mirror.cli.as_json import AsJson, print_json
from mirror.cli.audit import FinishedRun, audit, audited
from mirror.cli.doctor import doctor
from mirror.cli.init import init
from mirror.cli.models import NewPatients, embed_with_model, export
from mirror.cli.options import ConfigFile
from mirror.cli.plain import BUG, plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.slides import extract, require_extra, slides
from mirror.cli.tables import comparison_tables, score_tables
from mirror.cli.view import view
from mirror.cli.workflow import workflow
from mirror.config import BesideConfig, Config, SupervisedConfig, checked, load_config
from mirror.errors import ConfigError, DataError
from mirror.types import silent

if TYPE_CHECKING:
    from mirror.data.cohort import Cohort
    from mirror.training.distributed import Ranks
    from mirror.types import Fold
    from mirror.workflow.embed import EmbeddingReport

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.add_typer(expression.app, name="expression")
app.add_typer(data.app, name="data")
app.add_typer(explain.app, name="explain")
app.add_typer(configuration.app, name="config")
for command in (init, doctor, sweep.sweep, slides, audit, workflow, export, view):
    app.command()(command)
console = Console(stderr=True)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Train anew where a run of other settings stands.")]
WithSupervised = Annotated[
    bool,
    typer.Option("--supervised", help="With the supervised models, where the configuration has no such section too."),
]
Beside = Annotated[
    list[str] | None,
    typer.Option("--beside", metavar="NAME=FOLDER", help="Another run of the cohort, judged in the same table."),
]
OneFold = Annotated[int | None, typer.Option("--fold", help="This fold only (default: all).")]
OneSeed = Annotated[int | None, typer.Option("--seed", help="This seed only (default: all of the configuration).")]


def main() -> None:
    """Run the command line. Exit codes are in docs/command-line.md."""
    try:
        app()
    except Exception:  # whatever is no `MirrorError` is a mistake of this package, and a script must be able to tell
        traceback.print_exc()
        console.print(
            "this is a bug of mirror: please report the lines above with the command that led to them",
            style="bold red",
            highlight=False,
        )
        raise SystemExit(BUG) from None


@app.callback()
@plain_errors(console)
def only_what_can_be_shared(context: typer.Context) -> None:
    """One representation of histopathology slides and gene expression, evaluated honestly."""
    if "TORCHELASTIC_RUN_ID" in os.environ and context.invoked_subcommand != "pretrain":
        raise ConfigError(
            f"torchrun starts `mirror pretrain`, not `mirror {context.invoked_subcommand}`: training alone is shared "
            "among processes; give this command without torchrun"
        )


@app.command()
@plain_errors(console)
def run(
    config_file: ConfigFile,
    overwrite: Overwrite = False,
    with_supervised: WithSupervised = False,
    beside: Beside = None,
    as_json: AsJson = False,
) -> None:
    """The whole main job: cohort, pretrain, embed, evaluate, audit, report. Stages that are done are not done again."""
    config = _load(config_file, with_supervised=with_supervised, beside=beside or ())
    _cohort(config)
    _pretrain(config, overwrite=overwrite)
    _embed(config)
    _supervised(config)
    _evaluate(config, as_json=as_json)
    _report(config)


@app.command()
@plain_errors(console)
def cohort(config_file: ConfigFile) -> None:
    """Join features, expression and clinical tables; account for everything that was left out; make the folds."""
    _cohort(load_config(config_file))


@app.command()
@plain_errors(console)
def pretrain(config_file: ConfigFile, fold: OneFold = None, seed: OneSeed = None, overwrite: Overwrite = False) -> None:
    """Train one run a fold and seed on its training patients; an interrupted run goes on where it was left."""
    _pretrain(load_config(config_file), fold=fold, seed=seed, overwrite=overwrite)


@app.command()
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
        _embed(config, fold=fold, seed=seed)
    else:
        _embed_new(config, run_path, output or Path(f"{config.name}.embeddings.h5ad"))


@app.command()
@plain_errors(console)
def supervised(config_file: ConfigFile) -> None:
    """Train supervised models (multiple-instance, elastic net, fine-tuned encoders) on the same folds, to be evaluated.

    The section `supervised` says which and how; all of them where there is none.
    """
    _supervised(_load(config_file, with_supervised=True, beside=()))


@app.command()
@plain_errors(console)
def evaluate(
    config_file: ConfigFile,
    with_supervised: WithSupervised = False,
    beside: Beside = None,
    as_json: AsJson = False,
) -> None:
    """Score the embeddings beside the free baselines, fold by fold, into scores.parquet."""
    _evaluate(_load(config_file, with_supervised=with_supervised, beside=beside or ()), as_json=as_json)


@app.command()
@plain_errors(console)
def report(run: FinishedRun, as_json: AsJson = False) -> None:
    """Audit the run and write report.html, one self-contained page, and report.json, which --json prints."""
    from mirror.workflow.audit import configuration_of

    _report(configuration_of(run), as_json=as_json)


@app.command()
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
            Console().print(table)
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


@app.command()
@plain_errors(console)
def demo(
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder for the simulated cohort and its results (default: demo).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulation.")] = 0,
    scans: Annotated[
        bool, typer.Option("--slides", help="Begin with simulated slides; the default folder is then demo-slides.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Simulate a cohort with known truth and run the main job on it."""
    import torch

    from mirror.simulate.cohort import simulate_cohort, simulated_with

    # Bags this small gain nothing from a second thread, and lose several times over beside another busy process.
    torch.set_num_threads(1)

    output = output or Path("demo-slides" if scans else "demo")
    config_file = output / "demo.yaml"
    if not config_file.exists():  # a second call goes on where the first one stopped
        with progress_bar(console, "simulate") as progress:
            if scans:
                require_extra()
                from mirror.simulate.scans import simulate_scans

                simulate_scans(output, seed=seed, progress=progress)
            else:
                simulate_cohort(output, seed=seed, progress=progress)
        console.print(f"[bold]simulate[/]  a cohort with known truth in {output}")
    elif simulated_with(output) != seed:
        raise ConfigError(f"{output} was simulated with seed {simulated_with(output)}; choose another --output")
    if scans:
        extract(output / "slides.yaml")
    run(config_file, as_json=as_json)


@app.command("import")
@plain_errors(console)
def import_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Features as another tool left them.")],
    output: Annotated[Path, typer.Option("--output", help="Folder for our feature files, one a slide.")],
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="The encoder to take, and the name where files do not say it.")
    ] = None,
    slide_mpp: Annotated[
        str | None,
        typer.Option("--slide-mpp", help="um/px of level 0: a number, or a table with the columns slide_id and mpp."),
    ] = None,
    coords_unit: Annotated[
        Literal["level0_px", "um"] | None, typer.Option("--coords-unit", help="Where files do not say their unit.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace slides that were imported from another folder.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Convert tile features of other tools (TRIDENT, CLAM, STAMP, LazySlide, ...) into ours; say what each file is."""
    from mirror.cli.tables import import_remarks, import_table
    from mirror.data.importers.found import Asked
    from mirror.workflow.import_features import State, import_folder, read_slide_mpp

    mpp = None if slide_mpp is None else read_slide_mpp(slide_mpp)
    asked = Asked(encoder, coords_unit or "unknown")
    with progress_bar(console, "import") as progress:
        account = import_folder(folder, output, asked=asked, slide_mpp=mpp, overwrite=overwrite, progress=progress)
    if as_json:
        print_json({"files": account.files, "refusal": account.refusal, "set_aside": account.set_aside})
    else:
        Console().print(import_table(account.files))
        for remark in import_remarks(account.files):
            Console().print(remark, markup=False, highlight=False, soft_wrap=True)
    counts = ", ".join(f"{account.count(state)} {state}" for state in get_args(State) if account.count(state))
    console.print(
        f"[bold]import[/]    {counts or 'no files'}; every file in {output / 'import.jsonl'}",
        highlight=False,
        soft_wrap=True,
    )
    if account.refusal is not None:
        raise DataError(account.refusal)
    aside = len(account.set_aside)
    stale = f", and what was made of {aside} of them before is set aside as .h5.stale" if aside else ""
    if not account.count("imported") + account.count("already"):
        raise DataError(
            f"{folder} has no tile features that could be imported{stale}; the table says why, file by file"
        )
    if account.count("failed"):
        raise DataError(f"{account.count('failed')} files failed{stale}; mend them and give the same command again")


@app.command("import-weights")
@plain_errors(console)
def import_weights_command(
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
    from mirror.workflow.imported import import_weights

    import_weights(file, RunFolder(output), genes=genes, units=units, encoder=encoder)
    console.print(f"[bold]import[/]    {file.name} is now a run in {output}", highlight=False)
    if genes is None:
        console.print("          without --genes it embeds slides only: its expression columns have no names")


@app.command()
@plain_errors(console)
def version() -> None:
    """Print the version."""
    typer.echo(mirror.__version__)


def _lone(patients: int) -> str:
    return f", {patients} patients with expression alone" if patients else ""


def _load(config_file: Path, *, with_supervised: bool, beside: Sequence[str]) -> Config:
    config = load_config(config_file)
    added = {run.name: run for run in config.beside}
    for given in beside:
        name, _, folder = given.partition("=")
        one = checked({"name": name, "output": folder}, BesideConfig, where=Path.cwd() / "--beside")
        added[one.name] = one
    supervised = config.supervised or (SupervisedConfig() if with_supervised else None)
    return config.model_copy(update={"supervised": supervised, "beside": tuple(added.values())})


def _prepared(config: Config) -> Cohort:
    from mirror.workflow.cohort import prepare_cohort

    with progress_bar(console, "cohort") as progress:
        return prepare_cohort(config, progress=progress)


def _cohort(config: Config) -> None:
    from mirror.data.cohort_facts import endpoint_sentences
    from mirror.data.floors import artefact_sentences
    from mirror.units import remark_on

    made = _prepared(config)
    patients = made.patients
    console.print(
        f"[bold]cohort[/]    {len(made.slides)} slides of {len(patients)} patients, "
        f"{int(patients['has_expression'].sum())} with expression{_lone(len(made.without_slide))}, "
        f"{len(made.excluded)} exclusions, {len(made.folds)} folds",
        highlight=False,
    )
    for sentence in endpoint_sentences(made.facts):
        console.print(f"[bold]cohort[/]    {sentence}", highlight=False, soft_wrap=True)
    units = made.facts["units"]
    if units is not None and (remark := remark_on(units)):
        console.print(f"[bold]cohort[/]    expression is in '{units}': {remark}", highlight=False)
    for sentence in artefact_sentences(made.facts):
        console.print(f"[bold red]warning[/]   {sentence}", highlight=False)


def _pretrain(config: Config, *, fold: int | None = None, seed: int | None = None, overwrite: bool = False) -> None:
    from mirror.training.distributed import joined_ranks
    from mirror.workflow.pretrain import wanted_runs

    with joined_ranks() as ranks:
        with ranks.first_goes_ahead():
            made = _prepared(config)
        for number, one_fold in wanted_runs(config, made, fold=fold, seed=seed):
            _pretrain_one(config, made, one_fold, number, overwrite=overwrite, ranks=ranks)


def _pretrain_one(config: Config, made: Cohort, fold: Fold, seed: int, *, overwrite: bool, ranks: Ranks) -> None:
    from mirror.workflow.pretrain import pretrain_fold

    title = f"seed {seed} fold {fold.number}"
    with progress_bar(console, f"pretrain  {title}") as bar:
        progress = bar if ranks.first else silent
        folder = pretrain_fold(config, made, fold, seed, overwrite=overwrite, ranks=ranks, progress=progress)
    if ranks.first:
        facts = folder.read_record()
        loss = f"loss {facts['last_epoch']['total']:.4f}" if facts["last_epoch"] else "no epochs"
        console.print(
            f"[bold]pretrain[/]  {title}: {facts['pairs']} pairs, {loss}, "
            f"{facts['seconds']:.0f} s on {facts['device']}",
            highlight=False,
        )


def _embed(config: Config, *, fold: int | None = None, seed: int | None = None) -> None:
    from mirror.training.runs import run_folder
    from mirror.workflow.embed import embed_run
    from mirror.workflow.pretrain import wanted_runs

    made = _prepared(config)
    for number, one_fold in wanted_runs(config, made, fold=fold, seed=seed):
        folder = run_folder(config.output, seed=number, fold=one_fold.number)
        with progress_bar(console, f"embed     seed {number} fold {one_fold.number}") as progress:
            embed_run(folder, made, fold=one_fold, path=folder.embeddings, device=config.device, progress=progress)
    console.print(f"[bold]embed[/]     {len(made.slides)} slides by each run")


def _embed_new(config: Config, run_path: Path, output: Path) -> None:
    from mirror.data.cohort import build_cohort
    from mirror.training.runs import RunFolder
    from mirror.workflow.embed import embed_run

    with progress_bar(console, "cohort") as progress:
        made = build_cohort(config.cohort, with_folds=False, progress=progress)
    with progress_bar(console, "embed") as progress:
        done = embed_run(RunFolder(run_path), made, fold=None, path=output, device=config.device, progress=progress)
    _say_embedded(done)


def _say_embedded(done: EmbeddingReport) -> None:
    console.print(
        f"[bold]embed[/]     {done.slides} slides ({done.without_expression} without expression embedding"
        f"{_lone(done.without_slide)}) to {done.path}",
        highlight=False,
        soft_wrap=True,
    )
    if done.missing_genes:
        console.print(
            f"          {len(done.missing_genes)} of the panel's {done.panel_genes} genes are missing and take the "
            f"panel's fill value: {', '.join(done.missing_genes[:10])}{' ...' if len(done.missing_genes) > 10 else ''}",
            highlight=False,
        )


def _supervised(config: Config) -> None:
    if config.supervised is None:
        return
    from mirror.workflow.supervised import train_supervised

    with progress_bar(console, "supervised") as progress:
        done = train_supervised(config, progress=progress)
    console.print(f"[bold]supervised[/] {done} models, a task and fold each", highlight=False)


def _evaluate(config: Config, *, as_json: bool = False) -> None:
    from mirror.evaluation.scores import summarise
    from mirror.workflow.evaluate import evaluate_runs, scores_file

    with progress_bar(console, "evaluate") as progress:
        scores = evaluate_runs(config, progress=progress)
    console.print(f"[bold]evaluate[/]  {len(scores)} numbers in {scores_file(config)}", highlight=False, soft_wrap=True)
    if as_json:
        print_json(summarise(scores))
        return
    for table in score_tables(summarise(scores), title=f"{config.name}, preset {config.preset}"):
        Console().print(table)


def _report(config: Config, *, as_json: bool = False) -> None:
    from mirror.artefacts import read_json
    from mirror.workflow.report import data_file, write_report

    found = audited(config)
    with console.status("report"):
        path = write_report(config, found=found)
    console.print(f"[bold]report[/]    {path}", highlight=False, soft_wrap=True)
    if as_json:
        print_json(read_json(data_file(config)))
