"""`mirror run`: the whole main job, stage after stage."""

from __future__ import annotations

from mirror.cli.as_json import AsJson
from mirror.cli.cohort import join_cohort
from mirror.cli.embed import embed_runs
from mirror.cli.evaluate import judge_runs
from mirror.cli.options import Beside, ConfigFile, Overwrite, WithSupervised, with_options
from mirror.cli.plain import plain_errors
from mirror.cli.pretrain import pretrain_runs
from mirror.cli.report import write_page
from mirror.cli.screen import screen
from mirror.cli.supervised import train_models

console = screen(stderr=True)


@plain_errors(console)
def run(
    config_file: ConfigFile,
    overwrite: Overwrite = False,
    with_supervised: WithSupervised = False,
    beside: Beside = None,
    as_json: AsJson = False,
) -> None:
    """The whole main job: cohort, pretrain, embed, evaluate, audit, report. Stages that are done are not done again."""
    config = with_options(config_file, supervised=with_supervised, beside=beside or ())
    join_cohort(config)
    pretrain_runs(config, overwrite=overwrite)
    embed_runs(config)
    train_models(config)
    judge_runs(config, as_json=as_json)
    write_page(config)
