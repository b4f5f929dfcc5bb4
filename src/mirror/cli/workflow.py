"""`mirror workflow`: whole studies as one graph of jobs, on this machine or a cluster."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from mirror.cli.plain import plain_errors
from mirror.cli.screen import screen
from mirror.config import load_config, read_mapping
from mirror.errors import ConfigError, MirrorError

console = screen(stderr=True)


@plain_errors(console)
def workflow(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG.yaml...", help="The studies.")],
    slides: Annotated[
        list[Path] | None,
        typer.Option("--slides", help="Settings of `mirror slides` whose features the studies read, again for more."),
    ] = None,
    shards: Annotated[
        int | None, typer.Option("--shards", min=1, help="Jobs that share the slides (default: one a slide).")
    ] = None,
    cores: Annotated[int, typer.Option("--cores", min=1, help="Cores of this machine for jobs that run on it.")] = 1,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of each job.")] = 1,
    processes: Annotated[
        int, typer.Option("--processes", min=1, help="Processes that share each training (torchrun).")
    ] = 1,
    gpus: Annotated[
        int, typer.Option("--gpus", min=0, help="GPUs in all that jobs may hold at once; slides, runs take one each.")
    ] = 0,
    profile: Annotated[
        str, typer.Option("--profile", help="local, slurm, kubernetes, or a folder with a Snakemake profile.")
    ] = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and why.")] = False,
    options: Annotated[str, typer.Option("--snakemake", help="Further options for Snakemake, in one string.")] = "",
) -> None:
    """Slides, cohort, a run a fold and seed, embedding, evaluation, report of every study: what is not up to date."""
    if importlib.util.find_spec("snakemake") is None:
        raise ConfigError('the workflow needs the extra: pip install "mirror-pathology[workflow]"')
    from mirror.workflow.held import held
    from mirror.workflow.lost import away, jobs_to_repeat, slides_to_repeat
    from mirror.workflow.study import (
        JobUse,
        plan_slides,
        plan_study,
        require_apart,
        require_on,
        require_read,
        write_plan,
        write_sections,
        write_slides,
    )

    jobs = [plan_slides(settings, shards=shards) for settings in slides or ()]
    studies = [plan_study(load_config(path), jobs) for path in configs]
    require_apart(studies, jobs)
    require_read(jobs, studies)
    folder = _profile(profile)
    settings = read_mapping(folder / "config.yaml")
    here, volume = settings.get("executor", "local") == "local", settings.get("default-storage-prefix")
    if volume is not None:
        require_on(volume, [*(study.config.output for study in studies), *(one.output for one in jobs)])
    home = studies[0].folder
    with held((one.folder for one in (*studies, *jobs)), traceless=dry_run):
        for study in studies:
            write_sections(study)
        for one in jobs:
            write_slides(one)
        use = JobUse("python" if volume else sys.executable, threads, processes, gpus > 0, volume)
        write_plan(home / "plan.json", studies, jobs, use)
        command = [
            *(sys.executable, "-m", "snakemake"),
            *("--snakefile", str(resources.files("mirror") / "workflow" / "Snakefile")),
            *("--profile", str(folder), "--directory", str(home), "--config", f"plan={home / 'plan.json'}"),
            *(["--cores", str(cores)] if here else []),
            *("--resources", f"gpu={gpus}"),
            # Times and sets of inputs decide what is run again, not the text of a rule or the place of a slide.
            *("--rerun-triggers", "mtime", "input", "--rerun-incomplete", "--keep-going", "--show-failed-logs"),
            "--nolock",  # it would outlive a killed process; `held` does not
            *(["--dry-run"] if dry_run else []),
            *shlex.split(options),
        ]
        lost = [path for study in studies for path in jobs_to_repeat(study, receipts=volume is not None)]
        lost += [path for one in jobs for path in slides_to_repeat(one)]
        with away(lost, put_back=dry_run):
            ended = subprocess.run(command).returncode
    if ended:
        logs = ", ".join(str(study.folder / "log") for study in studies)
        raise MirrorError(
            f"jobs failed; what each of them said is in {logs}. Mend it and give the same command again: it goes on "
            "with what is not done"
        )
    if not dry_run:
        for study in studies:
            console.print(f"[bold]workflow[/]  {study.config.output / 'report.html'}", highlight=False, soft_wrap=True)


def _profile(name: str) -> Path:
    """The folder of a profile. Raises `ConfigError` where there is none."""
    own = Path(str(resources.files("mirror") / "workflow" / "profiles"))
    folder = own / name if (own / name / "config.yaml").exists() else Path(name).expanduser().resolve()
    if not (folder / "config.yaml").exists():
        known = ", ".join(sorted(path.name for path in own.iterdir()))
        raise ConfigError(f"'{name}' is no profile: known are {known}, or name a folder that has a config.yaml")
    return folder
