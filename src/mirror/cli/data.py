"""`mirror data`: the data of a recipe, from public sources to a refined set."""

from __future__ import annotations

import typer

from mirror.cli.data_fetch import fetch
from mirror.cli.data_list import list_recipes
from mirror.cli.data_plan import plan
from mirror.cli.data_refine import refine
from mirror.cli.data_verify import verify

app = typer.Typer(help="TCGA and other public data by recipe: list, plan, fetch, verify, refine.", no_args_is_help=True)
app.command("list")(list_recipes)
for command in (plan, fetch, verify, refine):
    app.command()(command)
