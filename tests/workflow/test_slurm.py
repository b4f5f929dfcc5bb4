"""A workflow through a real Slurm: munged, slurmctld and slurmd of this host, job states from squeue."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import slurm_host
from small_job import CANONICAL, write_config

from mirror.evaluation.scores import read_scores

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

QUICK = (
    "--slurm-no-account --slurm-status-command squeue --slurm-init-seconds-before-status-checks 1 "
    "--seconds-between-status-checks 1 --latency-wait 5 "
    "--default-resources mem_mb=400 runtime=20 --set-resources cohort:mem_mb=400"
)


def test_a_study_runs_through_slurm(simulated: Path, tmp_path: Path) -> None:
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="the extra `workflow` is not installed")
    reason = slurm_host.missing()
    if reason is not None:
        pytest.skip(reason)
    config = write_config(simulated, tmp_path / "out", form=CANONICAL)
    with (
        tempfile.TemporaryDirectory(prefix=slurm_host.PREFIX) as folder,
        slurm_host.slurm_host(Path(folder)) as environment,
    ):
        command = [sys.executable, "-m", "mirror", "workflow", str(config), "--profile", "slurm", "--snakemake", QUICK]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True)
        asked = ["squeue", "--states=all", "--noheader", "--format=%T"]
        states = subprocess.run(asked, env=environment, capture_output=True, text=True).stdout.split()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert states == ["COMPLETED"] * 7
    assert len(read_scores(config.parent / "scores.parquet")) > 0
    assert (config.parent / "report.html").exists()
