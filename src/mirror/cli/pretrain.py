"""`mirror pretrain`: one run a fold and seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.cli.cohort import prepared
from mirror.cli.options import ConfigFile, OneFold, OneSeed, Overwrite
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.config import load_config
from mirror.types import silent

if TYPE_CHECKING:
    from mirror.config import Config
    from mirror.data.cohort import Cohort
    from mirror.training.distributed import Ranks
    from mirror.types import Fold

console = screen(stderr=True)


@plain_errors(console)
def pretrain(config_file: ConfigFile, fold: OneFold = None, seed: OneSeed = None, overwrite: Overwrite = False) -> None:
    """Train one run a fold and seed on its training patients; an interrupted run goes on where it was left."""
    pretrain_runs(load_config(config_file), fold=fold, seed=seed, overwrite=overwrite)


def pretrain_runs(config: Config, *, fold: int | None = None, seed: int | None = None, overwrite: bool = False) -> None:
    """Train every run of a configuration, or those of one fold or seed."""
    from mirror.training.distributed import joined_ranks
    from mirror.workflow.pretrain import wanted_runs

    with joined_ranks() as ranks:
        with ranks.first_goes_ahead():
            made = prepared(config)
        for number, one_fold in wanted_runs(config, made, fold=fold, seed=seed):
            _pretrain_one(config, made, one_fold, number, overwrite=overwrite, ranks=ranks)


def _pretrain_one(config: Config, made: Cohort, fold: Fold, seed: int, *, overwrite: bool, ranks: Ranks) -> None:
    from mirror.workflow.pretrain import pretrain_fold

    title = f"seed {seed} fold {fold.number}"
    with progress_bar(console, f"pretrain  {title}") as bar:
        progress = bar if ranks.first else silent
        folder = pretrain_fold(config, made, fold, seed, overwrite=overwrite, ranks=ranks, progress=progress)
    if ranks.first:
        facts = folder.read_record()
        loss = f"loss {facts['last_epoch']['total']:.4f}" if facts["last_epoch"] else "no epochs"
        console.print(
            f"[bold]pretrain[/]  {title}: {facts['pairs']} pairs, {loss}, "
            f"{facts['seconds']:.0f} s on {facts['device']}",
            highlight=False,
        )
