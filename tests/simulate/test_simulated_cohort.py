"""The simulated cohort holds the truth it says it holds, each factor where it should show and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict

from mirror.data.feature_store import Bag, find_bags
from mirror.simulate.cohort import FACTORS, SimulationSizes, draw_truth, simulate_cohort

SIZES = SimulationSizes(patients=300, without_expression=0.0, two_slides=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("known")
    simulate_cohort(path, seed=3, sizes=SIZES)
    return path


def explained(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Share of the variance of both coordinates of a factor that a ridge regression predicts out of fold."""
    predicted = cross_val_predict(RidgeCV(np.logspace(-1, 5, 13)), (x - x.mean(0)) / x.std(0), y, cv=5)
    return float(1 - ((predicted - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum())


def test_each_factor_shows_in_its_own_modalities_only(folder: Path) -> None:
    truth = pd.read_csv(folder / "truth.csv", index_col="case_id")
    expression = pd.read_csv(folder / "expression.csv.gz", index_col="case_id").loc[truth.index].to_numpy()
    bags = {slide.removesuffix("-DX1"): path for slide, path in find_bags(folder / "features").items()}
    mean_tile = np.stack([Bag(bags[patient]).read().mean(axis=0) for patient in truth.index]).astype(np.float64)
    shown = {"shared": (True, True), "slide": (True, False), "expression": (False, True)}
    assert set(shown) == set(FACTORS)
    for factor, (in_slide, in_expression) in shown.items():
        values = truth[[f"{factor}_subtype", f"{factor}_survival"]].to_numpy()
        for x, visible in ((mean_tile, in_slide), (expression, in_expression)):
            share = explained(x, values)
            assert share > 0.25 if visible else share < 0.05, (factor, visible, share)


def test_subtype_and_survival_depend_on_every_factor() -> None:
    truth = draw_truth(SimulationSizes(patients=4000), seed=0)
    for part in range(len(FACTORS)):
        with_b = truth.factors[truth.subtype == "B", 2 * part].mean()
        assert with_b > truth.factors[truth.subtype == "A", 2 * part].mean() + 0.3
        high = truth.factors[:, 2 * part + 1] > 0
        assert truth.event[high].mean() > truth.event[~high].mean() + 0.05


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    sizes = SimulationSizes(patients=6, genes=5, tiles=(3, 5))
    for name in ("a", "b"):
        simulate_cohort(tmp_path / name, seed=5, sizes=sizes)
    simulate_cohort(tmp_path / "c", seed=6, sizes=sizes)
    table = {name: pd.read_csv(tmp_path / name / "clinical.csv") for name in "abc"}
    pd.testing.assert_frame_equal(table["a"], table["b"])
    assert not table["a"].equals(table["c"])
    bags = [find_bags(tmp_path / name / "features") for name in "ab"]
    assert list(bags[0]) == list(bags[1])
    for slide in bags[0]:
        np.testing.assert_array_equal(Bag(bags[0][slide]).read(), Bag(bags[1][slide]).read())
