"""`mirror data`: the data of a recipe, from public sources to a refined set."""

from __future__ import annotations

import importlib.util
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from rich.table import Table

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.plain import MENDABLE, plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.errors import ArtefactError, ConfigError, nearest, raise_together

if TYPE_CHECKING:
    from mirror.acquire.client import Client
    from mirror.acquire.lock import Lock
    from mirror.acquire.settings import Part, RecipeConfig

app = typer.Typer(help="TCGA and other public data by recipe: list, plan, fetch, verify, refine.", no_args_is_help=True)
console = screen(stderr=True)

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


@app.command("list")
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
    recipes = _table("recipe", "projects", "parts", "classes")
    for name, recipe in known.items():
        recipes.add_row(name, " ".join(recipe.projects), " ".join(recipe.parts), " ".join(classes[name]))
    parts = _table("part", "what it is")
    for part, about in ABOUT.items():
        parts.add_row(part, about)
    screen().print(recipes, parts)


@app.command()
@plain_errors(console)
def plan(
    recipe: RecipeName,
    output: Output,
    parts: Parts = None,
    settings: Settings = None,
    token: TokenFile = None,
    disk: Disk = None,
    bandwidth: Bandwidth = None,
    workers: Workers = None,
    renew: Renew = False,
    as_json: AsJson = False,
) -> None:
    """Ask the sources what the recipe comes to: files, bytes, patients, time. Fetches none of it; writes lock.json."""
    require_extra()
    from mirror.acquire import plan as stage

    config = _recipe(recipe, parts, settings, disk=disk, bandwidth=bandwidth, workers=workers)
    client = _client(config, token)
    with progress_bar(console, "plan") as progress:
        lock = stage.plan(config, output, client, renew=renew, progress=progress)
    _say_plan(config, lock, client, output, as_json=as_json)


@app.command()
@plain_errors(console)
def fetch(
    recipe: RecipeName,
    output: Output,
    parts: Parts = None,
    settings: Settings = None,
    token: TokenFile = None,
    disk: Disk = None,
    bandwidth: Bandwidth = None,
    workers: Workers = None,
    locked: Locked = False,
) -> None:
    """Fetch what is not here yet, each file checked; Ctrl-C and the same command again goes on where it was."""
    require_extra()
    config = _recipe(recipe, parts, settings, disk=disk, bandwidth=bandwidth, workers=workers)
    _fetch(config, output, token, locked=locked)
    from mirror.acquire.lock import Lock
    from mirror.acquire.tables import write_tables

    tables = write_tables(Lock.load(output), output)
    console.print(
        f"[bold]fetch[/]     {', '.join(tables.files)}: {tables.patients} patients, {tables.with_label} with a label, "
        f"{tables.with_survival} with survival, {tables.events} died",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
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
    found = Verified(files, () if offline else news(folder, _client(_locked_recipe(folder, settings), None)))
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


@app.command()
@plain_errors(console)
def refine(
    recipe: RecipeName,
    output: Output,
    settings: Settings = None,
    curated: Curated = None,
    symbol: Symbol = None,
    disk: Disk = None,
    bandwidth: Bandwidth = None,
    workers: Workers = None,
    locked: Locked = False,
    offline: Annotated[bool, typer.Option("--offline", help="Use what was fetched; ask no source.")] = False,
) -> None:
    """The whole recipe: fetch, expression table, a panel a fold, the published panel, dataset card."""
    require_extra()
    config = _recipe(
        recipe, None, settings, curated=curated, symbol=symbol, disk=disk, bandwidth=bandwidth, workers=workers
    )
    if not offline:
        _fetch(config, output, None, locked=locked)
    from mirror.workflow.dataset_card import write_card
    from mirror.workflow.refined_set import make_refined_set

    with progress_bar(console, "refine") as progress:
        made = make_refined_set(output, progress=progress)
    card = write_card(output, made)
    for name, panel in made.panels.items():
        assert panel.selection is not None  # every panel of a set was chosen
        console.print(
            f"[bold]refine[/]    {name}: {len(panel.genes)} transcripts. {panel.selection.note}", highlight=False
        )
    kept = sum(row.kept for row in made.patients)
    console.print(
        f"[bold]refine[/]    {kept} of {len(made.patients)} patients; {card}", highlight=False, soft_wrap=True
    )
    if (output / "run.yaml").exists():
        console.print(f"[bold]refine[/]    next: mirror run {output / 'run.yaml'}", highlight=False, soft_wrap=True)


def require_extra() -> None:
    """Raise `ConfigError` with the command to run where the extra `data` is not installed."""
    if importlib.util.find_spec("urllib3") is None:
        raise ConfigError('fetching needs the extra: pip install "mirror-pathology[data]"')


def _fetch(config: RecipeConfig, output: Path, token: Path | None, *, locked: bool) -> None:
    from mirror.acquire.budget import size
    from mirror.acquire.fetch import fetch as stage
    from mirror.acquire.plan import planned

    client = _client(config, token)
    with progress_bar(console, "plan") as progress:
        lock = planned(config, output, client, locked=locked, progress=progress)
    with progress_bar(console, "fetch") as progress:
        report = stage(lock, output, client, config.transfer, progress=progress)
    rate = f", {size(report.bytes / report.seconds)}/s" if report.bytes else ""
    console.print(
        f"[bold]fetch[/]     {report.fetched} files fetched ({size(report.bytes)}{rate}), {report.here} were here, "
        f"{len(report.failed)} failed",
        highlight=False,
    )
    raise_together(
        ArtefactError,
        "files could not be fetched; what came is kept, and the same command tries these again:",
        [f"{file.path}: {reason}" for file, reason in report.failed],
    )


def _say_plan(config: RecipeConfig, lock: Lock, client: Client, output: Path, *, as_json: bool) -> None:
    from mirror.acquire.budget import size
    from mirror.acquire.plan import summarise

    found = summarise(lock, client, config.transfer)
    if as_json:
        print_json({**found._asdict(), "plan": output / "lock.json"})
        return
    table = _table("part", "source", "files", "bytes", "time", right=("files", "bytes", "time"))
    for row in found.parts:
        unknown = f"{row.unsized} of unknown size" if row.unsized else ""
        known = " and ".join(filter(None, (size(row.bytes) if row.bytes else "", unknown)))
        table.add_row(row.part, row.source, str(row.files), known, _time(row.seconds))
    screen().print(table)
    most = config.transfer.bandwidth
    lines = [
        *(f"{source} has {release}" for source, release in found.releases.items()),
        f"{found.files} files, {size(found.bytes)}, {_time(found.seconds)} at the measured speed of one connection a "
        "source" + (f" and {most:g} MB/s at most" if most else ""),
        "measured: " + ", ".join(f"{source} {size(rate)}/s" for source, rate in found.bytes_a_second.items()),
        f"{found.patients} patients: {found.with_slide} with a diagnostic slide, {found.with_expression} with a "
        f"tumour's expression, {found.with_both} with both",
        f"{found.files - found.unpinned} files have a checksum"
        + (f", that of {found.unpinned} is recorded at first fetch" if found.unpinned else "")
        + f"; nothing was fetched; the plan is {output / 'lock.json'}",
    ]
    for line in lines:
        console.print(f"[bold]plan[/]      {line}", highlight=False, soft_wrap=True)


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
    table = _table("project", "name", "cases", "files", right=("cases", "files"))
    for project in found:
        table.add_row(project.project, project.name, str(project.cases), str(project.files))
    screen().print(table)


def _recipe(
    asked: str,
    parts: str | None,
    settings: Path | None,
    *,
    curated: Path | None = None,
    symbol: str | None = None,
    **transfer: float | None,
) -> RecipeConfig:
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


def _locked_recipe(folder: Path, settings: Path | None) -> RecipeConfig:
    from mirror.acquire.lock import Lock
    from mirror.acquire.settings import RecipeConfig
    from mirror.config import checked, merge, read_mapping

    content = dict(Lock.load(folder).recipe)
    return checked(content if settings is None else merge(content, read_mapping(settings)), RecipeConfig, where=folder)


def _client(config: RecipeConfig, token: Path | None) -> Client:
    from mirror.acquire.client import Client, read_token

    return Client(config.transfer, token=None if token is None else read_token(token), token_for=config.hosts.gdc)


def _table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(padding=(0, 1), pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def _time(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))}" if seconds >= 1 else "under a second"
