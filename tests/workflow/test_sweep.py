"""A sweep from the command line: what is done is not done again, and the table says what the scores say."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from small_job import CANONICAL, SMALL, same_weights, write_config

from mirror.cli.app import main
from mirror.config import changes_from_preset, load_config, read_preset
from mirror.errors import ConfigError
from mirror.evaluation.bootstrap import paired_difference, shared_patients
from mirror.evaluation.embed import load_embeddings
from mirror.evaluation.judgements import BEST
from mirror.evaluation.retrieval import held_out_retrieval
from mirror.evaluation.scores import read_predictions, read_scores
from mirror.seeding import rng_for
from mirror.sweep import load_sweep, resolve_sweep
from mirror.workflow.evaluate import evaluate_runs

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ROW, OTHER = ({name: job[name] for name in ("preset", "model", "pretraining")} for job in (SMALL, CANONICAL))


def write_sweep(simulated: Path, folder: Path, **changes: Any) -> Path:
    """A sweep of two rows and two seeds on the small simulated cohort."""
    config = write_config(simulated, folder / "alone", name="toy")
    content = {
        "name": "small",
        "output": "out",
        "seeds": [0, 1],
        "cohorts": [str(config)],
        "compared": "mirror",
        "rows": {"published": ROW, "mirror": OTHER},
        **changes,
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def mirror(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["mirror", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def times(folder: Path) -> dict[Path, int]:
    """When each file of work was written; the tables and the marks are written by every call."""
    kept = [path for path in folder.rglob("*") if path.suffix in {".safetensors", ".h5ad", ".parquet", ".pt"}]
    assert kept
    return {path: path.stat().st_mtime_ns for path in kept}


@pytest.fixture(scope="module")
def finished(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep file and its whole output, made as a user makes it."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert mirror(monkeypatch, "sweep", write_sweep(simulated, folder)) == 0
    return folder


def numbers(folder: Path) -> pd.DataFrame:
    content = json.loads((folder / "out" / "table.json").read_text())
    assert content["unfinished"] == []
    return pd.DataFrame(content["scores"])


def test_every_row_lies_where_a_run_of_its_own_would(finished: Path) -> None:
    for row in ("published", "mirror"):
        folder = finished / "out" / "toy" / row
        for seed in (0, 1):
            for fold in (0, 1):
                assert (folder / f"runs/seed{seed}/fold{fold}/embeddings.h5ad").is_file()
        assert set(read_scores(folder / "scores.parquet")["representation"]) == {"slide", "expression", "fused"}
    assert list(finished.rglob(".*aside*")) == []


def test_the_baselines_without_a_run_are_those_beside_a_run(simulated: Path, finished: Path, tmp_path: Path) -> None:
    sweep = load_sweep(write_sweep(simulated, tmp_path, output=str(finished / "out")))
    config = resolve_sweep(sweep)[0].rows["published"]
    output = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(config.output), str(output)], check=True)
    beside = evaluate_runs(config.model_copy(update={"output": output, "seeds": (1,)}))
    beside = beside[beside["task"] != "retrieval"]  # of the run alone, and a row of the sweep reads it elsewhere
    free, rows = (read_scores(finished / f"out/toy/{row}/scores.parquet") for row in ("baselines", "published"))
    free, rows = (table[table["seed"] == 1].reset_index(drop=True) for table in (free, rows))
    learned = ["slide", "expression", "fused"]
    keys = ["fold", "seed", "representation", "protocol", "task", "metric", "value"]
    expected = beside[~beside["representation"].isin(learned)][keys].reset_index(drop=True)
    pd.testing.assert_frame_equal(free[keys], expected)
    own = beside[beside["representation"].isin(learned)][keys].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows[keys], own)


def test_the_table_has_the_means_of_the_scores_and_the_paired_differences(finished: Path) -> None:
    table = numbers(finished)
    files = {row: finished / "out" / "toy" / row for row in ("baselines", "published", "mirror")}
    scores = {row: read_scores(folder / "scores.parquet") for row, folder in files.items()}
    predictions = {row: read_predictions(folder / "predictions.parquet") for row, folder in files.items()}

    def mean(row: str, representation: str, protocol: str, metric: str) -> float:
        of = scores[row]
        keys = {"representation": representation, "protocol": protocol, "metric": metric}
        return float(of[np.logical_and.reduce([of[key] == value for key, value in keys.items()])]["value"].mean())

    assert len(table) == 3 * (3 + 3 + 3 + 1)
    for protocol, metric in (("linear", "auroc"), ("shot3", "auroc"), ("cox", "c_index")):
        of = table[table["protocol"] == protocol]
        best = of[of["row"] == BEST].iloc[0]
        free = {name: mean("baselines", name, protocol, metric) for name in ("raw_fused", "pca4_fused")}
        assert free[best["representation"]] == max(free.values()) == pytest.approx(best["mean"])
        fused = of[(of["block"] == "fused") & (of["row"] == "published")].iloc[0]
        assert fused["mean"] == pytest.approx(mean("published", "fused", protocol, metric))
        assert fused["difference"] == pytest.approx(fused["mean"] - best["mean"])
        assert fused["low"] <= fused["difference"] <= fused["high"]
        alone = of[(of["block"] == "slide") & (of["row"] == "mirror")].iloc[0]
        assert alone["against"] == "raw_slide"
        among = of[of["block"] == "rows"].iloc[0]
        assert (among["row"], among["against"]) == ("mirror", "published")
        sides = (
            frame[(frame["representation"] == "fused") & (frame["protocol"] == protocol)]
            for frame in (predictions["mirror"], predictions["published"])
        )
        interval = paired_difference(*shared_patients(*sides), metric=metric, rng=rng_for(0, "sweep", "toy"))
        assert tuple(among[["difference", "low", "high", "p"]]) == pytest.approx(interval[:4])


def test_the_page_names_the_best_baseline_and_has_retrieval_of_every_row(finished: Path) -> None:
    page = (finished / "out" / "table.md").read_text()
    assert re.search(rf"^\| {BEST} \| .*(raw|pca4)_fused", page, flags=re.MULTILINE)
    for row in ("published", "mirror"):
        assert re.search(rf"^\| toy: {row} \| (0\.\d+<br>chance 0\.\d+ \| ){{3}}", page, flags=re.MULTILINE)
    tables = re.findall(r"(?:^\|.*\n)+", page, flags=re.MULTILINE)
    assert len(tables) == 5
    assert [table for table in tables if len({row.count("|") for row in table.splitlines()}) != 1] == []


@pytest.mark.parametrize("row", ["published", "mirror"])
def test_retrieval_is_the_mean_over_the_runs(finished: Path, row: str) -> None:
    of = {one["row"]: one for one in json.loads((finished / "out" / "table.json").read_text())["retrieval"]}
    runs = (finished / f"out/toy/{row}/runs").glob("seed*/fold*/embeddings.h5ad")
    found = [held_out_retrieval(load_embeddings(file)) for file in sorted(runs)]
    assert len(found) == 4
    for k in (1, 5, 10):
        assert of[row][f"recall@{k}"] == pytest.approx(np.mean([one.recall[k] for one in found if one]))
    assert of[row]["gallery"] == np.mean([one.gallery for one in found if one])
    assert f"| toy: {row} | {of[row]['recall@1']:.3f}" in (finished / "out" / "table.md").read_text()


def test_a_second_call_does_nothing_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, table = times(finished), numbers(finished)
    assert mirror(monkeypatch, "sweep", finished / "sweep.yaml") == 0
    assert times(finished) == before
    pd.testing.assert_frame_equal(numbers(finished), table)


def test_a_changed_row_runs_again_alone_when_asked(
    finished: Path,
    simulated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    subprocess.run(["cp", "-r", str(finished / "out"), str(tmp_path / "out")], check=True)
    longer = {**OTHER, "pretraining": {**OTHER["pretraining"], "epochs": 4}}
    file = write_sweep(simulated, tmp_path, rows={"published": ROW, "mirror": longer})
    # The copied cohorts name the same input files, so nothing but the changed row is to be made anew.
    before = times(tmp_path / "out")
    assert mirror(monkeypatch, "sweep", file) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "toy mirror" in said
    assert "--overwrite" in said
    assert times(tmp_path / "out") == before
    assert "toy mirror" in (tmp_path / "out" / "table.md").read_text().splitlines()[-1]
    assert mirror(monkeypatch, "sweep", file, "--overwrite") == 0
    after = times(tmp_path / "out")
    changed = {path for path in before if after[path] != before[path]}
    assert {path.relative_to(tmp_path / "out").parts[:2] for path in changed} == {("toy", "mirror")}
    assert {path for path in before if path.suffix == ".safetensors" and "mirror" in path.parts} <= changed
    old, new = numbers(finished), numbers(tmp_path)
    untouched = (old["row"] == "published") | (old["row"] == BEST)
    pd.testing.assert_frame_equal(old[untouched], new[untouched])


def test_a_killed_sweep_goes_on_to_the_same_numbers(
    finished: Path, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_sweep(simulated, tmp_path, seeds=[0], rows={"published": ROW}, compared=None)
    process = subprocess.Popen([sys.executable, "-m", "mirror", "sweep", str(file)])
    folder = tmp_path / "out/toy/published"
    first, second = folder / "runs/seed0/fold0/model.safetensors", folder / "runs/seed0/fold1/state.pt"
    deadline = time.monotonic() + 120
    while not second.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert second.exists()
    assert not (folder / "scores.parquet").exists()
    before = first.stat().st_mtime_ns
    assert mirror(monkeypatch, "sweep", file) == 0
    assert first.stat().st_mtime_ns == before
    weights = "out/toy/published/runs/seed0/fold1/model.safetensors"
    assert same_weights(tmp_path / weights, finished / weights)
    for row in ("baselines", "published"):
        resumed, whole = (read_scores(one / "out/toy" / row / "scores.parquet") for one in (tmp_path, finished))
        pd.testing.assert_frame_equal(resumed, whole[whole["seed"] == 0].reset_index(drop=True))


def test_one_row_is_worked_on_alone_and_the_others_are_named(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sweep(simulated, tmp_path, seeds=[0])
    assert mirror(monkeypatch, "sweep", file, "--row", "mirror", "--cohort", "toy") == 0
    assert not (tmp_path / "out/toy/published").exists()
    assert json.loads((tmp_path / "out/table.json").read_text())["unfinished"] == ["toy published"]
    assert mirror(monkeypatch, "sweep", file, "--row", "miror") == 1
    assert "did you mean 'mirror'" in capsys.readouterr().err


def test_a_row_replaces_what_belongs_to_it_and_merges_the_rest(simulated: Path, tmp_path: Path) -> None:
    rows = {"bare": {"preset": "published"}, "other": {**ROW, "cohort": {"folds": {"seed": 7}}}}
    sweep = load_sweep(write_sweep(simulated, tmp_path, rows=rows, compared=None))
    (cohort,) = resolve_sweep(sweep)
    file = load_config(sweep.cohorts[0])
    assert file.pretraining.epochs == 3
    assert cohort.rows["bare"].pretraining.epochs == 100
    assert cohort.rows["bare"].cohort == file.cohort
    assert cohort.rows["bare"].evaluation == file.evaluation
    folds = file.cohort.folds.model_copy(update={"seed": 7})
    assert cohort.rows["other"].cohort == file.cohort.model_copy(update={"folds": folds})
    assert cohort.rows["other"].model_dump()["seeds"] == (0, 1)
    assert cohort.rows["other"].output == tmp_path / "out/toy/other"


def test_a_row_pools_every_cohort_with_the_others_and_none_with_itself(simulated: Path, tmp_path: Path) -> None:
    files = [write_config(simulated, tmp_path / name, name=name) for name in ("one", "two", "three")]
    cohort = {"folds": {"count": 3}}
    files[2] = write_config(simulated, tmp_path / "three", name="three", cohort=cohort)
    rows = {"pooled": {**OTHER, "pool": [f"../{file.parent.name}/{file.name}" for file in files]}}
    sweep = load_sweep(write_sweep(simulated, tmp_path, rows=rows, compared=None, cohorts=list(map(str, files))))
    one, _, three = (each.rows["pooled"] for each in resolve_sweep(sweep))
    assert [section.folds.count for section in one.pool] == [2, 3]
    assert [section.folds.count for section in three.pool] == [2, 2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": {"a": {"preset": "published", "epochs": 3}}}, "rows.a.epochs"),
        ({"rows": {"a": {"preset": "publisht"}}}, "did you mean 'published'"),
        ({"rows": {"a": {"preset": "published", "pretraining": {"epoch": 3}}}}, "did you mean 'epochs'"),
        ({"rows": {"a": {"preset": "published", "evaluation": {"shots": 3}}}}, "evaluation"),
        ({"rows": {"a/b": ROW}}, "a/b"),
        ({"rows": {"baselines": ROW}}, "baselines"),
        ({"rows": {}}, "rows"),
        ({"compared": "publishd"}, "did you mean 'published'"),
        ({"seed": [0]}, "did you mean 'seeds'"),
    ],
)
def test_a_mistake_is_named_before_anything_runs(
    simulated: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    base = {} if "rows" not in changes else {"compared": None}
    file = write_sweep(simulated, tmp_path, **base, **changes)
    with pytest.raises(ConfigError, match=re.escape(said)):
        resolve_sweep(load_sweep(file))


def test_two_cohorts_of_one_name_are_refused(simulated: Path, tmp_path: Path) -> None:
    file = write_sweep(simulated, tmp_path)
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**content, "cohorts": content["cohorts"] * 2}))
    with pytest.raises(ConfigError, match="each name once"):
        resolve_sweep(load_sweep(file))


def test_the_sweep_of_the_real_cohorts_is_complete() -> None:
    cohorts = resolve_sweep(load_sweep(CONFIGS / "sweeps" / "pretraining.yaml"))
    assert [cohort.name for cohort in cohorts] == ["brca", "coadread", "blca"]
    for cohort in cohorts:
        published = cohort.rows["published"]
        assert published.seeds == (0, 1, 2)
        assert published.output == CONFIGS.parent / "runs" / "pretraining" / cohort.name / "published"
        own = load_config(CONFIGS / f"{cohort.name}.yaml").cohort
        assert (published.cohort, cohort.baselines.cohort) == (own, own)
        assert changes_from_preset(published) == {
            "model.width": 192,
            "model.attention": "exact",
            "pretraining.tiles": 64,
            "pretraining.epochs": 20,
        }
        assert [config.preset for config in cohort.rows.values()] == ["published", "alignment-only", "mirror"]


def test_the_sweeps_of_one_modality_and_of_pooling_differ_in_what_they_ask_about() -> None:
    rcc = resolve_sweep(load_sweep(CONFIGS / "sweeps" / "one_modality.yaml"))
    assert [cohort.name for cohort in rcc] == ["rcc"]
    assert changes_from_preset(rcc[0].rows["with"]) == {}
    assert changes_from_preset(rcc[0].rows["without"]) == {"pretraining.one_modality": "leave_out"}
    for cohort in resolve_sweep(load_sweep(CONFIGS / "sweeps" / "pooling.yaml")):
        pooled = cohort.rows["pooled"]
        assert not cohort.rows["own"].pool
        assert len(pooled.pool) == 2 and pooled.cohort.slides.path not in {one.slides.path for one in pooled.pool}
        assert changes_from_preset(pooled) == {"pretraining.pool_weight": 0.1}


def test_a_row_of_the_sweep_of_switches_changes_what_it_is_named_after_and_nothing_else() -> None:
    (brca,) = resolve_sweep(load_sweep(CONFIGS / "sweeps" / "switches.yaml"))
    changed = {name: changes_from_preset(row) for name, row in brca.rows.items() if row.preset == "mirror"}
    assert changed.pop("mirror") == {}
    assert changed["retention-1"] == {
        "pretraining.weights.slide_retention": 1.0,
        "pretraining.weights.expression_retention": 1.0,
    }
    assert changed["same-patient"] == {"model.same_patient": "negatives"}
    together = {"random-start", "published-schedule", "retention-0", "retention-1"}
    assert {name for name, keys in changed.items() if len(keys) != 1} == together
    published = read_preset("published")["pretraining"]
    schedule = {name.removeprefix("pretraining."): value for name, value in changed["published-schedule"].items()}
    assert schedule == {name: published.get(name, "adam") for name in schedule}
    assert set(schedule) == {"optimiser", "weight_decay", "learning_rate", "batch", "epochs"}


def test_what_the_sweep_says_of_the_evaluation_holds_for_every_row_and_the_baselines(simulated, tmp_path):
    sweep = load_sweep(write_sweep(simulated, tmp_path, evaluation={"shots": 3, "draws": 2}))
    (cohort,) = resolve_sweep(sweep)
    for config in (cohort.baselines, *cohort.rows.values()):
        assert (config.evaluation.shots, config.evaluation.draws) == ((3,), 2)
        assert config.evaluation.components == cohort.baselines.evaluation.components
