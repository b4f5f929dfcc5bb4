"""Options that several commands have, told once, and what they make of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mirror.config import BesideConfig, Config, SupervisedConfig, checked, load_config

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The configuration; see the README.")]
FinishedRun = Annotated[Path, typer.Argument(metavar="RUN", help="A configuration, or its output folder.")]
OneRun = Annotated[str | None, typer.Option("--run", help="One run, such as seed0/fold0 (default: all).")]
ExplainedIn = Annotated[
    Path | None,
    typer.Option("--output", help="Folder to write, which `mirror view` does not read (default: the run's own)."),
]
SlideFiles = Annotated[
    Path | None,
    typer.Option("--slides", help="Folder or manifest of slide files (default: as `mirror slides` left)."),
]
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


def with_options(config_file: Path, *, supervised: bool, beside: Sequence[str] = ()) -> Config:
    """The configuration with what `--supervised` and `--beside` add to it."""
    config = load_config(config_file)
    added = {run.name: run for run in config.beside}
    for given in beside:
        name, _, folder = given.partition("=")
        one = checked({"name": name, "output": folder}, BesideConfig, where=Path.cwd() / "--beside")
        added[one.name] = one
    models = config.supervised or (SupervisedConfig() if supervised else None)
    return config.model_copy(update={"supervised": models, "beside": tuple(added.values())})
