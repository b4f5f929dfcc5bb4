"""`mirror import`: tile features of other tools become ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.errors import DataError

console = screen(stderr=True)


@plain_errors(console)
def import_features(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Features as another tool left them.")],
    output: Annotated[Path, typer.Option("--output", help="Folder for our feature files, one a slide.")],
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="The encoder to take, and the name where files do not say it.")
    ] = None,
    slide_mpp: Annotated[
        str | None,
        typer.Option("--slide-mpp", help="um/px of level 0: a number, or a table with the columns slide_id and mpp."),
    ] = None,
    coords_unit: Annotated[
        Literal["level0_px", "um"] | None, typer.Option("--coords-unit", help="Where files do not say their unit.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace slides that were imported from another folder.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Convert tile features of other tools (TRIDENT, CLAM, STAMP, LazySlide, ...) into ours; say what each file is."""
    from mirror.cli.tables import import_remarks, import_table
    from mirror.data.importers.found import Asked
    from mirror.workflow.import_features import State, import_folder, read_slide_mpp

    mpp = None if slide_mpp is None else read_slide_mpp(slide_mpp)
    asked = Asked(encoder, coords_unit or "unknown")
    with progress_bar(console, "import") as progress:
        account = import_folder(folder, output, asked=asked, slide_mpp=mpp, overwrite=overwrite, progress=progress)
    if as_json:
        print_json({"files": account.files, "refusal": account.refusal, "set_aside": account.set_aside})
    else:
        screen().print(import_table(account.files))
        for remark in import_remarks(account.files):
            screen().print(remark, markup=False, highlight=False, soft_wrap=True)
    counts = ", ".join(f"{account.count(state)} {state}" for state in get_args(State) if account.count(state))
    console.print(
        f"[bold]import[/]    {counts or 'no files'}; every file in {output / 'import.jsonl'}",
        highlight=False,
        soft_wrap=True,
    )
    if account.refusal is not None:
        raise DataError(account.refusal)
    aside = len(account.set_aside)
    stale = f", and what was made of {aside} of them before is set aside as .h5.stale" if aside else ""
    if not account.count("imported") + account.count("already"):
        raise DataError(
            f"{folder} has no tile features that could be imported{stale}; the table says why, file by file"
        )
    if account.count("failed"):
        raise DataError(f"{account.count('failed')} files failed{stale}; mend them and give the same command again")
