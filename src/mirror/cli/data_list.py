"""`mirror data list`: which recipes there are, and of what parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.data_recipe import Settings, plain_table, require_extra
from mirror.cli.plain import plain_errors
from mirror.cli.screen import screen

console = screen(stderr=True)


@plain_errors(console)
def list_recipes(
    projects: Annotated[bool, typer.Option("--projects", help="Ask the GDC for all of its projects.")] = False,
    show: Annotated[
        str | None, typer.Option("--show", help="Print this recipe's file, to make one of your own from it.")
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """The recipes that come with the package, and the parts that they or your own may have."""
    from mirror.acquire.settings import ABOUT, load_recipe, recipe_names, recipe_text

    if show is not None:
        typer.echo(recipe_text(show), nl=False)
        return
    if projects:
        _list_projects(settings, as_json=as_json)
        return
    known = {name: load_recipe(name) for name in recipe_names()}
    classes = {name: list(recipe.studies.classes) if recipe.studies else [] for name, recipe in known.items()}
    if as_json:
        listed = [
            {"recipe": name, "projects": recipe.projects, "parts": recipe.parts, "classes": classes[name]}
            for name, recipe in known.items()
        ]
        print_json({"recipes": listed, "parts": dict(ABOUT)})
        return
    recipes = plain_table("recipe", "projects", "parts", "classes")
    for name, recipe in known.items():
        recipes.add_row(name, " ".join(recipe.projects), " ".join(recipe.parts), " ".join(classes[name]))
    parts = plain_table("part", "what it is")
    for part, about in ABOUT.items():
        parts.add_row(part, about)
    screen().print(recipes, parts)


def _list_projects(settings: Path | None, *, as_json: bool) -> None:
    require_extra()
    from mirror.acquire.client import Client
    from mirror.acquire.settings import load_recipe, recipe_names
    from mirror.acquire.sources.gdc import Gdc

    config = load_recipe(recipe_names()[0], settings=settings)
    found = Gdc(Client(config.transfer), config.hosts.gdc, ()).projects()
    if as_json:
        print_json(found)
        return
    table = plain_table("project", "name", "cases", "files", right=("cases", "files"))
    for project in found:
        table.add_row(project.project, project.name, str(project.cases), str(project.files))
    screen().print(table)
