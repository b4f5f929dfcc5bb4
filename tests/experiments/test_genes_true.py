"""The experiment on planted genes comes out as docs/explain.md says, under the presets that take minutes or less."""

from __future__ import annotations

import pytest

from mirror.explain.offered_genes import PASSED
from project_scripts import load_script


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["mirror", "alignment-only"])
def test_planted_genes_lead_are_needed_and_random_sets_are_not_called(preset: str) -> None:
    load_script("experiments/retention_proof")  # its presets are this experiment's too
    script = load_script("experiments/genes_true")
    for line in script.study(preset, patients=400, seed=0):
        assert line["recall"] >= PASSED, line
        assert line["leading"] < line["random"] - 0.05, line
        assert abs(line["shuffled_all"]) < 0.4, line
        assert line["planted_q"] < 0.05 and line["q_found"] <= 1, line
