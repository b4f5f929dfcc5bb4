"""A tiny cohort on disk, made anew for each test that spoils a part of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mirror.config import CohortConfig


@dataclass(frozen=True)
class Tiny:
    """The files of a cohort in `folder`, and the tables in them as they were written."""

    folder: Path
    slides: pd.DataFrame
    expression: pd.DataFrame
    clinical: pd.DataFrame

    def write(self, name: str, table: pd.DataFrame) -> Path:
        """Put another table in the place of `slides`, `expression` or `clinical`."""
        path = self.folder / f"{name}.csv"
        table.to_csv(path, index=False)
        return path

    def bag(self, slide: str, features: torch.Tensor) -> Path:
        """Put other features in the place of a slide's."""
        path = self.folder / "features" / f"{slide}.pt"
        torch.save(features, path)
        return path

    def config(self, **changes: dict[str, Any] | None) -> CohortConfig:
        """The configuration of the cohort; a section given as None is left out, any other is changed."""
        sections: dict[str, dict[str, Any]] = {
            "features": {"path": self.folder / "features"},
            "slides": {"path": self.folder / "slides.csv"},
            "expression": {
                "path": self.folder / "expression.csv",
                "orientation": "patients_in_rows",
                "units": "log2(TPM + 1)",
            },
            "clinical": {
                "path": self.folder / "clinical.csv",
                "label": "subtype",
                "time": "months",
                "event": "dead",
                "event_convention": "one_is_event",
            },
            "folds": {"count": 3},
        }
        for name, change in changes.items():
            if change is None:
                del sections[name]
            else:
                sections[name] |= change
        return CohortConfig.model_validate(sections)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Tiny]:
    """Write a cohort of `patients`, each with 5 genes and a slide of 7 tiles of width 4; patient 0 has two slides."""

    def make(patients: int = 12) -> Tiny:
        rng = np.random.default_rng(7)
        names = [f"P{number:02d}" for number in range(patients)]
        slides = pd.DataFrame({"slide_id": ["S00b", *(f"S{n[1:]}" for n in names)], "case_id": ["P00", *names]})
        values = rng.gamma(4, size=(patients, 5)).round(3)
        expression = pd.DataFrame(values, columns=[f"GENE{n}" for n in range(5)])
        expression.insert(0, "case_id", names)
        clinical = pd.DataFrame(
            {
                "case_id": names,
                "subtype": ["A" if number % 2 else "B" for number in range(patients)],
                "months": rng.integers(1, 60, patients),
                "dead": [number % 3 == 0 for number in range(patients)],
            }
        ).astype({"dead": int})
        (tmp_path / "features").mkdir()
        made = Tiny(tmp_path, slides, expression, clinical)
        for name in ("slides", "expression", "clinical"):
            made.write(name, getattr(made, name))
        for slide in slides["slide_id"]:
            made.bag(slide, torch.tensor(rng.normal(size=(7, 4)), dtype=torch.float32))
        return made

    return make


@pytest.fixture
def write_folds(tmp_path: Path) -> Callable[[Any], Path]:
    """Write something as a JSON file of folds."""

    def write(content: Any) -> Path:
        path = tmp_path / "folds.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write
