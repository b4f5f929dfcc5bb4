"""`mirror explain slide`: where on a slide a target comes from."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.options import ConfigFile, SlideFiles
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.config import load_config

if TYPE_CHECKING:
    from mirror.workflow.explain_slide import ExplainedSlide

console = screen(stderr=True)
SHOWN = 10
"""Slides on the terminal; each has its own files."""


@plain_errors(console)
def slide(
    config_file: ConfigFile,
    slides: Annotated[
        list[str] | None,
        typer.Option(
            "--slide", help="A slide's name, again for more (default: all whose patients are in a test half)."
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", help="One run, as seed0/fold0 (default: that in which the patient is tested)."),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target", help="class:NAME, risk, agreement, embedding or attention; again for more (default: all)."
        ),
    ] = None,
    method: Annotated[
        Literal["contributions", "pattern", "integrated-gradients", "attention-gradient", "attention"] | None,
        typer.Option("--method", help="How (default: what has been shown to be true of the model)."),
    ] = None,
    representation: Annotated[
        Literal["slide", "fused"] | None,
        typer.Option("--representation", help="Whose head (default: fused where the patient has expression)."),
    ] = None,
    unproven: Annotated[
        bool, typer.Option("--unproven", help="Methods that did not find planted tiles as well; each says so.")
    ] = False,
    files: SlideFiles = None,
    features: Annotated[
        Path | None, typer.Option("--features", help="Folder of feature files of slides that are not the cohort's.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Folder to write (default: the run's own).")] = None,
    as_json: AsJson = False,
) -> None:
    """Relevance of every tile: overlay with scale bar, top and bottom tiles, table, GeoJSON that QuPath opens."""
    from mirror.workflow.explain_slide import Wanted, explain_slides
    from mirror.workflow.explained import parse_run
    from mirror.workflow.slide_layers import Asked

    asked = Asked(targets, method, representation, unproven)
    wanted = Wanted(slides, asked, None if run is None else parse_run(run), files, features, output)
    config = load_config(config_file)
    begun = time.monotonic()
    with progress_bar(console, "explain") as progress:
        found = explain_slides(config, wanted, progress=progress)
    if as_json:
        print_json([one._asdict() for one in found])
    else:
        for one in found[:SHOWN]:
            screen().print(slide_table(one))
    notes = list(dict.fromkeys(note for one in found for note in one.notes))
    if len(notes) > SHOWN:
        notes[SHOWN:] = [f"{len(notes) - SHOWN:,} more notes, each in the relevance.json of its slide"]
    if not as_json and len(found) > SHOWN:
        notes.append(f"tables of {len(found) - SHOWN:,} more slides, each in its relevance.json")
    for note in notes:
        console.print(f"[bold]explain[/]   {escape(note)}", highlight=False, soft_wrap=True)
    trained = sum(one.role == "train" for one in found)
    if trained:
        console.print(
            f"[bold red]warning[/]   {trained} of these slides are of patients whom the model was trained on: what it "
            "says of them is what it learnt by heart as much as what it found",
            highlight=False,
            soft_wrap=True,
        )
    seconds = (time.monotonic() - begun) / max(1, len(found))
    where = os.path.commonpath([one.folder for one in found])
    console.print(
        f"[bold]explain[/]   {len(found)} slides, {seconds:.1f} s each, in {escape(where)}",
        highlight=False,
        soft_wrap=True,
    )


def slide_table(one: ExplainedSlide) -> Table:
    """A slide's layers: what of, by which method, and the numbers that the tiles add up to."""
    table = Table(
        title=f"{escape(one.slide)} (patient {escape(one.patient)}, {one.role} of {one.run})",
        title_justify="left",
        padding=(0, 1),
        pad_edge=False,
    )
    table.add_column("layer", no_wrap=True)
    for name in ("method", "representation"):
        table.add_column(name, overflow="fold")
    shown = {"value": "value", "at_mean_tile": "at mean tile", "sum": "tiles add"}
    if all(layer["value"] is None or layer["sum"] is None for layer in one.layers):
        shown.pop("sum")
    for name in shown.values():
        table.add_column(name, justify="right", no_wrap=True)
    for layer in one.layers:
        numbers = ["" if None in (layer["value"], layer[name]) else f"{layer[name]:+.3f}" for name in shown]
        table.add_row(escape(layer["name"]), layer["method"], layer["representation"] or "", *numbers)
    return table
