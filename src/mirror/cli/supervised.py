"""`mirror supervised`: models trained on the labels themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.cli.options import ConfigFile, with_options
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen

if TYPE_CHECKING:
    from mirror.config import Config

console = screen(stderr=True)


@plain_errors(console)
def supervised(config_file: ConfigFile) -> None:
    """Train supervised models (multiple-instance, elastic net, fine-tuned encoders) on the same folds, to be evaluated.

    The section `supervised` says which and how; all of them where there is none.
    """
    train_models(with_options(config_file, supervised=True))


def train_models(config: Config) -> None:
    """Train the supervised models of a configuration, where it has any."""
    if config.supervised is None:
        return
    from mirror.workflow.supervised import train_supervised

    with progress_bar(console, "supervised") as progress:
        done = train_supervised(config, progress=progress)
    console.print(f"[bold]supervised[/] {done} models, a task and fold each", highlight=False)
