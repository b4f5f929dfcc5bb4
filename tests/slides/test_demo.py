"""`mirror demo --slides`, the real command: from pyramidal slides to the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest


@pytest.mark.slow
@pytest.mark.timeout(3600)  # four minutes of processor time
def test_the_demo_goes_from_slides_to_a_report_in_which_their_texture_tells_the_subtype(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mirror", "demo", "--slides", "--output", str(tmp_path / "demo")]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ended.returncode == 0, ended.stderr
    assert_demonstrated(tmp_path / "demo")


def assert_demonstrated(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "extracted" / "slides.jsonl").read_text().splitlines()]
    failed = {line["slide"]: line["error"] for line in lines if line["state"] == "failed"}
    assert list(failed) == ["SIM-LOST-DX1"] and "breaks off" in failed["SIM-LOST-DX1"]
    done = {line["slide"] for line in lines if line["state"] == "done"}
    assert len(done) == len(lines) - 1 > 120
    assert {path.stem for path in (folder / "extracted" / "features").glob("*.h5")} == done
    assert (folder / "run" / "report.html").stat().st_size > 0
    scores = pd.read_parquet(folder / "run" / "scores.parquet")
    auroc = scores[(scores["protocol"] == "linear") & (scores["metric"] == "auroc")]
    of_slides = auroc[auroc["representation"] == "raw_slide"].groupby("fold")["value"].mean()
    assert len(of_slides) == 3 and of_slides.mean() > 0.6  # a slide without its factors has 0.5
