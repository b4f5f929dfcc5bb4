"""`torchrun ... -m mirror pretrain`: as one process would have done it, files included."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from small_job import CANONICAL, write_config
from typer.testing import CliRunner

from mirror.cli.app import app
from mirror.config import load_config
from mirror.training.checkpoint import load_weights
from mirror.training.loop import read_metrics
from mirror.training.runs import RunFolder, run_folder
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.pretrain import pretrain_fold

FORM = {**CANONICAL, "model": {**CANONICAL["model"], "dropout": 0.0}}
"""Sections of a job without dropout, which is each process's own."""


def torchrun(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "mirror", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def require_the_same(shared: RunFolder, alone: RunFolder) -> None:
    """The numbers of every epoch and the weights, but for rounding."""
    for found, wanted in zip(read_metrics(shared.metrics), read_metrics(alone.metrics), strict=True):
        assert found == pytest.approx(wanted, rel=1e-4)
    tensors, same = load_weights(shared.weights).tensors, load_weights(alone.weights).tensors
    assert {name: float((tensors[name] - same[name]).abs().max()) for name in same} == pytest.approx(
        dict.fromkeys(same, 0.0), abs=1e-4
    )
    facts = [json.loads(run.record.read_text()) for run in (shared, alone)]
    assert facts[0]["patients"] == facts[1]["patients"]


def test_two_processes_go_on_from_the_state_of_one_to_the_same_weights(simulated: Path, tmp_path: Path) -> None:
    whole = load_config(write_config(simulated, tmp_path / "whole", form=FORM))
    cohort = prepare_cohort(whole)
    alone = pretrain_fold(whole, cohort, cohort.folds[0], 0)

    class Stop(Exception): ...

    def stop(done: int, total: int, note: str = "") -> None:
        del done, total
        if note == "epoch 2":
            raise Stop

    path = write_config(simulated, tmp_path / "shared", form=FORM)
    config = load_config(path)
    with pytest.raises(Stop):
        pretrain_fold(config, prepare_cohort(config), cohort.folds[0], 0, progress=stop)
    shared = run_folder(config.output, seed=0, fold=0)
    assert len(read_metrics(shared.metrics)) == 1

    ended = torchrun("pretrain", path, "--fold", "0")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count(" pairs, loss ") == 1, "one of two processes speaks"
    assert list((tmp_path / "shared").rglob(".*aside*")) == []
    require_the_same(shared, alone)


@pytest.mark.slow
def test_a_training_shared_by_two_nodes_is_that_of_one_process(simulated: Path, tmp_path: Path) -> None:
    whole = load_config(write_config(simulated, tmp_path / "whole", form=FORM))
    cohort = prepare_cohort(whole)
    alone = pretrain_fold(whole, cohort, cohort.folds[0], 0)
    path = write_config(simulated, tmp_path / "shared", form=FORM)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        meet = f"127.0.0.1:{probe.getsockname()[1]}"
    nodes = ["--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", meet]
    command = [sys.executable, "-m", "torch.distributed.run", *nodes, "--nproc-per-node", "1", "-m", "mirror"]
    started = [
        subprocess.Popen([*command, "pretrain", str(path), "--fold", "0"], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert sum(text.count(" pairs, loss ") for text in said) == 1, "one of two processes speaks"
    require_the_same(run_folder(load_config(path).output, seed=0, fold=0), alone)


def test_torchrun_starts_training_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What tells a process that torchrun started it with others; the test of two processes has the real ones.
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    ended = CliRunner().invoke(app, ["evaluate", str(tmp_path / "any.yaml")])
    assert ended.exit_code == 1
    assert "torchrun starts `mirror pretrain`" in " ".join(ended.output.split())
