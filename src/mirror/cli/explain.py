"""`mirror explain`: what a trained model saw, before anybody relies on it."""

from __future__ import annotations

import typer

from mirror.cli.explain_expression import expression
from mirror.cli.explain_prototypes import prototypes
from mirror.cli.explain_slide import slide

app = typer.Typer(help="What a model saw: where on a slide, which genes, which prototypes.", no_args_is_help=True)
for command in (slide, expression, prototypes):
    app.command()(command)
