"""`mirror explain prototypes`: who is in each prototype, what is enriched there, and what the modalities share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.notes import print_notes
from mirror.cli.options import ConfigFile, ExplainedIn, OneRun, SlideFiles
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.config import load_config

if TYPE_CHECKING:
    from mirror.evaluation.prototypes import GeneShift
    from mirror.workflow.explain_prototypes import ExplainedPrototypes, RunPrototypes

console = screen(stderr=True)
SHOWN, SURE = 15, 0.05
GENES = 4
"""Genes of a prototype in a table; prototypes.json has all that differ."""


@plain_errors(console, output="--output")
def prototypes(
    config_file: ConfigFile,
    run: OneRun = None,
    files: SlideFiles = None,
    output: ExplainedIn = None,
    as_json: AsJson = False,
) -> None:
    """Prototypes in use: patients, slides, nearest tiles, enriched outcomes, genes, stability; shared and private."""
    from mirror.workflow.explain_prototypes import explain_prototypes, study_json
    from mirror.workflow.explained import parse_run

    config = load_config(config_file)
    with progress_bar(console, "explain") as progress:
        chosen = None if run is None else parse_run(run)
        found = explain_prototypes(config, run=chosen, slides=files, output=output, progress=progress)
    if as_json:
        print_json(study_json(found))
    else:
        one = [prototype_table(found.runs[0])] if len(found.runs) == 1 else []
        tests = [test_table(found)] if found.tests else []
        for table in (run_table(found), *one, *tests, *([part_table(found)] if found.parts else [])):
            screen().print(table)
    sure = sum(test.p_holm < SURE for test in found.tests)
    tested = f"{len(found.tests)} tests, {sure} of them below {SURE} after Holm over all"
    console.print(
        f"[bold]explain[/]   {tested if found.tests else 'no outcome of these patients to test prototypes against'}; "
        "prototypes learned without outcomes, patients counted once",
        highlight=False,
        soft_wrap=True,
    )
    slides = {slide for one in found.runs for opened in one.prototypes for slide in opened.slides}
    print_notes(console, found.notes, slides=len(slides), kept="each in prototypes.json")
    if found.no_parts is not None:
        console.print(f"[bold]explain[/]   {escape(found.no_parts)}", highlight=False, soft_wrap=True)
    console.print(
        f"[bold]explain[/]   prototypes.json of each run in {escape(str(found.folder))}",
        highlight=False,
        soft_wrap=True,
    )


def run_table(found: ExplainedPrototypes) -> Table:
    """How much the prototypes of each run cover, and how stable they are; large ones have 5 patients or more."""
    table = _table("prototypes: how much they cover, how stable they are")
    table.add_column("run", overflow="fold")
    names = ("in use", "large", "in\nlarge", "sure", "effective", "Rand,\nseeds", "Rand,\nfolds")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for one in found.runs:
        told = one.coverage
        table.add_row(
            str(one.run),
            f"{told.in_use}/{told.total}",
            str(told.large),
            f"{told.share_large:.0%}",
            f"{told.share_sure:.0%}",
            f"{told.effective:.1f}",
            _or_dash(one.rand_seeds),
            _or_dash(one.rand_folds),
        )
    return table


def prototype_table(one: RunPrototypes) -> Table:
    """The prototypes in use of a run, the largest first: how large, how stable, which genes differ most."""
    left = len(one.prototypes) - SHOWN
    more = f", the {SHOWN} largest; {left} more in prototypes.json" if left > 0 else ""
    table = _table(f"prototypes in use of {one.run}{more}")
    for name in ("prototype", "patients", "of them\ntest", "match,\nseeds", "match,\nfolds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("genes that differ (sd)", overflow="fold")
    for opened in one.prototypes[:SHOWN]:
        table.add_row(
            opened.found.title,
            str(len(opened.found.patients)),
            str(opened.found.tested),
            _or_dash(opened.match_seeds),
            _or_dash(opened.match_folds),
            escape(genes_told(opened.found.genes)),
        )
    return table


def genes_told(genes: Sequence[GeneShift]) -> str:
    """The first few with the direction of their shift, and how many more there are."""
    few = ", ".join(f"{gene.gene} {gene.shift:+.1f}" for gene in genes[:GENES])
    return few + (f" and {len(genes) - GENES:,} more" if len(genes) > GENES else "")


def test_table(found: ExplainedPrototypes) -> Table:
    """The outcomes that are most surely enriched."""
    from mirror.explain.prototypes import SURVIVAL

    few = f"the {SHOWN} smallest p of {len(found.tests):,}" if len(found.tests) > SHOWN else "by p"
    table = _table(f"outcomes in prototypes, {few} (OR: odds ratio; O/E: events over those expected)")
    table.add_column("run, prototype", overflow="fold")
    table.add_column("outcome", overflow="fold", min_width=8)
    table.add_column("among", no_wrap=True)
    for name in ("patients\nin, not", "effect", "p", "Holm p"):
        table.add_column(name, justify="right", no_wrap=True)
    for test in sorted(found.tests, key=lambda test: test.p)[:SHOWN]:
        holm = f"{test.p_holm:.2g}"
        table.add_row(
            f"{test.run}, {test.prototype}",
            escape(test.outcome),
            test.among,
            f"{test.inside}, {test.outside}",
            f"{'O/E' if test.outcome == SURVIVAL else 'OR'} {test.value:.2f}",
            f"{test.p:.2g}",
            f"[bold]{holm}[/]" if test.p_holm < SURE else holm,
        )
    return table


def part_table(found: ExplainedPrototypes) -> Table:
    """Mean and deviation over runs of the share of each part."""
    import numpy as np

    from mirror.explain.parts import PARTS

    runs = f"mean ± sd over {len(found.parts)} runs" if len(found.parts) > 1 else next(iter(found.parts))
    table = _table(f"share of the fused view's variance and of heads' outputs, test patients, {runs}")
    table.add_column("of", overflow="fold")
    titles = {"slide": "slide only", "expression": "expression\nonly", "tail": "expression\nonly, tail"}
    for name in PARTS:
        table.add_column(titles.get(name, name), justify="right", no_wrap=True)
    for of in dict.fromkeys(one.of for shares in found.parts.values() for one in shares):
        own = [one.shares for shares in found.parts.values() for one in shares if one.of == of]
        cells = [[shares[name] for shares in own] for name in PARTS]
        table.add_row(
            escape(of),
            *(
                f"{np.mean(cell):.2f} ± {np.std(cell, ddof=1):.2f}" if len(cell) > 1 else f"{cell[0]:.2f}"
                for cell in cells
            ),
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", padding=(0, 1), pad_edge=False)


def _or_dash(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
