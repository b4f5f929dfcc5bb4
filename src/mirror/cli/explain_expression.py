"""`mirror explain expression`: the genes that a target comes from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.options import ConfigFile, ExplainedIn, OneRun
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.config import load_config

if TYPE_CHECKING:
    from mirror.workflow.explain_expression import ExplainedTarget

console = screen(stderr=True)
SHOWN = 15
"""Rows of a table on the terminal; expression.parquet and expression.json have all."""


@plain_errors(console, output="--output")
def expression(
    config_file: ConfigFile,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help="class:NAME, risk or agreement; again for more (default: all there are)."),
    ] = None,
    run: OneRun = None,
    representation: Annotated[
        Literal["expression", "fused"],
        typer.Option("--representation", help="What heads read: the expression alone, or both modalities."),
    ] = "expression",
    gene_sets: Annotated[
        Path | None, typer.Option("--gene-sets", help="A .gmt file of gene sets to be tested for enrichment.")
    ] = None,
    output: ExplainedIn = None,
    as_json: AsJson = False,
) -> None:
    """Which genes go along with a class, the risk, the agreement with the slide; with --gene-sets, which sets do."""
    from mirror.artefacts import read_json
    from mirror.workflow.explain_expression import explain_expression
    from mirror.workflow.explained import parse_run

    config = load_config(config_file)
    with progress_bar(console, "explain") as progress:
        found = explain_expression(
            config,
            run=None if run is None else parse_run(run),
            targets=target,
            gene_sets=gene_sets,
            representation=representation,
            output=output,
            progress=progress,
        )
    if as_json:
        print_json(
            {
                **read_json(found.folder / "expression.json"),
                "genes": [row for one in found.targets for row in one.genes.to_dict(orient="records")],
            }
        )
    for one in () if as_json else found.targets:
        screen().print(gene_table(one))
        if one.sets:
            screen().print(set_table(one))
    for one in found.targets:
        console.print(
            f"[bold]explain[/]   {escape(one.name)}: {one.method}, {one.patients} test patients of {len(found.runs)} "
            f"runs; contributions add up to within {one.error:.1g} standard deviations",
            highlight=False,
            soft_wrap=True,
        )
    for reason in found.not_offered:
        console.print(f"[bold]explain[/]   {escape(reason)}", highlight=False, soft_wrap=True)
    console.print(f"[bold]explain[/]   {escape(str(found.folder))}", highlight=False, soft_wrap=True)


def gene_table(one: ExplainedTarget) -> Table:
    """The leading genes of a target."""
    from mirror.explain.wording import effect_of

    effect = effect_of(one.name, one.unit)
    title = f"{escape(one.name)}: effect, {effect}; mean size in {one.unit}; {one.patients} test patients"
    table = Table(title=title, title_justify="left", padding=(0, 1), pad_edge=False)
    table.add_column("gene", overflow="fold")  # the only one that may wrap: numbers are never cut
    for name in ("effect", "95 % interval", "mean size", "folds"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = one.genes.head(SHOWN)
    numbers = shown[["effect", "low", "high", "size", "folds"]].astype(float).to_numpy().tolist()
    for gene, (effect, low, high, size, folds) in zip(shown["gene"].astype(str), numbers, strict=True):
        ends = "" if math.isnan(low) else f"{low:+.4f}, {high:+.4f}"
        table.add_row(escape(gene), f"{effect:+.4f}", ends, f"{size:.4f}", f"{folds:.0f}")
    return table


def set_table(one: ExplainedTarget) -> Table:
    """The leading gene sets of a target, and how many of all were tested."""
    tested = sorted((found for found in one.sets if not math.isnan(found.q)), key=lambda found: found.q)
    few = len(one.sets) - len(tested)
    left = f"; {few} have too few or too many genes in the panel" if few else ""
    table = Table(
        title=f"{escape(one.name)}: gene sets, {len(tested)} tested{left}",
        title_justify="left",
        padding=(0, 1),
        pad_edge=False,
    )
    table.add_column("set", overflow="fold")
    for name in ("genes", "missing", "signed z", "size/chance", "q"):
        table.add_column(name, justify="right", no_wrap=True)
    for found in tested[:SHOWN]:
        counts = (str(len(found.genes)), str(len(found.missing)))
        table.add_row(escape(found.name), *counts, f"{found.signed:+.2f}", f"{found.size:.1f}x", f"{found.q:.2g}")
    return table
