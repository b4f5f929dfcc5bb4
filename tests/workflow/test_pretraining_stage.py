"""A run is what its training patients and settings make it: nothing else, and not the way it was interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_job
from small_job import write_config

from mirror.config import Config, load_config
from mirror.data.cohort import Cohort
from mirror.errors import ArtefactError, DataError, MirrorError
from mirror.training.runs import RunFolder
from mirror.types import Fold
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.pretrain import pretrain_fold


def same_weights(first: RunFolder, second: RunFolder) -> bool:
    return small_job.same_weights(first.weights, second.weights)


def moved(config: Config, output: Path, **pretraining: object) -> Config:
    changed = config.pretraining.model_copy(update=pretraining)
    return config.model_copy(update={"output": output, "pretraining": changed})


@pytest.mark.parametrize("stop_at", [1, 4, 7])
def test_an_interrupted_run_ends_with_the_numbers_of_one_that_was_not(
    job: Config, tmp_path: Path, stop_at: int
) -> None:
    cohort = prepare_cohort(job)
    whole = pretrain_fold(job, cohort, cohort.folds[0], 0)
    other = moved(job, tmp_path / "other")

    def stop(done: int, total: int, note: str = "") -> None:
        del total, note
        if done == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain_fold(other, cohort, cohort.folds[0], 0, progress=stop)
    resumed = pretrain_fold(other, cohort, cohort.folds[0], 0)
    assert same_weights(whole, resumed)
    assert whole.metrics.read_text() == resumed.metrics.read_text()


def test_a_killed_job_goes_on_to_the_same_numbers(simulated: Path, tmp_path: Path) -> None:
    long = {"pretraining": {"epochs": 12}}
    killed, whole = (write_config(simulated, tmp_path / name, **long) for name in ("killed", "whole"))
    command = [sys.executable, "-m", "mirror", "pretrain", "--fold", "0"]
    state = tmp_path / "killed/runs/seed0/fold0/state.pt"
    process = subprocess.Popen([*command, str(killed)])
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert state.exists()
    runs: list[RunFolder] = []
    for config in map(load_config, (killed, whole)):
        cohort = prepare_cohort(config)
        runs.append(pretrain_fold(config, cohort, cohort.folds[0], 0))
    assert same_weights(*runs)
    assert runs[0].metrics.read_text() == runs[1].metrics.read_text()


def test_control_c_says_how_to_go_on(simulated: Path, tmp_path: Path) -> None:
    config = write_config(simulated, tmp_path / "out", pretraining={"epochs": 500})
    command = [sys.executable, "-m", "mirror", "pretrain", "--fold", "0", str(config)]
    # A shell that runs the tests in the background lets its children ignore the signal; a terminal's do not.
    restore = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=restore)
    deadline = time.monotonic() + 120
    while not (tmp_path / "out/runs/seed0/fold0/state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out/runs/seed0/fold0/run.json").exists()


def test_workers_do_not_change_a_run(job: Config, tmp_path: Path) -> None:
    cohort = prepare_cohort(job)
    alone = pretrain_fold(job, cohort, cohort.folds[0], 0)
    helped = pretrain_fold(moved(job, tmp_path / "helped", workers=2), cohort, cohort.folds[0], 0)
    assert same_weights(alone, helped)


def test_a_run_does_not_move_when_its_test_patients_change(job: Config, tmp_path: Path) -> None:
    cohort = prepare_cohort(job)
    fold = cohort.folds[0]
    slides, table = cohort.slides.copy(), cohort.expression
    assert table is not None
    tested = slides["patient"].isin(fold.test)
    slides.loc[tested, "label"] = "B"
    slides.loc[tested, "time"] = 1.0
    # Their features are now another slide's, and their expression is noise.
    slides.loc[tested, "path"] = slides.loc[tested, "path"].iloc[0]
    slides.loc[tested, "feature_hash"] = "another"
    values = table.values.copy()
    values[np.isin(table.patients, fold.test)] = 1e3
    strangers = type(table)(table.patients, table.genes, values, table.units, table.source)
    other = Cohort(
        slides,
        strangers,
        cohort.folds,
        cohort.feature_dim,
        cohort.encoder,
        cohort.excluded,
        cohort.counts,
        cohort.facts,
    )
    first = pretrain_fold(job, cohort, fold, 0)
    second = pretrain_fold(moved(job, tmp_path / "other"), other, fold, 0)
    assert same_weights(first, second)
    assert first.panel.read_text() == second.panel.read_text()
    assert first.read_record()["fingerprint"] == second.read_record()["fingerprint"]


def test_a_run_remembers_on_whom_it_was_fitted(job: Config) -> None:
    cohort = prepare_cohort(job)
    record = pretrain_fold(job, cohort, cohort.folds[1], 0).read_record()
    assert set(record["patients"]) <= set(cohort.folds[1].train)
    assert not set(record["patients"]) & set(cohort.folds[1].test)


def test_another_seed_is_another_run(job: Config) -> None:
    cohort = prepare_cohort(job)
    assert not same_weights(*(pretrain_fold(job, cohort, cohort.folds[0], seed) for seed in (0, 1)))


def test_a_fold_without_pairs_is_an_error_that_says_so(job: Config) -> None:
    cohort = prepare_cohort(job)
    lonely = Fold(7, (cohort.folds[0].train[0],), cohort.folds[0].test)
    with pytest.raises(DataError, match="fold 7"):
        pretrain_fold(job, cohort, lonely, 0)


@pytest.mark.parametrize("left", [None, 1])
def test_a_run_without_its_metrics_is_trained_from_the_start(job: Config, tmp_path: Path, left: int | None) -> None:
    cohort = prepare_cohort(job)
    fold = cohort.folds[0]
    run = pretrain_fold(job, cohort, fold, 0)
    lines, kept = run.metrics.read_text().splitlines(keepends=True), tmp_path / "kept.safetensors"
    kept.write_bytes(run.weights.read_bytes())
    run.record.unlink()
    run.metrics.write_text("".join(lines[:left])) if left else run.metrics.unlink()
    with pytest.raises(ArtefactError, match="to train this fold from the start"):
        pretrain_fold(job, cohort, fold, 0)
    pretrain_fold(job, cohort, fold, 0, overwrite=True)
    assert run.metrics.read_text() == "".join(lines)
    assert small_job.same_weights(run.weights, kept)


def test_a_damaged_state_is_named(job: Config) -> None:
    cohort = prepare_cohort(job)
    run = pretrain_fold(job, cohort, cohort.folds[0], 0)
    run.record.unlink()
    run.state.write_bytes(run.state.read_bytes()[:1000])
    with pytest.raises(ArtefactError, match=r"state\.pt"):
        pretrain_fold(job, cohort, cohort.folds[0], 0)


def test_a_loss_that_is_not_finite_stops_the_run(job: Config, tmp_path: Path) -> None:
    cohort = prepare_cohort(job)
    with pytest.raises(MirrorError, match="learning_rate"):
        pretrain_fold(moved(job, tmp_path / "wild", learning_rate=1e30), cohort, cohort.folds[0], 0)


def test_a_cohort_is_built_again_only_when_an_input_changes(simulated: Path, tmp_path: Path) -> None:
    config = load_config(write_config(simulated, tmp_path / "out"))
    clinical = pd.read_csv(simulated / "clinical.csv")
    clinical.to_csv(tmp_path / "clinical.csv", index=False)
    section = config.cohort.model_copy(
        update={"clinical": config.cohort.clinical.model_copy(update={"path": tmp_path / "clinical.csv"})}  # pyright: ignore
    )
    config = config.model_copy(update={"cohort": section})
    prepare_cohort(config)
    written = config.output / "cohort" / "cohort.parquet"
    before = written.stat().st_mtime_ns
    prepare_cohort(config)
    assert written.stat().st_mtime_ns == before
    clinical["subtype"] = clinical["subtype"].map({"A": "B", "B": "A"})
    clinical.to_csv(tmp_path / "clinical.csv", index=False)
    os.utime(tmp_path / "clinical.csv", ns=(0, 1))
    changed = prepare_cohort(config)
    assert written.stat().st_mtime_ns != before
    one = clinical.set_index("case_id")["subtype"]
    assert (changed.patients["label"] == one.reindex(changed.patients.index)).all()
