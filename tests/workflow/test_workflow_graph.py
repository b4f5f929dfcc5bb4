"""What `mirror workflow` would run again, and what not: Snakemake's own account, of files that stand where they should.

The files are empty here, because nothing is looked at but whether they are there and when they were written, and in two
what further files belong to them. tests/workflow/test_workflow_story.py runs the jobs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_job import CANONICAL, write_config

from mirror.artefacts import SCHEMA
from mirror.config import load_config
from mirror.errors import ConfigError
from mirror.workflow.lost import jobs_to_repeat, slides_to_repeat
from mirror.workflow.study import (
    COHORT,
    EMBEDDED,
    PAGE,
    RUN,
    SCORES,
    plan_slides,
    plan_study,
    require_apart,
    write_sections,
    write_slides,
)

pytest.importorskip("snakemake", reason="the extra `workflow` is not installed")

ALL = {"cohort": 1, "pretrain": 4, "embed": 4, "evaluate": 1, "report": 1}


def would_run(*words: str | Path) -> dict[str, int]:
    """Jobs by rule that `mirror workflow` names in a dry run."""
    command = [sys.executable, "-m", "mirror", "workflow", *map(str, words), "--dry-run"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    table = ended.stdout.partition("Job stats:")[2].partition("total")[0].splitlines()
    rows = [line.split() for line in table if len(line.split()) == 2 and line.split()[1].isdecimal()]
    return {rule: int(count) for rule, count in rows if rule != "all"}


RUNS = [f"runs/seed{seed}/fold{fold}" for seed in (0, 1) for fold in (0, 1)]
TABLES = ("cohort.parquet", "covariates.parquet", "excluded.csv", "expression.h5ad", "without_slide.parquet")
MODELS = [f"supervised/seed{seed}/fold{fold}/subtyping-abmil.json" for seed in (0, 1) for fold in (0, 1)]


def leave_files(output: Path) -> None:
    """Every file of a finished study of two folds and two seeds, its settings first, in the order of the stages."""
    stages = [
        [f"cohort/{name}" for name in (*COHORT, "expression.h5ad", "without_slide.parquet")],
        [f"{run}/{name}" for run in RUNS for name in (*RUN, "metrics.jsonl")],
        [f"{run}/{name}" for run in RUNS for name in EMBEDDED],
        [*MODELS, *SCORES],
        PAGE,
    ]
    say(output / "cohort" / "inputs.json", stamp="", files=dict.fromkeys(TABLES, ""))
    say(output / "evaluation.json", runs=[{"supervised": [model]} for model in MODELS])
    settings = [path.relative_to(output) for path in (output / "workflow").glob("*.*")]
    begun = time.time() - 1000
    for place, names in enumerate([settings, *stages]):
        for path in (output / name for name in names):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (begun + place, begun + place))


def say(path: Path, **content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": SCHEMA, **content}))


def everything(folder: Path) -> dict[str, tuple[bytes, int] | None]:
    """All that lies in a folder: of files content and time of change."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def finished(simulated: Path, tmp_path: Path) -> Path:
    path = write_config(simulated, tmp_path / "out", form=CANONICAL, seeds=[0, 1])
    write_sections(plan_study(load_config(path)))
    leave_files(tmp_path / "out")
    return path


def change(path: Path, section: str, **values: Any) -> None:
    content = yaml.safe_load(path.read_text())
    content[section] = {**content.get(section, {}), **values}
    path.write_text(yaml.safe_dump(content))


def sliced(folder: Path, study: Path) -> Path:
    """Settings of `mirror slides` for three slides, whose features the study reads from here on."""
    (folder / "scans").mkdir()
    for name in ("a", "b", "c"):
        (folder / "scans" / f"{name}.svs").touch()
    settings = folder / "slides.yaml"
    settings.write_text(yaml.safe_dump({"slides": "scans", "output": "uni", "encoder": "random-resnet18"}))
    content = yaml.safe_load(study.read_text())
    content["cohort"]["features"]["path"] = str(folder / "uni" / "features")
    study.write_text(yaml.safe_dump(content))
    return settings


def test_a_new_study_runs_all_of_it_and_a_finished_one_nothing(finished: Path, simulated: Path, tmp_path: Path) -> None:
    new = write_config(simulated, tmp_path / "new", form=CANONICAL, seeds=[0, 1])
    assert would_run(finished, new) == ALL


def test_another_evaluation_trains_nothing(finished: Path) -> None:
    change(finished, "evaluation", draws=3)
    assert would_run(finished) == {"evaluate": 1, "report": 1}
    change(finished, "evaluation", draws=2)  # and looking ahead has left no trace
    assert would_run(finished) == {}


def test_a_lost_file_makes_its_job_and_what_follows_run_again(finished: Path) -> None:
    (finished.parent / "runs/seed1/fold0/embeddings.h5ad").unlink()
    assert would_run(finished) == {"embed": 1, "evaluate": 1, "report": 1}
    (finished.parent / "runs/seed0/fold1/model.safetensors").unlink()
    assert would_run(finished) == {"pretrain": 1, "embed": 2, "evaluate": 1, "report": 1}


AFTER = {
    "cohort": ALL,
    "pretrain": {"pretrain": 1, "embed": 1, "evaluate": 1, "report": 1},
    "embed": {"embed": 1, "evaluate": 1, "report": 1},
    "evaluate": {"evaluate": 1, "report": 1},
    "report": {"report": 1},
}
"""Jobs that run when one job of a stage has to."""
LEFT = [
    *(("cohort", f"cohort/{name}") for name in (*TABLES, "folds.json", "cohort.json", "inputs.json")),
    *(("pretrain", f"{RUNS[0]}/{name}") for name in (*RUN, "metrics.jsonl")),
    *(("embed", f"{RUNS[0]}/{name}") for name in EMBEDDED),
    *(("evaluate", name) for name in (*SCORES, MODELS[-1])),
    *(("report", name) for name in PAGE),
]


def lost_by(path: Path) -> list[str]:
    """The last outputs of the jobs that have lost a file which Snakemake does not know."""
    study = plan_study(load_config(path))
    return [str(lost.relative_to(study.config.output)) for lost in jobs_to_repeat(study)]


def resources_of(path: Path) -> list[tuple[str, str]]:
    """Rule and what Snakemake says of it, for every job of a workflow of three threads a job and one GPU."""
    command = [sys.executable, "-m", "mirror", "workflow", str(path), "--dry-run"]
    words = ["--cores", "6", "--threads", "3", "--gpus", "1"]
    ended = subprocess.run([*command, *words], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    jobs = re.split(r"^(?:local)?rule (\w+):$", ended.stdout, flags=re.MULTILINE)[1:]
    return [(rule, text) for rule, text in zip(jobs[::2], jobs[1::2], strict=True) if rule != "all"]


@pytest.fixture
def with_models(finished: Path) -> Path:
    """The finished study with supervised models."""
    change(finished, "supervised", models=["abmil"])
    write_sections(plan_study(load_config(finished)))
    leave_files(finished.parent)
    return finished


def test_every_file_of_every_stage_is_missed_by_its_job(with_models: Path) -> None:
    last = {"cohort": f"cohort/{COHORT[-1]}", "pretrain": f"{RUNS[0]}/{RUN[-1]}", "evaluate": SCORES[-1]}
    last |= {"embed": f"{RUNS[0]}/{EMBEDDED[-1]}", "report": PAGE[-1]}
    assert lost_by(with_models) == []
    for stage, name in LEFT:
        path = with_models.parent / name
        aside = path.rename(path.with_name("aside"))
        # Without the last output itself, there is nothing left to remove for Snakemake to see it.
        assert lost_by(with_models) == [] if name == last[stage] else [last[stage]], name
        aside.rename(path)


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        pytest.param(stage, name, marks=() if name.endswith("metrics.jsonl") else pytest.mark.slow)
        for stage, name in LEFT
    ],
)
def test_a_lost_file_of_any_kind_runs_its_job_and_what_follows(with_models: Path, stage: str, name: str) -> None:
    (with_models.parent / name).unlink()
    before = everything(with_models.parent)
    assert would_run(with_models) == AFTER[stage]
    assert everything(with_models.parent) == before


def test_files_that_a_study_does_not_have_are_not_missed(finished: Path) -> None:
    output = finished.parent
    for name in ("cohort/expression.h5ad", "cohort/without_slide.parquet", *MODELS):
        (output / name).unlink()
    say(output / "cohort" / "inputs.json", stamp="", files=dict.fromkeys(TABLES[:3], ""))
    assert lost_by(finished) == []  # the configuration asks for no supervised models


def test_a_look_ahead_leaves_no_trace(simulated: Path, finished: Path, tmp_path: Path) -> None:
    new = write_config(simulated, tmp_path / "new", form=CANONICAL, seeds=[0, 1])
    settings = sliced(tmp_path, new)
    write_slides(plan_slides(settings, shards=None))
    (tmp_path / "uni" / "features").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "uni" / "features" / f"{name}.h5").touch()
        (tmp_path / "uni" / "workflow" / f"{name}.done").touch()
    (tmp_path / "uni" / "features" / "b.h5").unlink()
    assert slides_to_repeat(plan_slides(settings, shards=None)) == [tmp_path / "uni" / "workflow" / "b.done"]
    assert slides_to_repeat(plan_slides(settings, shards=1)) == []  # it has no receipt yet
    content = yaml.safe_load(settings.read_text())
    settings.write_text(yaml.safe_dump({**content, "tile_px": 128}))
    change(finished, "evaluation", draws=3)
    (finished.parent / "cohort" / "expression.h5ad").unlink()
    before = everything(tmp_path)
    assert would_run(finished, new, "--slides", settings) == {"slides": 3, **{rule: 2 * n for rule, n in ALL.items()}}
    assert everything(tmp_path) == before


def test_slides_of_two_settings_in_one_folder_are_refused(simulated: Path, tmp_path: Path) -> None:
    settings = sliced(tmp_path, write_config(simulated, tmp_path / "new", form=CANONICAL))
    with pytest.raises(ConfigError, match="the same `output`"):
        require_apart([], [plan_slides(settings, shards=None)] * 2)


def test_a_job_counts_as_its_threads_and_models_are_trained_on_a_gpu(with_models: Path) -> None:
    (with_models.parent / "cohort" / "cohort.json").unlink()
    said = resources_of(with_models)
    assert {rule for rule, text in said if "threads: 3" in text} == {rule for rule, _ in said} == set(ALL)
    assert {rule for rule, text in said if "gpu=1" in text} == {"pretrain", "embed", "evaluate"}


@pytest.mark.slow
def test_an_evaluation_that_trains_nothing_asks_for_no_gpu(finished: Path) -> None:
    (finished.parent / "cohort" / "cohort.json").unlink()
    assert {rule for rule, text in resources_of(finished) if "gpu=" in text} == {"pretrain", "embed"}


@pytest.mark.slow
def test_other_training_leaves_the_cohort_alone(finished: Path) -> None:
    change(finished, "pretraining", workers=2)
    assert would_run(finished) == {"report": 1}  # the page shows all settings; the run is the same
    change(finished, "pretraining", epochs=4)
    assert would_run(finished) == {rule: count for rule, count in ALL.items() if rule != "cohort"}


@pytest.mark.slow
def test_a_changed_table_is_a_changed_cohort(finished: Path, simulated: Path, tmp_path: Path) -> None:
    copy = tmp_path / "clinical.csv"
    copy.write_bytes((simulated / "clinical.csv").read_bytes())
    content = yaml.safe_load(finished.read_text())
    content["cohort"]["clinical"]["path"] = str(copy)
    finished.write_text(yaml.safe_dump(content))
    write_sections(plan_study(load_config(finished)))
    leave_files(finished.parent)
    assert would_run(finished) == {}
    os.utime(copy, (1, 1))
    assert would_run(finished) == ALL


@pytest.mark.slow
def test_a_further_seed_adds_its_runs_alone(finished: Path) -> None:
    content = yaml.safe_load(finished.read_text())
    finished.write_text(yaml.safe_dump({**content, "seeds": [0, 1, 2]}))
    assert would_run(finished) == {"pretrain": 2, "embed": 2, "evaluate": 1, "report": 1}


@pytest.mark.slow
def test_the_graph_on_slurm_is_that_of_one_machine(simulated: Path, tmp_path: Path) -> None:
    new = write_config(simulated, tmp_path / "new", form=CANONICAL, seeds=[0, 1])
    assert would_run(new, "--profile", "slurm", "--gpus", "4", "--processes", "2") == ALL


@pytest.mark.slow
def test_the_graph_on_kubernetes_is_that_of_one_machine(simulated: Path, tmp_path: Path) -> None:
    own = tmp_path / "my-kubernetes"
    own.mkdir()
    shipped = resources.files("mirror") / "workflow" / "profiles" / "kubernetes" / "config.yaml"
    (own / "config.yaml").write_text(shipped.read_text().replace("/data", str(tmp_path)))
    new = write_config(simulated, tmp_path / "new", form=CANONICAL, seeds=[0, 1])
    assert would_run(new, "--profile", own, "--gpus", "4") == ALL
    with pytest.raises(AssertionError, match="jobs see nothing but /data"):
        would_run(new, "--profile", "kubernetes")


@pytest.mark.slow
def test_slides_are_made_before_the_cohort_one_job_each_or_in_shards(simulated: Path, tmp_path: Path) -> None:
    new = write_config(simulated, tmp_path / "new", form=CANONICAL, seeds=[0, 1])
    settings = sliced(tmp_path, new)
    assert would_run(new, "--slides", settings) == {"slides": 3, **ALL}
    assert would_run(new, "--slides", settings, "--shards", "2") == {"slides": 2, **ALL}
