"""`mirror config`: a configuration with everything filled in, and the schema that editors check one against."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.options import ConfigFile
from mirror.cli.plain import plain_errors
from mirror.cli.screen import screen

app = typer.Typer(help="Configurations: fill one in, check one, the schema for editors.", no_args_is_help=True)
console = screen(stderr=True)


@app.command()
@plain_errors(console)
def show(
    config_file: ConfigFile,
    as_json: AsJson = False,
) -> None:
    """Print a configuration with everything that its preset and the defaults fill in; mistakes are named."""
    from mirror.config import dump_config, load_config

    config = load_config(config_file)
    if as_json:
        print_json(config.model_dump(mode="json"))
    else:
        typer.echo(dump_config(config), nl=False)


@app.command()
@plain_errors(console)
def schema(
    of: Annotated[Literal["run", "sweep", "slides"], typer.Option("--of", help="Of which kind of file.")] = "run",
) -> None:
    """Print the JSON schema of a configuration; editors complete and check by it (# yaml-language-server:
    $schema=...)."""
    from mirror.workflow.schema import json_schema

    print_json(json_schema(of))
