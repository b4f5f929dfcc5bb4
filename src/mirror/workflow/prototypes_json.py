"""What prototypes.json has, of a run and of a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mirror.explain.parts import PartShares
from mirror.explain.prototypes import Association
from mirror.workflow.opened_prototypes import ExplainedPrototypes, RunPrototypes


def study_json(found: ExplainedPrototypes) -> dict[str, Any]:
    """What a study's runs have in common; each run's own prototypes.json has its prototypes."""
    return {
        "runs": [_facts(one) for one in found.runs],
        "tests": [_test_json(one) for one in found.tests],
        "parts": {run: [_share_json(one) for one in shares] for run, shares in found.parts.items()},
        "no_parts": found.no_parts,
        "notes": {slide: list(own) for slide, own in found.notes.items()},
    }


def run_json(one: RunPrototypes, tests: Sequence[Association], parts: Sequence[PartShares]) -> dict[str, Any]:
    """The prototypes of a run, with the `tests` and `parts` of that run alone."""
    return {
        **_facts(one),
        "prototypes": [
            {
                **opened.found._asdict(),
                "genes": [shift._asdict() for shift in opened.found.genes],
                "slides": opened.slides,
                "tiles": [tile._asdict() for tile in opened.tiles],
                "best_match_over_seeds": opened.match_seeds,
                "best_match_over_folds": opened.match_folds,
            }
            for opened in one.prototypes
        ],
        "tests": [_test_json(test) for test in tests],
        "parts": [_share_json(share) for share in parts],
    }


def _facts(one: RunPrototypes) -> dict[str, Any]:
    return {
        "run": str(one.run),
        "coverage": one.coverage._asdict(),
        "adjusted_rand_over_seeds": one.rand_seeds,
        "adjusted_rand_over_folds": one.rand_folds,
    }


def _share_json(one: PartShares) -> dict[str, Any]:
    return {"of": one.of, "patients": one.patients, **{name: _number(share) for name, share in one.shares.items()}}


def _test_json(one: Association) -> dict[str, Any]:
    return {name: _number(value) for name, value in one._asdict().items()}


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
