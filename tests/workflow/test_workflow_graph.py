"""What `mirror workflow` would run again, and what not: Snakemake's own account, of files that stand where they should.

The files are empty here, because Snakemake looks at nothing but whether they are there and when they were written.
tests/workflow/test_workflow_story.py runs the jobs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_job import CANONICAL, write_config

from mirror.config import load_config
from mirror.workflow.study import COHORT, EMBEDDED, PAGE, RUN, SCORES, plan_study, write_sections

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


def leave_files(output: Path) -> None:
    """Every file of a finished study of two folds and two seeds, its settings first, in the order of the stages."""
    runs = [f"runs/seed{seed}/fold{fold}" for seed in (0, 1) for fold in (0, 1)]
    stages = [
        [f"cohort/{name}" for name in (*COHORT, "expression.h5ad")],
        [f"{run}/{name}" for run in runs for name in RUN],
        [f"{run}/{name}" for run in runs for name in EMBEDDED],
        SCORES,
        PAGE,
    ]
    settings = [path.relative_to(output) for path in (output / "workflow").glob("*.*")]
    begun = time.time() - 1000
    for place, names in enumerate([settings, *stages]):
        for path in (output / name for name in names):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (begun + place, begun + place))


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
    (tmp_path / "scans").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "scans" / f"{name}.svs").touch()
    settings = tmp_path / "slides.yaml"
    settings.write_text(yaml.safe_dump({"slides": "scans", "output": "uni", "encoder": "random-resnet18"}))
    new = write_config(simulated, tmp_path / "new", form=CANONICAL, seeds=[0, 1])
    content = yaml.safe_load(new.read_text())
    content["cohort"]["features"]["path"] = str(tmp_path / "uni" / "features")
    new.write_text(yaml.safe_dump(content))
    assert would_run(new, "--slides", settings) == {"slides": 3, **ALL}
    assert would_run(new, "--slides", settings, "--shards", "2") == {"slides": 2, **ALL}
