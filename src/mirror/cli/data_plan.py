"""`mirror data plan`: what a recipe comes to, before anything is fetched."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.data_recipe import (
    Bandwidth,
    Disk,
    Output,
    Parts,
    RecipeName,
    Renew,
    Settings,
    TokenFile,
    Workers,
    client_of,
    given_recipe,
    plain_table,
    require_extra,
)
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen

if TYPE_CHECKING:
    from mirror.acquire.client import Client
    from mirror.acquire.lock import Lock
    from mirror.acquire.settings import RecipeConfig

console = screen(stderr=True)


@plain_errors(console)
def plan(
    recipe: RecipeName,
    output: Output,
    parts: Parts = None,
    settings: Settings = None,
    token: TokenFile = None,
    disk: Disk = None,
    bandwidth: Bandwidth = None,
    workers: Workers = None,
    renew: Renew = False,
    as_json: AsJson = False,
) -> None:
    """Ask the sources what the recipe comes to: files, bytes, patients, time. Fetches none of it; writes lock.json."""
    require_extra()
    from mirror.acquire import plan as stage

    config = given_recipe(recipe, parts, settings, disk=disk, bandwidth=bandwidth, workers=workers)
    client = client_of(config, token)
    with progress_bar(console, "plan") as progress:
        lock = stage.plan(config, output, client, renew=renew, progress=progress)
    _say_plan(config, lock, client, output, as_json=as_json)


def _say_plan(config: RecipeConfig, lock: Lock, client: Client, output: Path, *, as_json: bool) -> None:
    from mirror.acquire.budget import size
    from mirror.acquire.plan_summary import summarise

    found = summarise(lock, client, config.transfer)
    if as_json:
        print_json({**found._asdict(), "plan": output / "lock.json"})
        return
    table = plain_table("part", "source", "files", "bytes", "time", right=("files", "bytes", "time"))
    for row in found.parts:
        unknown = f"{row.unsized} of unknown size" if row.unsized else ""
        known = " and ".join(filter(None, (size(row.bytes) if row.bytes else "", unknown)))
        table.add_row(row.part, row.source, str(row.files), known, _time(row.seconds))
    screen().print(table)
    most = config.transfer.bandwidth
    lines = [
        *(f"{source} has {release}" for source, release in found.releases.items()),
        f"{found.files} files, {size(found.bytes)}, {_time(found.seconds)} at the measured speed of one connection a "
        "source" + (f" and {most:g} MB/s at most" if most else ""),
        "measured: " + ", ".join(f"{source} {size(rate)}/s" for source, rate in found.bytes_a_second.items()),
        f"{found.patients} patients: {found.with_slide} with a diagnostic slide, {found.with_expression} with a "
        f"tumour's expression, {found.with_both} with both",
        f"{found.files - found.unpinned} files have a checksum"
        + (f", that of {found.unpinned} is recorded at first fetch" if found.unpinned else "")
        + f"; nothing was fetched; the plan is {output / 'lock.json'}",
    ]
    for line in lines:
        console.print(f"[bold]plan[/]      {line}", highlight=False, soft_wrap=True)


def _time(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))}" if seconds >= 1 else "under a second"
