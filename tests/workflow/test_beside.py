"""Another run in the same table: its rows are its own scores, and what does not belong together is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from small_job import CANONICAL, embedded, write_config
from typer.testing import CliRunner

from mirror.cli.app import app
from mirror.config import BesideConfig, Config, load_config
from mirror.errors import ArtefactError, ConfigError, LeakError
from mirror.evaluation.representations import is_learned, run_beside
from mirror.evaluation.scores import read_scores
from mirror.workflow.evaluate import evaluate_runs

VIEWS = ("slide", "expression", "fused", "aligned")


class Two(NamedTuple):
    """Two embedded jobs of one cohort."""

    own: Config
    other: Config

    def together(self) -> Config:
        return self.own.model_copy(update={"beside": (BesideConfig(name="other-job", output=self.other.output),)})


@pytest.fixture(scope="module")
def two(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Two:
    folder = tmp_path_factory.mktemp("beside")
    two = Two(
        load_config(write_config(simulated, folder / "own", form=CANONICAL)),
        load_config(write_config(simulated, folder / "other")),
    )
    for config in two:
        embedded(config)
    return two


def test_the_rows_of_another_run_are_its_own_scores(two: Two) -> None:
    keys = ["fold", "seed", "protocol", "task", "metric", "value"]
    alone = evaluate_runs(two.other, representations=VIEWS)
    names = [f"other-job_{view}" for view in VIEWS]
    beside = evaluate_runs(two.together(), representations=["slide", *names])
    for view, name in zip(VIEWS, names, strict=True):
        one, other = (table[table["representation"] == row] for table, row in ((alone, view), (beside, name)))
        assert len(one) > 0
        pd.testing.assert_frame_equal(one[keys].reset_index(drop=True), other[keys].reset_index(drop=True))


def test_another_run_is_an_opponent() -> None:
    for view in VIEWS:
        assert is_learned(view) and run_beside(view) is None
        assert not is_learned(f"other-job_{view}") and run_beside(f"other-job_{view}") == "other-job"
    for name in ("raw_slide", "panel_fused", "pca4_fused", "finetuned_slide", "slide_clinical", "elastic_net"):
        assert run_beside(name) is None


def test_scores_are_made_again_when_a_run_comes_to_stand_beside(two: Two, tmp_path: Path) -> None:
    shutil.copytree(two.own.output, tmp_path / "own", ignore=shutil.ignore_patterns("*.parquet"))
    shutil.copytree(two.own.output / "cohort", tmp_path / "own" / "cohort", dirs_exist_ok=True)
    own = two.own.model_copy(update={"output": tmp_path / "own"})
    assert set(evaluate_runs(own, representations=["slide"])["representation"]) == {"slide"}
    together = Two(own, two.other).together()
    both = evaluate_runs(together, representations=["slide", "other-job_slide"])
    assert set(both["representation"]) == {"slide", "other-job_slide"}


def test_a_run_that_trained_on_test_patients_or_is_of_another_cohort_is_refused(two: Two, tmp_path: Path) -> None:
    other = two.other.model_copy(update={"output": tmp_path / "other"})
    shutil.copytree(two.other.output, other.output)
    record = other.output / "runs/seed0/fold1/run.json"
    content = json.loads(record.read_text())
    tested = json.loads((other.output / "runs/seed0/fold0/run.json").read_text())["patients"]
    record.write_text(json.dumps({**content, "patients": tested}))
    with pytest.raises(LeakError, match="test patients of fold 1"):
        evaluate_runs(Two(two.own, other).together(), representations=["slide"])

    import anndata

    path = other.output / "runs/seed0/fold0/embeddings.h5ad"
    table = anndata.read_h5ad(path)
    table.uns["cohort"] = "of other files"
    table.write_h5ad(path)
    with pytest.raises(ArtefactError, match="another cohort"):
        evaluate_runs(Two(two.own, other).together(), representations=["slide"])


def test_the_command_line_takes_a_name_and_a_folder(two: Two) -> None:
    config = two.own.output / "job.yaml"
    done = CliRunner().invoke(app, ["evaluate", str(config), "--beside", f"other-job={two.other.output}"])
    assert done.exit_code == 0, done.output
    rows = set(read_scores(two.own.output / "scores.parquet")["representation"])
    assert {f"other-job_{view}" for view in VIEWS} <= rows
    assert "other-job_fused" in done.output
    for given in ("pca4=x", "Other=x", "raw=x"):
        done = CliRunner().invoke(app, ["evaluate", str(config), "--beside", given])
        assert done.exit_code == 1
        assert "name" in done.output


def test_two_runs_of_one_name_are_refused(simulated: Path, tmp_path: Path) -> None:
    path = write_config(simulated, tmp_path / "out")
    path.write_text(path.read_text() + "beside: [{name: a, output: x}, {name: a, output: y}]\n")
    with pytest.raises(ConfigError, match="same name"):
        load_config(path)
