"""`mirror demo`: the main job on a cohort with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mirror.cli.as_json import AsJson
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.run import run
from mirror.cli.screen import screen
from mirror.cli.slides import extract, require_extra
from mirror.errors import ConfigError

console = screen(stderr=True)


@plain_errors(console)
def demo(
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder for the simulated cohort and its results (default: demo).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulation.")] = 0,
    scans: Annotated[
        bool, typer.Option("--slides", help="Begin with simulated slides; the default folder is then demo-slides.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Simulate a cohort with known truth and run the main job on it."""
    import torch

    from mirror.simulate.cohort import simulate_cohort, simulated_with

    # Bags this small gain nothing from a second thread, and lose several times over beside another busy process.
    torch.set_num_threads(1)

    output = output or Path("demo-slides" if scans else "demo")
    config_file = output / "demo.yaml"
    if not config_file.exists():  # a second call goes on where the first one stopped
        with progress_bar(console, "simulate") as progress:
            if scans:
                require_extra()
                from mirror.simulate.scans import simulate_scans

                simulate_scans(output, seed=seed, progress=progress)
            else:
                simulate_cohort(output, seed=seed, progress=progress)
        console.print(f"[bold]simulate[/]  a cohort with known truth in {output}")
    elif simulated_with(output) != seed:
        raise ConfigError(f"{output} was simulated with seed {simulated_with(output)}; choose another --output")
    if scans:
        extract(output / "slides.yaml")
    run(config_file, as_json=as_json)
