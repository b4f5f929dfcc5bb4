"""The experiment on planted genes comes out as docs/explain.md says, under every preset."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.explain.offered_genes import PASSED
from project_scripts import load_script

TARGETS = {
    "mirror": ("class:B", "risk", "agreement"),
    "alignment-only": ("class:B", "risk", "agreement"),
    "published": ("class:B", "risk"),  # of the agreement a shuffled tensor takes as long as all of this
}


@pytest.mark.slow
@pytest.mark.parametrize("preset", list(TARGETS))
def test_planted_genes_lead_are_needed_and_random_sets_are_not_called(preset: str, tmp_path: Path) -> None:
    load_script("experiments/retention_proof")  # its presets are this experiment's too
    script = load_script("experiments/genes_true")
    for representation in ("expression", "fused"):
        about = {"representation": representation, "targets": TARGETS[preset], "keep": tmp_path}
        for line in script.study(preset, patients=400, seed=0, **about):
            assert line["recall"] >= PASSED, line
            assert line["leading"] < line["random"] - 0.05, line
            assert abs(line["shuffled_all"]) < 0.4, line
            assert line["planted_q"] < 0.05 and line["q_found"] <= 1, line
