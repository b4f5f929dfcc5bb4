"""The curve trains on as many pairs as it says, and judges every point on the same patients."""

from __future__ import annotations

from types import ModuleType

import pytest

from mirror.config import Config, load_config
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.training.runs import run_folder
from mirror.workflow.cohort import prepare_cohort
from project_scripts import load_script


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    """The script as a module."""
    return load_script("experiments/pairs_curve")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """60 simulated patients, some without expression, and the default preset at their size."""
    folder = tmp_path_factory.mktemp("simulated")
    sizes = SimulationSizes(patients=60, genes=20, tile_features=8, tiles=(3, 6), without_expression=0.2)
    simulate_cohort(folder, seed=2, sizes=sizes)
    config = load_config(folder / "demo.yaml")
    model = config.model.model_copy(update={"components": 4, "hidden": 8, "prototypes": 4})
    pretraining = config.pretraining.model_copy(update={"tiles": 4, "epochs": 1})
    evaluation = config.evaluation.model_copy(update={"shots": (3,), "draws": 2, "inner_folds": 2})
    return config.model_copy(update={"model": model, "pretraining": pretraining, "evaluation": evaluation})


def test_fewer_pairs_are_a_part_of_more_and_of_training_patients_with_both(
    experiment: ModuleType, config: Config
) -> None:
    cohort = prepare_cohort(config)
    fold = cohort.folds[0]
    with_both = {name for name in fold.train if cohort.patients.loc[name, "has_expression"]}
    assert len(with_both) < len(fold.train)
    halves = [set(experiment.fewer_pairs(cohort, fold, pairs, seed=0).train) for pairs in (12, 20, None)]
    assert [len(half) for half in halves] == [12, 20, len(with_both)]
    assert halves[0] < halves[1] < halves[2] == with_both
    assert halves[0] != set(experiment.fewer_pairs(cohort, fold, 12, seed=1).train)


def test_a_point_is_trained_on_its_pairs_and_judged_on_the_whole_fold(
    experiment: ModuleType, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = experiment.study({"12": (config, 12)}, folds=[0], seeds=[0], survival=False)
    record = run_folder(config.output, seed=0, fold=0).read_record()
    assert (lines["pairs"].tolist(), len(record["patients"])) == ([12.0], 12)
    views = {f"{view} {protocol}" for view in experiment.VIEWS for protocol in ("linear", "shot3")}
    assert set(lines.columns) == {"row", "fold", "seed", "pairs", "recall@10"} | views
    assert lines[[*views]].notna().all(axis=None)
    experiment.print_table("demo", lines)
    assert "| 12 | 12 |" in capsys.readouterr().out
