"""Options that several commands have, told once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The configuration; see the README.")]
OneRun = Annotated[str | None, typer.Option("--run", help="One run, such as seed0/fold0 (default: all).")]
SlideFiles = Annotated[
    Path | None,
    typer.Option("--slides", help="Folder or manifest of slide files (default: as `mirror slides` left)."),
]
