"""`mirror slides`: from scanner files to tile features."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.markup import escape

from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.errors import ConfigError

if TYPE_CHECKING:
    from mirror.slides.settings import ExtractionConfig
    from mirror.workflow.slides import SlidesReport

console = screen(stderr=True)
SHOWN_FAILURES = 20


@plain_errors(console)
def slides(
    source: Annotated[
        Path, typer.Argument(metavar="SLIDES", help="A settings file (.yaml), a manifest (.csv) or a folder of slides.")
    ],
    output: Annotated[Path | None, typer.Option("--output", help="Folder for features and pictures.")] = None,
    encoder: Annotated[str | None, typer.Option("--encoder", help="Tile encoder, such as uni, or resnet50.")] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="Part of the slides, as 2/8 (default: by Slurm's array, or all).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Extract anew what has other settings.")] = False,
    download: Annotated[bool, typer.Option("--download", help="Fetch the encoder's weights if need be.")] = False,
) -> None:
    """Slides to tile features: tissue, tiles, encoder; goes on where it was left, and accounts for every slide."""
    require_extra()
    from mirror.slides.shards import parse_shard, shard_of_array
    from mirror.workflow.slides import extract_slides

    config = _settings(source, output, encoder)
    part = parse_shard(shard) if shard is not None else shard_of_array(os.environ)
    with progress_bar(console, "slides") as progress:
        report = extract_slides(config, shard=part, overwrite=overwrite, download=download, progress=progress)
    _say(report)
    if report.failed:
        raise SystemExit(1)


def extract(settings: Path) -> None:
    """The slides of a settings file, as one step of a longer job that goes on without those that fail."""
    require_extra()
    from mirror.slides.settings import load_extraction
    from mirror.workflow.slides import extract_slides

    with progress_bar(console, "slides") as progress:
        report = extract_slides(load_extraction(settings), progress=progress)
    _say(report)


def require_extra() -> None:
    """Raise `ConfigError` with the command to run where the extra `slides` is not installed."""
    if importlib.util.find_spec("lazyslide") is None:
        raise ConfigError('reading slides needs the extra: pip install "mirror-pathology[slides]"')


def _say(report: SlidesReport) -> None:
    """The counts, where everything is, and each failure with its reason."""
    tiles = sum(account.tiles or 0 for account in report.done)
    seconds = sum(account.seconds or 0.0 for account in report.done)
    rate = f", {tiles / seconds:.1f} tiles/s" if seconds else ""
    counts = [f"{len(report.done)} slides extracted ({tiles} tiles{rate})", f"{len(report.earlier)} were done before"]
    counts += [f"{len(report.taken)} are another worker's"] if report.taken else []
    console.print(
        f"[bold]slides[/]    {', '.join(counts)}, {len(report.failed)} failed", highlight=False, soft_wrap=True
    )
    left = sorted((account.untiled, account.slide) for account in report.done if account.untiled is not None)
    if left:
        half, (most, slide) = median(share for share, _ in left), left[-1]
        console.print(
            f"[bold]tissue[/]    in no tile: {half:.0%} of it (median slide), at most {most:.0%} ({escape(slide)})",
            highlight=False,
            soft_wrap=True,
        )
    for account in report.failed[:SHOWN_FAILURES]:
        console.print(
            f"  - {account.slide}: {account.error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
    if len(report.failed) > SHOWN_FAILURES:
        console.print(f"  ... and {len(report.failed) - SHOWN_FAILURES} more", style="red", markup=False)
    console.print(f"[bold]slides[/]    {report.lines}, {report.page}", highlight=False, soft_wrap=True)


def _settings(source: Path, output: Path | None, encoder: str | None) -> ExtractionConfig:
    from mirror.config import checked
    from mirror.slides.settings import ExtractionConfig, load_extraction

    given: dict[str, Any] = {"output": None if output is None else output.resolve(), "encoder": encoder}
    given = {name: value for name, value in given.items() if value is not None}
    if source.suffix in (".yaml", ".yml"):
        # Checked again: what the command line says must fit the rest of the file.
        return checked({**load_extraction(source).model_dump(), **given}, ExtractionConfig, where=source)
    if len(given) < 2:
        example = yaml.safe_dump({"slides": str(source), "output": "features", "encoder": "uni"}, sort_keys=False)
        raise ConfigError(f"{source} alone says too little: add --output and --encoder, or write a .yaml:\n{example}")
    return checked({"slides": source.resolve(), **given}, ExtractionConfig, where=Path("command line"))
