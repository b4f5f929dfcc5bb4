"""Where outcomes are dealt out anew every cell is at chance; where they are true the same check says so."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from mirror.config import Config, load_config
from mirror.data.cohort import Cohort
from mirror.data.feature_store import FeatureStore
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.workflow.cohort import prepare_cohort
from mirror.workflow.embed import embed_run
from mirror.workflow.pretrain import pretrain_fold, wanted_runs
from project_scripts import load_script


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    """The script as a module."""
    return load_script("experiments/shuffled_labels")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """60 simulated patients, embedded in two folds by the default preset as its closed form starts it."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate_cohort(folder, seed=2, sizes=SimulationSizes(patients=60, genes=20, tile_features=6, tiles=(3, 6)))
    demo = load_config(folder / "demo.yaml")
    config = demo.model_copy(
        update={
            "cohort": demo.cohort.model_copy(update={"folds": demo.cohort.folds.model_copy(update={"count": 2})}),
            "model": demo.model.model_copy(update={"components": 4, "hidden": 8, "prototypes": 4}),
            "pretraining": demo.pretraining.model_copy(update={"epochs": 0, "tiles": 4}),
            "evaluation": demo.evaluation.model_copy(
                update={"components": (2,), "shots": (4,), "draws": 3, "inner_folds": 2}
            ),
        }
    )
    cohort = prepare_cohort(config)
    for seed, fold in wanted_runs(config, cohort, fold=None, seed=None):
        run = pretrain_fold(config, cohort, fold, seed)
        embed_run(run, cohort, fold=fold, path=run.embeddings)
    return config


def test_outcomes_are_the_same_ones_on_other_patients(experiment: ModuleType, config: Config) -> None:
    real = prepare_cohort(config)
    dealt = experiment.dealt_out(real, shuffle=0)
    before, after = real.patients, dealt.patients
    assert sorted(before["label"].dropna()) == sorted(after["label"].dropna())
    assert (before["label"].isna() == after["label"].isna()).all()
    assert (before["label"] != after["label"]).any()
    pairs = [sorted(zip(one["time"], one["event"], strict=True)) for one in (before.dropna(), after.dropna())]
    assert pairs[0] == pairs[1]
    assert not np.array_equal(before["time"], after["time"])


def test_every_cell_is_at_chance_where_there_is_nothing_to_find(experiment: ModuleType, config: Config) -> None:
    cells = experiment.judge(config, shuffles=range(5))
    result = experiment.print_cells(config.name, cells)
    assert result["at_chance"] and result["surely_off_chance"] == 0
    assert result["cells"] == len(cells) == 9 * 5
    assert abs(result["mean_auroc"] - 0.5) < 0.06 and abs(result["mean_c_index"] - 0.5) < 0.06


def told_by_slides(cohort: Cohort, *, shuffle: int) -> Cohort:
    """Labels that say whether a slide's mean tile lies above or below the middle along the first feature."""
    del shuffle
    store = FeatureStore(cohort.paths)
    first = np.array([store.bag(slide).read()[:, 0].mean() for slide in cohort.slides["slide"]])
    return replace(cohort, slides=cohort.slides.assign(label=np.where(first > np.median(first), "high", "low")))


def test_the_same_check_sees_outcomes_that_there_is_something_to_say_of(
    experiment: ModuleType, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "dealt_out", told_by_slides)
    cells = experiment.judge(config, shuffles=[0], resamples=500)
    result = experiment.print_cells(config.name, cells)
    assert not result["at_chance"]
    off = cells[cells["p_holm"] < 0.05]
    assert {("raw_slide", "linear"), ("raw_slide", "prototype")} <= set(
        zip(off["representation"], off["protocol"], strict=True)
    )
    assert set(off["metric"]) == {"auroc"}  # survival was not told
