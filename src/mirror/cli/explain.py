"""`mirror explain`: what a trained model saw, before anybody relies on it."""

from __future__ import annotations

import typer

from mirror.cli.explain_expression import expression
from mirror.cli.explain_prototypes import prototypes

app = typer.Typer(help="What a model saw: where on a slide, which genes, which prototypes.", no_args_is_help=True)
app.command()(expression)
app.command()(prototypes)
