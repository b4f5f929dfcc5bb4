"""The command line: thin, and quick to start, because every heavy import waits inside its command."""

from __future__ import annotations

import os
import traceback

import typer

import mirror
from mirror.cli import configuration, data, explain, expression
from mirror.cli.audit import audit
from mirror.cli.cohort import cohort
from mirror.cli.compare import compare
from mirror.cli.demo import demo
from mirror.cli.doctor import doctor
from mirror.cli.embed import embed
from mirror.cli.evaluate import evaluate
from mirror.cli.export import export
from mirror.cli.import_features import import_features
from mirror.cli.import_weights import import_weights
from mirror.cli.init import init
from mirror.cli.plain import BUG, plain_errors
from mirror.cli.pretrain import pretrain
from mirror.cli.report import report
from mirror.cli.run import run
from mirror.cli.screen import screen
from mirror.cli.slides import slides
from mirror.cli.supervised import supervised
from mirror.cli.sweep import sweep
from mirror.cli.view import view
from mirror.cli.workflow import workflow
from mirror.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.add_typer(expression.app, name="expression")
app.add_typer(data.app, name="data")
app.add_typer(explain.app, name="explain")
app.add_typer(configuration.app, name="config")
for command in (init, doctor, sweep, slides, audit, workflow, export, view):
    app.command()(command)
for command in (run, cohort, pretrain, embed, supervised, evaluate, report, compare, demo):
    app.command()(command)
app.command("import")(import_features)
app.command("import-weights")(import_weights)
console = screen(stderr=True)


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
def version() -> None:
    """Print the version."""
    typer.echo(mirror.__version__)
