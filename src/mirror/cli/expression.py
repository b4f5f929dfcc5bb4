"""`mirror expression`: what is in a matrix, and which of its genes a model will read."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.options import ConfigFile
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.config import Config, RefinementConfig, load_config

app = typer.Typer(help="Gene expression: look into a table, refine it to a panel of genes.", no_args_is_help=True)
console = screen(stderr=True)


@app.command()
@plain_errors(console)
def refine(
    config_file: ConfigFile,
    scope: Annotated[
        Literal["fold", "cohort"] | None,
        typer.Option("--scope", help="Choose genes inside every fold, or on the whole cohort as published."),
    ] = None,
    fold: Annotated[int | None, typer.Option("--fold", help="This fold only (default: all).")] = None,
) -> None:
    """Choose the genes of each fold and write its panel, and the table of all genes that were chosen."""
    from mirror.workflow.cohort import prepare_cohort
    from mirror.workflow.pretrain import wanted_runs
    from mirror.workflow.refine import refine_cohort

    given = load_config(config_file)
    config = with_scope(given, scope)
    with progress_bar(console, "cohort") as progress:
        made = prepare_cohort(config, progress=progress)
    folds = list(dict.fromkeys(one for _, one in wanted_runs(config, made, fold=fold, seed=None)))
    with progress_bar(console, "refine") as progress:
        refined = refine_cohort(config, made, folds, progress=progress)
    for number, panel in refined.panels.items():
        assert panel.selection is not None
        counts = {origin: panel.selection.origins.count(origin) for origin in sorted(set(panel.selection.origins))}
        console.print(
            f"[bold]refine[/]    fold {number}: {len(panel.genes)} genes "
            f"({', '.join(f'{origin} {count}' for origin, count in counts.items())}). {panel.selection.note}",
            highlight=False,
        )
        if panel.selection.curated_missing:
            missing = panel.selection.curated_missing
            shown = f"{', '.join(missing[:10])}{' ...' if len(missing) > 10 else ''}"
            console.print(f"          {len(missing)} curated genes are not in the table: {shown}", highlight=False)
    console.print(f"[bold]refine[/]    {refined.genes} genes in {refined.table}", highlight=False, soft_wrap=True)
    if given.refinement is None or config.refinement != given.refinement:
        console.print(
            f"[bold]refine[/]    before `mirror run`, write `refinement: {{scope: {scope}}}` into {config_file.name}: "
            "a run chooses its genes by the configuration, and refuses to be of another scope than these",
            highlight=False,
        )


@app.command()
@plain_errors(console)
def inspect(
    config_file: ConfigFile,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            help="Column of the clinical table with batch or cohort; once for each (default: the label and `groups`).",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is in the expression table before anything is fitted, with pictures."""
    from mirror.data.floors import floors_sentence
    from mirror.units import remark_on
    from mirror.workflow.inspect import inspect_config

    config = load_config(config_file)
    found, files, cohort_only = inspect_config(config, by=by or ())
    if as_json:
        print_json({**found.as_json(), "files": files})
        return
    assert config.cohort.expression is not None  # it was inspected
    given = config.cohort.expression.units
    units = given if given == found.units else f"{given}, taken to {found.units}"
    whose = "of the slide table" if cohort_only else "(all of the file: there is no slide table to choose by)"
    lines = [
        f"{len(found.patients)} patients {whose}, {found.genes} genes from {found.source}",
        f"units given: {units}; they look like {found.guess.units}: {found.guess.reason}",
        *([remark] if (remark := remark_on(given)) else []),
        f"{found.missing_cells} cells missing in {found.genes_with_missing} genes; {found.constant_genes} constant",
        *(f"left out, {reason}: {count}" for reason, count in found.left_out.items()),
    ]
    if found.sizes is not None:
        lines.append(f"library sizes from {found.sizes.min():.4g} to {found.sizes.max():.4g}")
    for column, grouping in found.groupings.items():
        first, second = grouping.between
        lines.append(f"{first:.0%} of component 1 and {second:.0%} of component 2 lie between the groups of '{column}'")
        if grouping.floors:
            lines.append(floors_sentence(column, grouping.floors, genes=found.genes))
    if not found.groupings:
        lines.append("no groups are named, so floor values that tell groups apart were not looked for; name them: --by")
    for line in lines:
        console.print(f"[bold]inspect[/]   {line}", highlight=False, soft_wrap=True)
    console.print(f"[bold]inspect[/]   {', '.join(map(str, files))}", highlight=False, soft_wrap=True)


def with_scope(config: Config, scope: Literal["fold", "cohort"] | None) -> Config:
    """The configuration with another scope; without a `refinement` section the defaults of one are taken."""
    if scope is None:
        return config
    refinement = (config.refinement or RefinementConfig()).model_copy(update={"scope": scope})
    return config.model_copy(update={"refinement": refinement})
