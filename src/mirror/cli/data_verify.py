"""`mirror data verify`: every file read again, and what the sources have that is newer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.data_recipe import Settings, client_of, require_extra
from mirror.cli.plain import MENDABLE, plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.errors import ArtefactError, raise_together

if TYPE_CHECKING:
    from mirror.acquire.settings import RecipeConfig

console = screen(stderr=True)


@plain_errors(console)
def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `mirror data fetch` left.")],
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the sources for newer releases.")] = False,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Read every file again: size, checksum; and ask whether the sources have something newer."""
    require_extra()
    from mirror.acquire.verify import State, Verified, news
    from mirror.acquire.verify import verify as check

    with progress_bar(console, "verify") as progress:
        files = check(folder, progress=progress)
    found = Verified(files, () if offline else news(folder, client_of(_locked_recipe(folder, settings), None)))
    if as_json:
        print_json({"sound": found.sound, "news": found.news, "files": found.files})
        raise typer.Exit(0 if found.sound else MENDABLE)
    counts = {state: found.count(state) for state in get_args(State) if found.count(state)}
    console.print(
        f"[bold]verify[/]    {', '.join(f'{count} {state}' for state, count in counts.items())}", highlight=False
    )
    for sentence in found.news:
        console.print(f"[bold yellow]newer[/]     {sentence}; `mirror data plan --renew` takes it", highlight=False)
    if not offline and not found.news:
        console.print("[bold]verify[/]    the sources have the releases of the lock", highlight=False)
    raise_together(
        ArtefactError,
        f"{folder} is not what was fetched; `mirror data fetch` fetches these again:",
        [f"{file.path}: {file.state} {file.detail}".rstrip() for file in files if file.state != "sound"],
    )


def _locked_recipe(folder: Path, settings: Path | None) -> RecipeConfig:
    from mirror.acquire.lock import Lock
    from mirror.acquire.settings import RecipeConfig
    from mirror.config import checked, merge, read_mapping

    content = dict(Lock.load(folder).recipe)
    return checked(content if settings is None else merge(content, read_mapping(settings)), RecipeConfig, where=folder)
