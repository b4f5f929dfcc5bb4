"""`mirror cohort`: the join, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from mirror.cli.options import ConfigFile
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.config import load_config

if TYPE_CHECKING:
    from mirror.config import Config
    from mirror.data.cohort import Cohort

console = screen(stderr=True)


@plain_errors(console)
def cohort(config_file: ConfigFile) -> None:
    """Join features, expression and clinical tables; account for everything that was left out; make the folds."""
    join_cohort(load_config(config_file))


def join_cohort(config: Config) -> None:
    """Join the cohort of a configuration and say who is in it and what is to be known of it."""
    from mirror.data.cohort_facts import endpoint_sentences, lifetime_sentences
    from mirror.data.floors import artefact_sentences
    from mirror.units import remark_on

    made = prepared(config)
    patients = made.patients
    console.print(
        f"[bold]cohort[/]    {len(made.slides)} slides of {len(patients)} patients, "
        f"{int(patients['has_expression'].sum())} with expression{alone(len(made.without_slide))}, "
        f"{len(made.excluded)} exclusions, {len(made.folds)} folds",
        highlight=False,
    )
    for sentence in endpoint_sentences(made.facts):
        console.print(f"[bold]cohort[/]    {escape(sentence)}", highlight=False, soft_wrap=True)
    units = made.facts["units"]
    if units is not None and (remark := remark_on(units)):
        console.print(f"[bold]cohort[/]    expression is in '{units}': {remark}", highlight=False)
    for sentence in [*lifetime_sentences(made.facts), *artefact_sentences(made.facts)]:
        console.print(f"[bold red]warning[/]   {escape(sentence)}", highlight=False, soft_wrap=True)


def prepared(config: Config) -> Cohort:
    """The cohort of a configuration; what is made and still true is not made again."""
    from mirror.workflow.cohort import prepare_cohort

    with progress_bar(console, "cohort") as progress:
        return prepare_cohort(config, progress=progress)


def alone(patients: int) -> str:
    """The end of a count of patients: how many of them have expression alone, where any have."""
    return f", {patients} patients with expression alone" if patients else ""
