"""`torchrun ... -m mirror pretrain`: as one process would have done it, files included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_job import CANONICAL, write_config

from mirror.config import load_config
from mirror.training.checkpoint import load_weights
from mirror.training.loop import read_metrics
from mirror.training.runs import run_folder
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.pretrain import pretrain_fold


def torchrun(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "mirror", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_two_processes_go_on_from_the_state_of_one_to_the_same_weights(simulated: Path, tmp_path: Path) -> None:
    form = {**CANONICAL, "model": {**CANONICAL["model"], "dropout": 0.0}}  # dropout is each process's own
    whole = load_config(write_config(simulated, tmp_path / "whole", form=form))
    cohort = prepare_cohort(whole)
    alone = pretrain_fold(whole, cohort, cohort.folds[0], 0)

    class Stop(Exception): ...

    def stop(done: int, total: int, note: str = "") -> None:
        del done, total
        if note == "epoch 2":
            raise Stop

    path = write_config(simulated, tmp_path / "shared", form=form)
    config = load_config(path)
    with pytest.raises(Stop):
        pretrain_fold(config, prepare_cohort(config), cohort.folds[0], 0, progress=stop)
    shared = run_folder(config.output, seed=0, fold=0)
    assert len(read_metrics(shared.metrics)) == 1

    ended = torchrun("pretrain", path, "--fold", "0")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count(" pairs, loss ") == 1, "one of two processes speaks"
    assert list((tmp_path / "shared").rglob(".*aside*")) == []
    for found, wanted in zip(read_metrics(shared.metrics), read_metrics(alone.metrics), strict=True):
        assert found == pytest.approx(wanted, rel=1e-4)
    tensors, same = load_weights(shared.weights).tensors, load_weights(alone.weights).tensors
    assert {name: float((tensors[name] - same[name]).abs().max()) for name in same} == pytest.approx(
        dict.fromkeys(same, 0.0), abs=1e-4
    )
    facts = [json.loads(run.record.read_text()) for run in (shared, alone)]
    assert facts[0]["patients"] == facts[1]["patients"]


def test_torchrun_starts_training_alone(tmp_path: Path) -> None:
    ended = torchrun("evaluate", tmp_path / "any.yaml")
    assert ended.returncode != 0
    assert "torchrun starts `mirror pretrain`" in " ".join(ended.stderr.split())
