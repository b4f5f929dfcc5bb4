"""The side by side of scopes chooses what a run would choose, and shows the leak where nothing is to be found."""

from __future__ import annotations

import json
from types import ModuleType

import numpy as np
import pytest

from mirror.config import Config, CuratedGenesConfig, EvaluationConfig, RefinementConfig, load_config
from mirror.data.refinement import refine_panel
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.workflow.cohort import prepare_cohort
from project_scripts import load_script


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    """The script as a module."""
    return load_script("experiments/panel_scope")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """80 simulated patients with 200 genes."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate_cohort(folder, seed=2, sizes=SimulationSizes(patients=80, genes=200, tile_features=6, tiles=(3, 6)))
    curated = folder / "list.csv"
    curated.write_text("gene\nGENE0003\nGENE0150\n")
    refinement = RefinementConfig(folds=2, step=20, curated=CuratedGenesConfig(path=curated))
    evaluation = EvaluationConfig(shots=3, draws=2, inner_folds=2)
    return load_config(folder / "demo.yaml").model_copy(update={"refinement": refinement, "evaluation": evaluation})


@pytest.mark.parametrize("scope", ["fold", "cohort"])
def test_its_panels_are_those_of_a_run(experiment: ModuleType, config: Config, scope: str) -> None:
    cohort = prepare_cohort(config)
    assert cohort.expression is not None and config.refinement is not None
    case = experiment.make_case(cohort, experiment.free_table(cohort), cohort.patients["label"], config.refinement)
    for kind, size, listed in (("40", 40, False), ("best", None, False), ("best + list", None, True)):
        changed = {"scope": scope, "size": size} | ({} if listed else {"curated": None})
        settings = config.refinement.model_copy(update=changed)
        for fold in cohort.folds[:2]:
            run = refine_panel(cohort.expression, cohort.patients, fold, settings, transform="none")
            assert case.panel(kind, scope, fold.number, config.refinement) == run.genes


def test_shuffled_labels_are_the_same_labels_on_other_patients(experiment: ModuleType, config: Config) -> None:
    labels = prepare_cohort(config).patients["label"]
    labels = labels.where(np.arange(len(labels)) != 5, None)
    one, other = (experiment.shuffled_labels(labels, seed=seed) for seed in (0, 1))
    assert list(one.index) == list(labels.index)
    assert one.isna().equals(labels.isna())
    assert sorted(one.dropna()) == sorted(labels.dropna())
    assert not one.equals(labels) and not one.equals(other)
    assert experiment.shuffled_labels(labels, seed=0).equals(one)


def test_where_labels_say_nothing_the_published_scope_still_scores(
    experiment: ModuleType, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    result = experiment.study(config, sizes=[38], shuffles=2)
    printed = capsys.readouterr().out
    (row,) = [one for one in result["shuffled"] if (one["panel"], one["protocol"]) == ("40", "linear")]
    assert abs(row["fold"] - 0.5) < 0.1
    assert row["cohort"] > 0.65
    (panel,) = [one for one in result["panels"] if one["panel"] == "40"]
    assert set(panel["fold"]) == {40} and panel["cohort"] == 40
    assert f"| 40 | panel_expression | {row['fold']:.3f}" in printed.split("Labels shuffled, 2 times")[1]
    assert "| 40 genes | " in printed.split("In short")[1]
    json.dumps(result)
