"""Which slides the run of conftest.py has, and layers over one of them with a known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mirror.artefacts import write_json
from mirror.explain.head_score import HeadScore
from mirror.explain.warned import few, unlike, unsure
from mirror.explain.wording import meaning
from mirror.workflow.view import view

PICTURED = ("SIM-0000-DX1", "SIM-0001-DX1")
"""Slides with a file, and a grid of tiles on it."""
EXPLAINED = PICTURED[0]
"""Its layer `risk` is -32 ... 31 in order of tiles, its layer `attention` that of the left half of its tiles alone."""
BARE, NAKED = "SIM-0003-DX1", "SIM-0004-DX1"
"""A slide with coordinates and no file, and one with neither."""
PLAIN = "SIM-0005-DX1"
"""A slide with a file and no coordinates."""
PASSED_ON = "SIM-0006-DX1"
"""A slide with coordinates that nobody has explained; one test alone has layers of it computed."""
GRID, TILE_PX = 8, 64


def explain(config: Path, slide: str) -> Path:
    """Layers as `mirror explain slide` leaves them, of the run in which the slide's patient is a test patient:
    `risk` with three warnings, `attention` as an earlier version left it, which knew of none."""
    with view(config, slides=None) as contents:
        run = contents.judged_in(contents.owners[slide])
        assert run is not None
        path = contents.explained / run.name / "slides" / slide / "relevance.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    tiles = np.arange(GRID * GRID, dtype=np.int32)
    table = pd.DataFrame({"tile": tiles, "x": tiles % GRID * TILE_PX, "y": tiles // GRID * TILE_PX})
    table["risk"] = (tiles - GRID * GRID / 2).astype(np.float32)
    table["attention"] = np.where(tiles % GRID < GRID // 2, 1 / (1 + tiles), np.nan).astype(np.float32)
    table.to_parquet(path, index=False)
    risk = {"name": "risk", "method": "contributions", "unit": "log hazard", "representation": "fused", "signed": True}
    risk |= {"value": -0.73, "training_patients": [-0.5, 2.0]}
    risk |= {
        "at_means": 0.1,
        "from_slide": -0.5,
        "from_expression": -0.33,
        "head": {"metric": "c_index", "value": 0.64, "low": 0.49, "high": 0.77, "patients": 38},
        **meaning("risk", "contributions")._asdict(),
        "warnings": [
            unsure("risk", HeadScore("c_index", 0.64, 0.49, 0.77, 38))._asdict(),
            few("risk", 80)._asdict(),
            unlike("risk", -0.73, (-0.5, 2.0))._asdict(),
        ],
    }
    attention = {"name": "attention", "method": "attention", "unit": "share", "signed": False}
    write_json(path.with_suffix(".json"), {"slide": slide, "model": run.model, "layers": [risk, attention]})
    return path
