"""`mirror evaluate`: every number beside the free baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.cli.as_json import AsJson, print_json
from mirror.cli.options import Beside, ConfigFile, WithSupervised, with_options
from mirror.cli.plain import plain_errors
from mirror.cli.progress import progress_bar
from mirror.cli.screen import screen
from mirror.cli.tables import score_tables

if TYPE_CHECKING:
    from mirror.config import Config

console = screen(stderr=True)


@plain_errors(console)
def evaluate(
    config_file: ConfigFile,
    with_supervised: WithSupervised = False,
    beside: Beside = None,
    as_json: AsJson = False,
) -> None:
    """Score the embeddings beside the free baselines, fold by fold, into scores.parquet."""
    judge_runs(with_options(config_file, supervised=with_supervised, beside=beside or ()), as_json=as_json)


def judge_runs(config: Config, *, as_json: bool = False) -> None:
    """Score the runs of a configuration and show the tables, or print them as JSON."""
    from mirror.evaluation.scores import summarise
    from mirror.workflow.evaluate import evaluate_runs
    from mirror.workflow.evaluation_files import scores_file

    with progress_bar(console, "evaluate") as progress:
        scores = evaluate_runs(config, progress=progress)
    console.print(f"[bold]evaluate[/]  {len(scores)} numbers in {scores_file(config)}", highlight=False, soft_wrap=True)
    if as_json:
        print_json(summarise(scores))
        return
    for table in score_tables(summarise(scores), title=f"{config.name}, preset {config.preset}"):
        screen().print(table)
