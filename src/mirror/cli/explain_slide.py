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
from mirror.cli.notes import print_notes
from mirror.cli.options import ConfigFile, ExplainedIn, SlideFiles
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.config import load_config

if TYPE_CHECKING:
    from mirror.workflow.explain_slide import ExplainedSlide

console = screen(stderr=True)
_OF = {"slide": "slide", "fused": "both, sum", "aligned": "both, cosine"}
SHOWN = 10
"""Slides on the terminal; each has its own files."""


@plain_errors(console, output="--output", stopped="slides that were finished are kept; --slide names the others")
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
    output: ExplainedIn = None,
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
    explained = [one for one in found if one.files]
    if as_json:
        print_json([one._asdict() for one in found])
    else:
        for one in explained[:SHOWN]:
            screen().print(slide_table(one))
    notes = {one.slide: one.notes for one in explained}
    print_notes(console, notes, slides=len(explained), kept="each in the relevance.json of its slide")
    for lost in found:
        if not lost.files:  # every one of them: no file says so
            told = f"{lost.slide}: {'; '.join(lost.notes)}"
            console.print(f"[bold]explain[/]   {escape(told)}", highlight=False, soft_wrap=True)
    if not as_json and len(explained) > SHOWN:
        more = f"tables of {len(explained) - SHOWN:,} more slides, each in its relevance.json"
        console.print(f"[bold]explain[/]   {more}", highlight=False, soft_wrap=True)
    trained = sum(one.role == "train" for one in found)
    if trained:
        console.print(
            f"[bold red]warning[/]   {trained} of these slides are of patients whom the model was trained on: what it "
            "says of them is what it learnt by heart as much as what it found",
            highlight=False,
            soft_wrap=True,
        )
    seconds = (time.monotonic() - begun) / len(explained)
    where = os.path.commonpath([one.folder for one in explained])
    of = f" of {len(found)}" if len(explained) < len(found) else ""
    console.print(
        f"[bold]explain[/]   {len(explained)}{of} slides, {seconds:.1f} s each, in {escape(where)}",
        highlight=False,
        soft_wrap=True,
    )


def slide_table(one: ExplainedSlide) -> Table:
    """A slide's layers: what of, by which method, and the number: what it is at the training patients' mean tile and
    mean expression, what this slide adds to that, and what this expression; how well the head judges test patients."""
    table = Table(
        title=f"{escape(one.slide)} (patient {escape(one.patient)}, {one.role} of {one.run})",
        title_justify="left",
        padding=(0, 1),
        pad_edge=False,
    )
    for name in ("layer", "method, of"):
        table.add_column(name, overflow="fold")
    # The number is the sum of the three after it, of a head on the slide alone of the first two.
    shown = {"value": "number", "at": "at\nmeans", "from_slide": "slide\nadds", "from_expression": "expression\nadds"}
    for name in shown.values():
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("AUROC,\nc-index", justify="right", no_wrap=True)
    for layer in one.layers:
        at = layer["at_mean_tile"] if layer["at_means"] is None else layer["at_means"]
        told = {**layer, "at": at}
        numbers = [_number(told[name]) if layer["value"] is not None else "" for name in shown]
        by = "\n".join(filter(None, (layer["method"].replace("-", "-\n"), _OF.get(layer["representation"]))))
        table.add_row(escape(layer["name"]), by, *numbers, f"{layer['head']['value']:.2f}" if layer["head"] else "")
    return table


def _number(value: float | None) -> str:
    """Three decimals, and no minus before a zero."""
    return "" if value is None else f"{round(value, 3) + 0.0:+.3f}"
