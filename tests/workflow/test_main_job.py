"""The main job from the command line, on a small simulated cohort: what a user sees."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from small_job import same_weights, write_config

from mirror.cli.app import main
from mirror.config import load_config
from mirror.evaluation import metrics
from mirror.evaluation.metrics import CLASSIFICATION_METRICS, SURVIVAL_METRICS
from mirror.evaluation.scores import COLUMNS, read_scores
from mirror.training.runs import RunFolder
from mirror.workflow.evaluate import evaluate_runs


def mirror(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["mirror", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def finished(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a whole job, run as a user runs it."""
    output = tmp_path_factory.mktemp("finished") / "out"
    config = write_config(simulated, output)
    subprocess.run([sys.executable, "-m", "mirror", "run", str(config)], check=True)
    return output


def test_one_command_leaves_every_artefact(finished: Path) -> None:
    wanted = [
        "cohort/cohort.parquet",
        "cohort/covariates.parquet",
        "cohort/excluded.csv",
        "cohort/cohort.json",
        "scores.parquet",
        "predictions.parquet",
        "report.html",
        *(
            f"runs/seed0/fold{fold}/{name}"
            for fold in (0, 1)
            for name in ("config.yaml", "run.json", "metrics.jsonl", "model.safetensors", "state.pt", "panel.json")
        ),
        "runs/seed0/fold0/embeddings.h5ad",
    ]
    assert [name for name in wanted if not (finished / name).is_file()] == []
    assert list(finished.rglob(".*aside*")) == []


def test_months_that_are_read_as_years_are_seen_on_the_line_of_the_cohort_and_warned_of(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(simulated, tmp_path / "out")
    content = yaml.safe_load(path.read_text())
    table = pd.read_csv(simulated / "clinical.csv")
    longest = table.index[table["survival_months"].notna() & table["event"].notna()][0]
    table.loc[longest, "survival_months"] = 130.0
    table.to_csv(tmp_path / "clinical.csv", index=False)
    content["cohort"]["clinical"] |= {"path": str(tmp_path / "clinical.csv"), "time_unit": "years"}
    path.write_text(yaml.safe_dump(content))
    assert mirror(monkeypatch, "cohort", path) == 0
    lines = capsys.readouterr().err.splitlines()
    median = table.dropna(subset=["survival_months", "event"])["survival_months"].median()
    (told,) = [line for line in lines if "had the event" in line]
    assert told.endswith(
        "; follow-up (column 'survival_months', read as years) has a median of "
        f"{12 * median:,.1f} months, the longest is 1,560.0 months"
    )
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert f"of {table.loc[longest, 'case_id']}: 130 years" in warning
    assert "`clinical.time_unit`" in warning


def test_the_scores_have_every_cell_of_the_table(finished: Path) -> None:
    scores = read_scores(finished / "scores.parquet")
    assert tuple(scores.columns) == COLUMNS
    learned = {"slide", "expression", "fused"}
    free = {f"{kind}_{name}" for kind in ("raw", "pca4") for name in learned}
    assert set(scores["representation"]) == {*learned, *free, "aligned", "chance"}
    retrieval = scores[scores["task"] == "retrieval"]
    assert set(retrieval["protocol"]) == {"slide_to_expression", "expression_to_slide"}
    assert len(retrieval) == 2 * 2 * 2 * 4
    scores = scores[scores["task"] != "retrieval"]
    assert set(scores["protocol"]) == {"linear", "shot3", "prototype", "cox", "discrete"}
    subtyping = scores[scores["task"] == "subtyping"]
    assert set(subtyping["metric"]) == set(CLASSIFICATION_METRICS)
    assert set(scores["metric"]) - set(CLASSIFICATION_METRICS) == set(SURVIVAL_METRICS)
    assert len(subtyping) == 2 * 9 * 3 * 5
    assert len(scores) - len(subtyping) == 2 * 9 * 2 * 3
    assert scores["value"].between(0, 1).all()


def test_the_ledger_names_the_flaws_that_were_planted(finished: Path) -> None:
    excluded = pd.read_csv(finished / "cohort" / "excluded.csv")
    assert {"SIM-LOST-DX1", "SIM-STRAY-DX1.h5"} <= set(excluded["item"])


def test_the_report_loads_nothing_from_anywhere(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)[^"']+""", page) == []
    assert str(finished) not in page


def test_a_second_call_does_nothing_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [path for path in finished.rglob("*") if path.suffix in {".safetensors", ".h5ad", ".parquet", ".pt"}]
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert mirror(monkeypatch, "run", finished / "job.yaml") == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_scores_of_other_metrics_are_made_again(
    finished: Path, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    config = load_config(write_config(simulated, tmp_path / "copy"))
    table, asked = tmp_path / "copy" / "scores.parquet", ("slide", "raw_slide")
    scores = evaluate_runs(config, representations=asked)
    before = table.stat().st_mtime_ns
    evaluate_runs(config, representations=asked)
    assert table.stat().st_mtime_ns == before
    monkeypatch.setattr(metrics, "VERSION", metrics.VERSION + 1)
    evaluate_runs(config, representations=asked)
    assert table.stat().st_mtime_ns > before
    pd.testing.assert_frame_equal(read_scores(table), scores)


def test_the_stages_one_by_one_give_the_same_scores(
    finished: Path, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(simulated, tmp_path / "staged")
    for stage in (["cohort"], ["pretrain", "--fold", "1"], ["pretrain"], ["embed"], ["evaluate"], ["report"]):
        assert mirror(monkeypatch, stage[0], config, *stage[1:]) == 0
    staged, whole = (read_scores(folder / "scores.parquet") for folder in (tmp_path / "staged", finished))
    pd.testing.assert_frame_equal(staged, whole)


def test_a_stage_before_its_turn_says_which_one_to_run(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(simulated, tmp_path / "out")
    assert mirror(monkeypatch, "embed", config) == 1
    assert "mirror pretrain" in capsys.readouterr().err


def test_changed_settings_do_not_overwrite_a_run_unasked(
    finished: Path, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    config = write_config(simulated, tmp_path / "copy", pretraining={"epochs": 1})
    weights = tmp_path / "copy/runs/seed0/fold0/model.safetensors"
    before = weights.read_bytes()
    assert mirror(monkeypatch, "pretrain", config, "--fold", "0") == 1
    assert "--overwrite" in capsys.readouterr().err
    assert weights.read_bytes() == before
    assert mirror(monkeypatch, "pretrain", config, "--fold", "0", "--overwrite") == 0
    assert weights.read_bytes() != before


def test_new_patients_are_embedded_with_genes_matched_by_name(
    finished: Path, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load((finished / "job.yaml").read_text())
    del content["cohort"]["clinical"]
    table = pd.read_csv(simulated / "expression.csv.gz", index_col="case_id")
    shuffled = table.sample(frac=1, axis=1, random_state=0).drop(columns="GENE0003").iloc[:10]
    shuffled.to_csv(tmp_path / "new.csv")
    content["cohort"]["expression"]["path"] = str(tmp_path / "new.csv")
    config = tmp_path / "new.yaml"
    config.write_text(yaml.safe_dump(content))
    run, output = finished / "runs/seed0/fold0", tmp_path / "new.h5ad"
    assert mirror(monkeypatch, "embed", config, "--run", run, "--output", output) == 0
    assert "GENE0003" in capsys.readouterr().err
    new, old = anndata.read_h5ad(output), anndata.read_h5ad(run / "embeddings.h5ad")
    trained_on = set(RunFolder(run).read_record()["patients"])
    roles = {patient: "train" if patient in trained_on else "new" for patient in new.obs["patient"]}
    assert dict(zip(new.obs["patient"], new.obs["role"], strict=True)) == roles
    np.testing.assert_array_equal(new.obsm["X_slide"], old[new.obs_names].obsm["X_slide"])
    has_expression = new.obs["patient"].isin(shuffled.index).to_numpy()
    assert np.isfinite(new.obsm["X_fused"][has_expression]).all()
    assert np.isnan(new.obsm["X_expression"][~has_expression]).all()


def test_features_of_another_width_are_refused_by_a_finished_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    (tmp_path / "features").mkdir()
    torch.save(torch.randn(5, 7), tmp_path / "features" / "s1.pt")
    (tmp_path / "slides.csv").write_text("slide_id,case_id\ns1,p1\n")
    config = tmp_path / "new.yaml"
    cohort = {"features": {"path": "features"}, "slides": {"path": "slides.csv"}}
    config.write_text(yaml.safe_dump({"name": "new", "output": "out", "cohort": cohort}))
    assert mirror(monkeypatch, "embed", config, "--run", finished / "runs/seed0/fold0") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "width 7" in said
    assert "reads 12" in said


def test_a_mistake_ends_without_a_traceback(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(simulated, tmp_path / "out", pretraining={"epoch": 3})
    assert mirror(monkeypatch, "run", config) == 1
    said = capsys.readouterr().err
    assert "epochs" in said
    assert "Traceback" not in said


def test_the_authors_rcc_folds_are_refused_and_the_patients_named(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del shared
    path = Path(__file__).resolve().parents[2] / "configs" / "rcc_published_folds.yaml"
    content = yaml.safe_load(path.read_text())
    content["output"] = str(tmp_path / "out")
    for section in ("features", "slides", "expression", "clinical", "folds"):
        content["cohort"][section]["path"] = str((path.parent / content["cohort"][section]["path"]).resolve())
    config = tmp_path / "rcc.yaml"
    config.write_text(yaml.safe_dump(content))
    assert mirror(monkeypatch, "run", config) == 1
    said = capsys.readouterr().err
    assert "both halves" in said
    assert len(set(re.findall(r"TCGA-\w\w-\w{4}", said))) >= 15
    assert not (tmp_path / "out" / "cohort" / "cohort.json").exists()


def without(text: str, section: str) -> str:
    content = yaml.safe_load(text)
    del content["cohort"][section]
    return yaml.safe_dump(content)


def test_a_cohort_without_a_clinical_table_runs_to_its_report(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(simulated, tmp_path / "out")
    config.write_text(without(config.read_text(), "clinical"))
    assert mirror(monkeypatch, "run", config) == 0
    assert set(read_scores(tmp_path / "out" / "scores.parquet")["task"]) == {"retrieval"}
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    "name",
    [
        # One of each kind here; the others take a minute more.
        "cohort/expression.h5ad",
        "runs/seed0/fold0/model.safetensors",
        "runs/seed0/fold0/embeddings.h5ad",
        "scores.parquet",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                "cohort/cohort.parquet",
                "cohort/covariates.parquet",
                "cohort/cohort.json",
                "runs/seed0/fold0/panel.json",
                "predictions.parquet",
                "evaluation.json",
            )
        ),
    ],
)
def test_a_file_that_was_lost_or_damaged_is_made_again_the_same(
    finished: Path, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    output = tmp_path / "copy"
    shutil.copytree(finished, output)
    config = write_config(simulated, output)
    whole = (output / name).read_bytes()
    damages = [b""] if name.startswith("runs/") and not name.endswith("h5ad") else [b"", whole[: len(whole) // 2]]
    for damage in damages:
        (output / name).write_bytes(damage) if damage else (output / name).unlink()
        for stage in ("cohort", "pretrain", "embed", "evaluate"):  # as `run` does, without a page each time
            assert mirror(monkeypatch, stage, config) == 0
        if name.endswith(".safetensors"):
            assert same_weights(output / name, finished / name)
        elif name.endswith(".json"):  # the others promise no order of bytes
            assert (output / name).read_bytes() == whole
        scores = [read_scores(folder / "scores.parquet") for folder in (output, finished)]
        pd.testing.assert_frame_equal(*scores)


def test_a_damaged_model_is_named_and_its_remedy_works(
    finished: Path, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    config = write_config(simulated, tmp_path / "copy")
    weights = tmp_path / "copy/runs/seed0/fold0/model.safetensors"
    (weights.parent / "embeddings.h5ad").unlink()
    weights.write_bytes(weights.read_bytes()[:1000])
    assert mirror(monkeypatch, "embed", config) == 1
    assert "delete it and run `mirror pretrain` again" in " ".join(capsys.readouterr().err.split())
    weights.unlink()
    assert mirror(monkeypatch, "pretrain", config) == 0
    assert mirror(monkeypatch, "embed", config) == 0
    assert same_weights(weights, finished / "runs/seed0/fold0/model.safetensors")


def test_a_disk_that_fills_ends_a_run_with_a_message(simulated: Path, tmp_path: Path) -> None:
    config = write_config(simulated, tmp_path / "out")
    script = (
        "import pathlib, resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "from mirror.cli.app import main\n"
        "for stage in 'run', 'pretrain':\n"
        "    sys.argv = ['mirror', stage, sys.argv[-1]]\n"
        "    try: main()\n"
        "    except SystemExit as ended: print('code', ended.code, file=sys.stderr)\n"
        "    print(list(pathlib.Path(sys.argv[-1]).parent.rglob('.*aside*')))"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(config)], capture_output=True, text=True)
    assert ended.stdout.split() == ["[]"] * 2
    assert "Traceback" not in ended.stderr
    *said, rest = " ".join(ended.stderr.split()).split("code 1")
    assert len(said) == 2 and not rest, ended.stderr
    for text in said:
        assert "free space" in text


def test_an_output_that_is_a_file_is_refused(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(simulated, tmp_path / "out")
    content = yaml.safe_load(config.read_text())
    (tmp_path / "a_file").write_text("")
    for output in (tmp_path / "a_file", tmp_path / "a_file" / "below"):
        config.write_text(yaml.safe_dump({**content, "output": str(output)}))
        assert mirror(monkeypatch, "run", config) == 1
        assert "name a folder" in capsys.readouterr().err
    assert mirror(monkeypatch, "run", tmp_path) == 1
    assert "configuration file" in capsys.readouterr().err
