"""A small simulated cohort on disk and the job on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_job import write_config

from mirror.config import Config, load_config
from mirror.simulate.cohort import SimulationSizes, simulate_cohort


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with features, tables and demo.yaml of 40 simulated patients. Not to be written into."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate_cohort(folder, seed=1, sizes=SimulationSizes(patients=40, genes=30, tile_features=12, tiles=(8, 20)))
    return folder


@pytest.fixture
def job(simulated: Path, tmp_path: Path) -> Config:
    """The small job, its output in the test's own folder."""
    return load_config(write_config(simulated, tmp_path / "out"))
