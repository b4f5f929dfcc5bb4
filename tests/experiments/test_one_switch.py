"""Rows of a sweep are held against the compared one on the same folds, by retrieval and by what each part holds."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import yaml

from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.sweep import load_sweep, resolve_sweep
from project_scripts import load_script


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    """The script as a module."""
    return load_script("experiments/one_switch")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of the default preset, trained and untrained, and of the published one on 30 simulated patients."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate_cohort(folder, seed=3, sizes=SimulationSizes(patients=30, genes=20, tile_features=8, tiles=(3, 6)))
    model = {"components": 4, "hidden": 8, "prototypes": 4, "tail": 4}
    small = {"width": 8, "slide_heads": 2, "expression_heads": 2, "attention": "exact", "style_hidden": 8}
    rows = {
        "mirror": {"preset": "mirror", "model": model, "pretraining": {"tiles": 4, "epochs": 2, "learning_rate": 0.01}},
        "start": {"preset": "mirror", "model": model, "pretraining": {"tiles": 4, "epochs": 0}},
        "published": {"preset": "published", "model": small, "pretraining": {"tiles": 4, "epochs": 1}},
    }
    content = {
        "name": "switches",
        "output": "runs",
        "cohorts": ["demo.yaml"],
        "compared": "mirror",
        "evaluation": {"shots": 3, "draws": 2, "inner_folds": 2},
        "rows": rows,
    }
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def test_every_row_has_its_retrieval_its_parts_and_the_difference_to_the_compared_one_once_measured(
    experiment: ModuleType, sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (cohort,) = resolve_sweep(load_sweep(sweep))
    lines = experiment.measure(dict(cohort.rows), [0, 1])
    parts = ["shared", "slide private", "expression private"]
    assert list(lines.columns) == ["row", "seed", "fold", "recall@10", *parts]
    assert lines["recall@10"].between(0, 1).all()
    by_row = lines.set_index(["row", "fold"])
    assert by_row.loc[["mirror", "start"], parts].notna().all(axis=None)
    assert by_row.loc["published", parts].isna().all(axis=None)  # a model without parts
    assert not np.allclose(by_row.loc["mirror", parts], by_row.loc["start", parts])
    experiment.print_table("demo", lines, "mirror")
    printed = dict(line[2:].split(" | ", 1) for line in capsys.readouterr().out.splitlines() if " | " in line)
    moved = by_row.loc["start", "recall@10"] - by_row.loc["mirror", "recall@10"]
    assert printed["mirror"].split(" | ")[1] == ""
    assert printed["start"].split(" | ")[1] == f"{moved.mean():+.3f} ± {moved.sem():.3f}"
    monkeypatch.setattr(experiment, "judge", refused)  # what was judged is not judged again
    pd.testing.assert_frame_equal(experiment.measure(dict(cohort.rows), [0, 1]), lines)
    start = cohort.rows["start"]
    other = start.model_copy(update={"evaluation": start.evaluation.model_copy(update={"draws": 1})})
    with pytest.raises(AssertionError, match="judged"):  # but under another question
        experiment.measure({"start": other}, [0])


def refused(*_: object) -> None:
    raise AssertionError("judged")
