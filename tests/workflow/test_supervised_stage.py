"""The supervised stage: trained on training patients alone, judged beside everything else, never trained twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_job import CANONICAL, embedded, write_config

from mirror.artefacts import read_json
from mirror.config import Config, load_config
from mirror.errors import ArtefactError
from mirror.evaluation.scores import read_intervals
from mirror.training.runs import run_folder
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.evaluate import evaluate_runs
from mirror.workflow.evaluation_files import account_file, intervals_file
from mirror.workflow.report import write_report
from mirror.workflow.supervised import supervised_file, supervised_folder, train_fold, train_supervised

SMALL = {"width": 8, "epochs": 3, "patience": 2, "tiles": 6, "batch": 8, "parts": 2, "strengths": [0.03, 0.3]}


def prepared(simulated: Path, output: Path, *, form: dict | None = CANONICAL, **settings: object) -> Config:
    config = load_config(write_config(simulated, output, form=form, supervised={**SMALL, **settings}))
    embedded(config)
    return config


@pytest.fixture(scope="module")
def trained(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = prepared(simulated, tmp_path_factory.mktemp("supervised") / "out")
    assert train_supervised(config) == 2 * 2 * len(config.supervised.models)  # folds, tasks
    return config


def files(config: Config) -> list[Path]:
    return sorted((config.output / "supervised").rglob("*.json"))


def test_every_model_says_on_whom_it_was_trained_and_who_stopped_it(trained: Config) -> None:
    folds = {fold.number: fold for fold in prepare_cohort(trained).folds}
    for path in files(trained):
        content, fold = read_json(path), folds[int(path.parent.name.removeprefix("fold"))]
        assert set(content["trained_on"]) <= set(fold.train)
        assert len(content["patients"]) == len(content["logits"])
        if content["model"] == "elastic_net":
            assert content["strength"] in SMALL["strengths"]
        else:
            assert 0 < len(content["watched"]) < len(content["trained_on"])
            assert set(content["watched"]) < set(content["trained_on"])
            assert content["watched_loss"][content["epoch"] - 1] == min(content["watched_loss"])


def test_what_is_trained_is_not_trained_again(trained: Config) -> None:
    before = {path: path.stat().st_mtime_ns for path in files(trained)}
    train_supervised(trained)
    assert {path: path.stat().st_mtime_ns for path in files(trained)} == before


def test_they_stand_in_the_table_with_intervals_and_in_the_report(trained: Config) -> None:
    scores = evaluate_runs(trained, representations=("slide", "raw_slide"))
    found = scores[scores["protocol"].isin(["supervised", "supervised_survival"])]
    assert set(found["representation"]) == set(trained.supervised.models)
    assert set(found["task"]) == {"subtyping", "survival"}
    auroc = found[found["metric"] == "auroc"]
    assert len(auroc) == 2 * len(trained.supervised.models) and auroc["value"].notna().all()
    intervals = read_intervals(intervals_file(trained))
    assert intervals["protocol"].str.startswith("supervised").sum() == 8 * len(trained.supervised.models)
    judged = [name for run in read_json(account_file(trained))["runs"] for name in run["supervised"]]
    assert sorted(trained.output / name for name in judged) == sorted(files(trained))
    assert "ABMIL" in write_report(trained).read_text(encoding="utf-8")


def test_outcomes_of_test_patients_have_no_part_in_it(trained: Config, tmp_path: Path) -> None:
    cohort = prepare_cohort(trained)
    fold = cohort.folds[0]
    tested = cohort.slides["patient"].isin(fold.test)
    slides = cohort.slides.copy()
    slides.loc[tested, "label"] = slides.loc[tested, "label"].to_numpy()[::-1]
    slides.loc[tested, "time"] = 1.0
    settings = trained.supervised.model_copy(update={"models": ("abmil", "elastic_net")})
    fewer = trained.model_copy(update={"supervised": settings})
    moved = train_fold(fewer, replace(cohort, slides=slides), fold, 0, folder=tmp_path)
    assert len(moved.models) == len(list(tmp_path.rglob("*.json"))) == 4
    for one in moved.models:
        path = supervised_file(supervised_folder(trained), seed=0, fold=fold.number, task=one.task, name=one.name)
        np.testing.assert_array_equal(one.logits, np.array(read_json(path)["logits"]))


def test_models_of_other_settings_are_not_taken_for_these(trained: Config) -> None:
    other = trained.model_copy(update={"supervised": trained.supervised.model_copy(update={"width": 12})})
    with pytest.raises(ArtefactError, match="run `mirror supervised` first"):
        evaluate_runs(other)


def test_fine_tuning_waits_for_the_pretrained_model(simulated: Path, tmp_path: Path) -> None:
    config = load_config(write_config(simulated, tmp_path / "out", supervised={**SMALL, "models": ["finetuned_slide"]}))
    with pytest.raises(ArtefactError, match="run `mirror pretrain` first"):
        train_supervised(config)


def test_fine_tuning_moves_the_published_encoders_and_leaves_the_run_alone(simulated: Path, tmp_path: Path) -> None:
    config = prepared(simulated, tmp_path / "out", form=None, models=["finetuned_fused"])
    weights = run_folder(config.output, seed=0, fold=0).weights
    before = weights.read_bytes()
    assert train_supervised(config) == 4
    assert weights.read_bytes() == before
    losses = [read_json(path)["watched_loss"] for path in files(config)]
    assert all(len(set(own)) == len(own) > 1 for own in losses)
