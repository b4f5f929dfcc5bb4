"""What every command of `mirror data` asks for: a recipe, its folder, how to fetch."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.table import Table

from mirror.errors import ConfigError, nearest, raise_together

if TYPE_CHECKING:
    from mirror.acquire.client import Client
    from mirror.acquire.settings import Part, RecipeConfig

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe (`mirror data list`), a file .yaml, or a project of the GDC.")
]
Output = Annotated[Path, typer.Option("--output", help="Folder of the data.")]
Parts = Annotated[str | None, typer.Option("--parts", help="Parts in the place of the recipe's, as slides,toil.")]
Settings = Annotated[
    Path | None, typer.Option("--settings", help="File whose keys (hosts, transfer, ...) stand before the recipe's.")
]
TokenFile = Annotated[
    Path | None, typer.Option("--token", help="File with your token of the GDC, for controlled-access files.")
]
Curated = Annotated[Path | None, typer.Option("--curated", help="Your own list of cancer genes, such as COSMIC's.")]
Symbol = Annotated[str | None, typer.Option("--symbol", help="With --curated: its column of symbols.")]
Disk = Annotated[float | None, typer.Option("--disk", help="GB that the folder may have in all.")]
Bandwidth = Annotated[float | None, typer.Option("--bandwidth", help="MB a second at most.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Files fetched at the same time.")]
Renew = Annotated[bool, typer.Option("--renew", help="Take new releases of the sources in the place of the planned.")]
Locked = Annotated[bool, typer.Option("--locked", help="Fetch by the lock.json that is there, whatever is newer.")]


def require_extra() -> None:
    """Raise `ConfigError` with the command to run where the extra `data` is not installed."""
    if importlib.util.find_spec("urllib3") is None:
        raise ConfigError('fetching needs the extra: pip install "mirror-pathology[data]"')


def given_recipe(
    asked: str,
    parts: str | None,
    settings: Path | None,
    *,
    curated: Path | None = None,
    symbol: str | None = None,
    **transfer: float | None,
) -> RecipeConfig:
    """The recipe that was `asked` for, with what the command line says of it."""
    from mirror.acquire.settings import PARTS, load_recipe

    config = load_recipe(asked, settings=settings)
    if parts is not None:
        named = tuple(part.strip() for part in parts.split(","))
        unknown = [f"'{part}'{nearest(part, PARTS)}" for part in named if part not in PARTS]
        raise_together(ConfigError, "--parts names what does not exist:", unknown)
        config = config.asking(cast("tuple[Part, ...]", named))
    given = {name: value for name, value in transfer.items() if value is not None}
    genes = {} if curated is None else {"path": curated.resolve(), **({} if symbol is None else {"symbol": symbol})}
    if symbol is not None and curated is None:
        raise ConfigError("--symbol is the column of --curated FILE; give that too")
    changes = {"transfer": config.transfer.model_copy(update=given), "genes": config.genes.model_copy(update=genes)}
    return config.model_copy(update=changes)


def client_of(config: RecipeConfig, token: Path | None) -> Client:
    """The client that fetches by a recipe; the token goes to the GDC alone."""
    from mirror.acquire.client import Client, read_token

    return Client(config.transfer, token=None if token is None else read_token(token), token_for=config.hosts.gdc)


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table of these columns, those of `right` flushed right."""
    table = Table(padding=(0, 1), pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table
