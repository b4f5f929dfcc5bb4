"""`mirror compare` on finished jobs: a table and a file, or a refusal that says what differs."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from small_job import write_config

from mirror.artefacts import read_json
from mirror.cli.app import main
from mirror.cli.tables import comparison_tables
from mirror.config import load_config
from mirror.evaluation.comparison import Compared, Comparison
from mirror.evaluation.scores import read_predictions, write_predictions
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.evaluate import evaluate_runs
from mirror.workflow.pretrain import pretrain_fold, wanted_runs


def finish(simulated: Path, output: Path, **changes: object) -> Path:
    """The configuration of a job that was evaluated."""
    path = write_config(simulated, output, **changes)
    config = load_config(path)
    cohort = prepare_cohort(config)
    for seed, fold in wanted_runs(config, cohort, fold=None, seed=None):
        run = pretrain_fold(config, cohort, fold, seed)
        embed_run(run, cohort, fold=fold, path=run.embeddings)
    evaluate_runs(config, representations=["slide", "expression", "fused", "raw_slide", "pca4_fused"])
    return path


@pytest.fixture(scope="module")
def jobs(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two jobs of one cohort: trained briefly, and longer."""
    folder = tmp_path_factory.mktemp("compared")
    long = finish(simulated, folder / "long", name="long")
    return finish(simulated, folder / "brief", name="brief", pretraining={"epochs": 1}), long


def mirror(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["mirror", "compare", *map(str, words), "--resamples", "100"])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_two_runs_are_compared_where_they_differ(
    jobs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # One by its configuration, the other by its folder.
    monkeypatch.setenv("COLUMNS", "200")
    assert mirror(monkeypatch, jobs[0], jobs[1].parent, "--output", tmp_path / "c.csv") == 0
    table = pd.read_csv(tmp_path / "c.csv")
    assert set(table["representation"]) == {"slide", "expression", "fused"}
    assert len(table) == 3 * 5
    assert set(table["first"]) == {"brief"} and set(table["second"]) == {"long"}
    assert (table["p_holm"] >= table["p"]).all()
    said = capsys.readouterr()
    assert "the same on both sides, so not compared: raw_slide, linear" in said.err
    assert "15 comparisons" in said.err
    assert "brief - long" in said.out and "3-shot AUROC" in said.out and "surely ahead" in said.out


def test_a_terminal_of_80_columns_has_the_verdict_of_every_row() -> None:
    row = Compared(
        *("subtyping", "linear", "auroc", "raw_fused_clinical", "raw_fused_clinical", "fused", 0.93, 0.941),
        *(-0.011, -0.02, 0.001, 0.07, 0.3, "fused", "undecided", 837, 0, "1 and 1", 2000),
    )
    out = io.StringIO()
    sure = row._replace(p_holm=0.0001, verdict="sure", ahead="raw_fused_clinical")
    for table in comparison_tables(Comparison([row, sure], [])):
        Console(file=out, width=80).print(table)
    said = out.getvalue()
    for word in ("undecided", "0.300", "<0.001", "-0.020, +0.001", "0.941", "surely"):
        assert word in said
    # Folded, not cut: the last column has the whole name.
    last = "".join(line.rstrip("│ \n").rsplit("│", 1)[-1].strip() for line in said.splitlines() if line.startswith("│"))
    assert "raw_fused_clinical" in last


def test_one_run_is_compared_with_its_own_baseline_into_json(
    jobs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "c.json"
    words = ("--against", "pca4_fused", "--metric", "time_auroc", "--output", output)
    assert mirror(monkeypatch, jobs[0], *words) == 0
    content = read_json(output)
    assert (content["seed"], content["resamples"]) == (0, 100)
    assert {row["second"] for row in content["rows"]} == {"pca4_fused"}
    assert {row["metric"] for row in content["rows"]} == {"time_auroc"}
    json.dumps(content, allow_nan=False)


def test_runs_of_other_folds_patients_or_outcomes_are_refused(
    jobs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(jobs[1].parent, copy)
    folds = json.loads((copy / "cohort" / "folds.json").read_text())
    first = folds["folds"][0]["test"][0]

    moved = json.loads(json.dumps(folds))
    for half in ("train", "test"):
        moved["folds"][0][half], moved["folds"][1][half] = moved["folds"][1][half], moved["folds"][0][half]
    (copy / "cohort" / "folds.json").write_text(json.dumps(moved))
    assert mirror(monkeypatch, jobs[0], copy) == 1
    assert "their folds differ" in (said := capsys.readouterr().err) and "fold 0: 40 patients" in said

    fewer = json.loads(json.dumps(folds))
    for fold in fewer["folds"]:
        for half in ("train", "test"):
            fold[half] = [name for name in fold[half] if name != first]
    (copy / "cohort" / "folds.json").write_text(json.dumps(fewer))
    assert mirror(monkeypatch, jobs[0], copy) == 1
    said = capsys.readouterr().err
    assert "different cohorts" in said and f"1 of 40 patients are only in brief: {first}" in " ".join(said.split())

    (copy / "cohort" / "folds.json").write_text(json.dumps(folds))
    predictions = read_predictions(copy / "predictions.parquet")
    predictions.loc[predictions["patient"] == first, "time"] += 1.0
    write_predictions(copy / "predictions.parquet", predictions)
    assert mirror(monkeypatch, jobs[0], copy) == 1
    assert f"time of 1 patients: {first}" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("nowhere.yaml",), "there is no nowhere.yaml"),
        ((".",), "has not been evaluated"),
        ((".", "--output", "c.xlsx"), "written as .csv or .json"),
    ],
)
def test_what_cannot_be_compared_is_said_with_its_remedy(
    words: tuple[str, ...],
    remedy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert mirror(monkeypatch, *words) == 1
    assert remedy in " ".join(capsys.readouterr().err.split())


def test_against_is_for_a_single_run(
    jobs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mirror(monkeypatch, *jobs, "--against", "fused") == 1
    assert "--against" in capsys.readouterr().err
