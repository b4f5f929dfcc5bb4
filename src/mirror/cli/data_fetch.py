"""`mirror data fetch`: the files of a recipe, each one checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mirror.cli.data_recipe import (
    Bandwidth,
    Disk,
    Locked,
    Output,
    Parts,
    RecipeName,
    Settings,
    TokenFile,
    Workers,
    client_of,
    given_recipe,
    require_extra,
)
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.errors import ArtefactError, raise_together

if TYPE_CHECKING:
    from mirror.acquire.settings import RecipeConfig

console = screen(stderr=True)


@plain_errors(console)
def fetch(
    recipe: RecipeName,
    output: Output,
    parts: Parts = None,
    settings: Settings = None,
    token: TokenFile = None,
    disk: Disk = None,
    bandwidth: Bandwidth = None,
    workers: Workers = None,
    locked: Locked = False,
) -> None:
    """Fetch what is not here yet, each file checked; Ctrl-C and the same command again goes on where it was."""
    require_extra()
    config = given_recipe(recipe, parts, settings, disk=disk, bandwidth=bandwidth, workers=workers)
    fetch_files(config, output, token, locked=locked)
    from mirror.acquire.lock import Lock
    from mirror.acquire.tables import write_tables

    tables = write_tables(Lock.load(output), output)
    console.print(
        f"[bold]fetch[/]     {', '.join(tables.files)}: {tables.patients} patients, {tables.with_label} with a label, "
        f"{tables.with_survival} with survival, {tables.events} died",
        highlight=False,
        soft_wrap=True,
    )


def fetch_files(config: RecipeConfig, output: Path, token: Path | None, *, locked: bool) -> None:
    """Fetch what is not there yet. Raises `ArtefactError` naming the files that could not be fetched."""
    from mirror.acquire.budget import size
    from mirror.acquire.fetch import fetch as stage
    from mirror.acquire.plan import planned

    client = client_of(config, token)
    with progress_bar(console, "plan") as progress:
        lock = planned(config, output, client, locked=locked, progress=progress)
    with progress_bar(console, "fetch") as progress:
        report = stage(lock, output, client, config.transfer, progress=progress)
    rate = f", {size(report.bytes / report.seconds)}/s" if report.bytes else ""
    console.print(
        f"[bold]fetch[/]     {report.fetched} files fetched ({size(report.bytes)}{rate}), {report.here} were here, "
        f"{len(report.failed)} failed",
        highlight=False,
    )
    raise_together(
        ArtefactError,
        "files could not be fetched; what came is kept, and the same command tries these again:",
        [f"{file.path}: {reason}" for file, reason in report.failed],
    )
