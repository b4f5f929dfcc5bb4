"""A small run to look at, and the real command that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from looked_at import BARE, EXPLAINED, GRID, NAKED, PICTURED, PLAIN, TILE_PX, explain
from served import served
from typer.testing import CliRunner

from mirror.cli.app import app
from mirror.data.feature_file import BagFacts, write_bag
from mirror.seeding import rng_for
from mirror.simulate.cohort import SimulationSizes, simulate_cohort
from mirror.simulate.scans import MPP, draw_scan, tumour_of, write_scan
from mirror.viewer.contents import Contents
from mirror.workflow.view import view

SIZES = SimulationSizes(patients=30, genes=20, tile_features=12, tiles=(6, 12), without_expression=0.2)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a finished run: two slides have files and coordinates, one layers. Not to be changed."""
    folder = tmp_path_factory.mktemp("looked_at")
    simulate_cohort(folder, seed=1, sizes=SIZES)
    rng = rng_for(0, "looked at")
    corners = np.stack(np.unravel_index(np.arange(GRID * GRID), (GRID, GRID)), axis=1)[:, ::-1] * TILE_PX
    facts = BagFacts(encoder="simulated", mpp=0.5, tile_px=512, tile_level0_px=TILE_PX, slide_mpp=MPP)
    for slide in PICTURED:
        features = rng.standard_normal((GRID * GRID, SIZES.tile_features)).astype(np.float32)
        write_bag(folder / "features" / f"{slide}.h5", features, coords=corners, facts=facts)
        image = draw_scan(tumour_of(rng.standard_normal(4)), GRID * TILE_PX, rng)
        write_scan(folder / "scans" / f"{slide}.tif", image, mpp=MPP)
    for slide in (NAKED, PLAIN):
        features = rng.standard_normal((9, SIZES.tile_features)).astype(np.float32)
        facts = BagFacts(encoder="simulated", mpp=0.5, tile_px=512)
        write_bag(folder / "features" / f"{slide}.h5", features, facts=facts)
    write_scan(folder / "scans" / f"{PLAIN}.tif", image, mpp=MPP)
    assert (folder / "features" / f"{BARE}.h5").exists()
    config = folder / "demo.yaml"
    text = config.read_text().replace("components: 16", "components: 6").replace("count: 3", "count: 2")
    small = "evaluation: {components: [4], shots: 3, draws: 2, inner_folds: 2}"
    config.write_text(text.replace("{tiles: 48}", "{tiles: 12, epochs: 1}") + f"\n{small}\n")
    for stage in ("cohort", "pretrain", "embed", "evaluate"):
        done = CliRunner().invoke(app, [stage, str(config)])
        assert done.exit_code == 0, done.output
    explain(config, EXPLAINED)
    return config


@pytest.fixture(scope="session")
def contents(run: Path) -> Iterator[Contents]:
    """What can be looked at of the run, without the slide files."""
    with view(run, slides=None) as found:
        yield found


@pytest.fixture(scope="session")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address at which the real command shows the run; ended by a plain `kill`, it leaves nothing behind."""
    made = tmp_path_factory.mktemp("made")
    with served(run, run.parent / "scans", made) as address:
        yield address
        assert list(made.iterdir())
    assert list(made.iterdir()) == []
