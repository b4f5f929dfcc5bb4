"""`mirror view`: slides, maps, genes and survival of a run side by side."""

from __future__ import annotations

import importlib.util
import webbrowser
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from mirror.cli.options import SlideFiles
from mirror.cli.plain import plain_errors
from mirror.cli.screen import screen
from mirror.errors import ConfigError

console = screen(stderr=True)
PORT = 8907


@plain_errors(console)
def view(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A configuration, or its output folder.")],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port on this machine; 0: any free one.")
    ] = PORT,
    slides: SlideFiles = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """Look inside: embedding map, deep-zoom slides with heat, nearest tiles, genes, survival. On this machine alone."""
    require_extra()
    from mirror.viewer.server import serve
    from mirror.workflow.view import view as gather

    with ExitStack() as stack:
        with console.status("view"):
            contents = stack.enter_context(gather(run, slides=slides))

        def ready(address: str) -> None:
            count = f"{len(contents.owners)} slides, {len(contents.files)} of them with a file to open"
            console.print(f"[bold]view[/]      {count}", highlight=False)
            console.print(f"[bold]view[/]      {address}  (Ctrl-C ends it)", highlight=False, soft_wrap=True)
            if browser:
                webbrowser.open(address)

        try:
            serve(contents, port=port, ready=ready)
        except KeyboardInterrupt:
            console.print("[bold]view[/]      closed", highlight=False)


def require_extra() -> None:
    """Raise `ConfigError` with the command to run where the extra `view` is not installed."""
    missing = [name for name in ("starlette", "uvicorn", "openslide") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f'the viewer needs {", ".join(missing)}: pip install "mirror-pathology[view]"')
