"""`mirror workflow` on real jobs: killed, gone on with, changed. Each story runs whole jobs and takes minutes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_job import CANONICAL, same_weights, write_config

from mirror.config import load_config
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.pretrain import pretrain_fold

pytest.importorskip("snakemake", reason="the extra `workflow` is not installed")
pytestmark = pytest.mark.slow

ALL = ["cohort", "embed", "embed", "evaluate", "pretrain", "pretrain", "report"]


def started(said: str) -> list[str]:
    """The jobs that Snakemake says it has started, by rule."""
    return sorted(rule for rule in re.findall(r"^(?:local)?rule (\w+):$", said, re.MULTILINE) if rule != "all")


def workflow(config: Path, *words: str) -> list[str]:
    """Run to the end; the jobs that were run."""
    command = [sys.executable, "-m", "mirror", "workflow", str(config), "--cores", "2", *words]
    ended = subprocess.run(command, capture_output=True, text=True)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    return started(said)


def children_with(word: str, folder: Path) -> list[int]:
    """Processes of this machine whose command line names a stage and a folder of this test."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in words and any(os.fsencode(folder) in one for one in words):
                found.append(int(entry.name))
    return found


def wait_for(there: Callable[[], bool], running: subprocess.Popen[Any], *, seconds: float = 1800) -> None:
    """Until something is there; ends the test where the process ends without it, or it takes too long."""
    deadline = time.monotonic() + seconds
    while not there():
        if running.poll() is not None or time.monotonic() > deadline:
            running.kill()
            pytest.fail("it did not come to the point where it was to be killed")
        time.sleep(0.02)


def study(simulated: Path, output: Path, **pretraining: Any) -> Path:
    return write_config(simulated, output, form=CANONICAL, pretraining=pretraining)


def test_a_job_that_is_killed_goes_on_alone_and_ends_as_if_it_had_not_been(simulated: Path, tmp_path: Path) -> None:
    killed = study(simulated, tmp_path / "killed", epochs=300)
    command = [sys.executable, "-m", "mirror", "workflow", str(killed), "--cores", "1"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    states = [killed.parent / f"runs/seed0/fold{fold}/state.pt" for fold in (0, 1)]
    wait_for(lambda: any(state.exists() for state in states), running)
    victim = next(fold for fold, state in enumerate(states) if state.exists())
    for process in children_with("pretrain", killed.parent):
        os.kill(process, signal.SIGKILL)
    said, _ = running.communicate(timeout=600)
    assert running.returncode == 1
    assert "the same command again" in " ".join(said.split())
    assert not (states[victim].parent / "run.json").exists()
    assert (states[1 - victim].parent / "embeddings.h5ad").exists(), "the other fold goes on"

    assert workflow(killed) == ["embed", "evaluate", "pretrain", "report"]
    whole = load_config(study(simulated, tmp_path / "whole", epochs=300))
    cohort = prepare_cohort(whole)
    for fold in cohort.folds:
        run = pretrain_fold(whole, cohort, fold, 0)
        assert same_weights(run.weights, killed.parent / f"runs/seed0/fold{fold.number}/model.safetensors")


def test_a_workflow_that_is_killed_itself_holds_nothing_back(simulated: Path, tmp_path: Path) -> None:
    config = study(simulated, tmp_path / "out", epochs=300)
    command = [sys.executable, "-m", "mirror", "workflow", str(config)]
    running = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: bool(list(config.parent.glob("runs/*/*/state.pt"))), running)
    second = subprocess.run([*command, "--dry-run"], capture_output=True, text=True)
    assert second.returncode == 1
    assert "another `mirror workflow`" in " ".join(second.stderr.split())
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert workflow(config) == ["embed", "embed", "evaluate", "pretrain", "pretrain", "report"]


def test_a_changed_value_and_a_lost_file_run_what_depends_on_them(simulated: Path, tmp_path: Path) -> None:
    config = study(simulated, tmp_path / "out")
    assert workflow(config) == ALL
    write_config(simulated, config.parent, form=CANONICAL, evaluation={"draws": 3})
    assert workflow(config) == ["evaluate", "report"]
    (config.parent / "runs/seed0/fold1/embeddings.h5ad").unlink()
    assert workflow(config) == ["embed", "evaluate", "report"]
    write_config(simulated, config.parent, form=CANONICAL, evaluation={"draws": 3}, pretraining={"epochs": 2})
    assert workflow(config) == [rule for rule in ALL if rule != "cohort"]
    (config.parent / "cohort" / "expression.h5ad").unlink()
    assert workflow(config)[0] == "cohort"
    (config.parent / "runs/seed0/fold1/metrics.jsonl").unlink()
    assert workflow(config) == ["embed", "evaluate", "pretrain", "report"]
    (config.parent / "audit.json").unlink()
    assert workflow(config) == ["report"]
    assert workflow(config) == []


def test_a_training_shared_by_two_processes_is_a_job_like_others(simulated: Path, tmp_path: Path) -> None:
    config = study(simulated, tmp_path / "out")
    assert workflow(config, "--processes", "2") == ALL
