"""What can be looked at, gathered by the view stage before the server starts; nothing else can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from mirror.data.cohort import Cohort
from mirror.evaluation.metrics import Floats
from mirror.types import Fold

PROTOCOLS = ("cox", "linear")
"""Whose predictions are shown: of survival and of the label."""


class Unknown(LookupError):
    """A name that is not among those that can be asked for."""


@dataclass(frozen=True, eq=False)
class ShownRun:
    """A finished run: its name, such as `seed0/fold1`, its fold and seed, the fingerprint of its model, the file of its
    embeddings, and what reads the prototypes (P, K) of its model, None where it has learned none."""

    name: str
    seed: int
    fold: Fold
    model: str
    embeddings: Path
    prototypes: Callable[[], Floats | None]

    def role_of(self, patient: str) -> str:
        """`test`, `train`, or `neither` where the patient had no part in this fold."""
        return "test" if patient in self._test else "train" if patient in self._train else "neither"

    @cached_property
    def _test(self) -> frozenset[str]:
        return frozenset(map(str, self.fold.test))

    @cached_property
    def _train(self) -> frozenset[str]:
        return frozenset(map(str, self.fold.train))


@dataclass(frozen=True, eq=False)
class Contents:
    """`runs` by name, the first one shown first; `predictions` of `PROTOCOLS` as `mirror evaluate` left them of these
    runs as they are trained now, None without them.

    `sites` title -> patient -> site. `files` the slides that can be opened, by name; `explained` the folder of
    `mirror explain`, which need not exist; `made_in` another one that takes what `explain`, of a slide's name, makes on
    demand (None where it cannot); `offered` whether any method has passed for models of this kind; `config` the
    configuration's file, for the commands that the page names.
    """

    name: str
    preset: str
    cohort: Cohort
    runs: Mapping[str, ShownRun]
    predictions: pd.DataFrame | None
    sites: Mapping[str, Mapping[str, str]]
    files: Mapping[str, Path]
    explained: Path
    made_in: Path
    explain: Callable[[str], object] | None
    offered: bool
    config: Path

    def run(self, name: str) -> ShownRun:
        """The run of that name. Raises `Unknown`."""
        if name not in self.runs:
            raise Unknown(f"there is no run '{name}'")
        return self.runs[name]

    def judged_in(self, patient: str) -> ShownRun | None:
        """The first run in which the patient is a test patient: what it says of this patient it has not learned."""
        return next((run for run in self.runs.values() if run.role_of(patient) == "test"), None)

    @cached_property
    def folds(self) -> dict[str, int]:
        """Patient -> the fold that judges it."""
        return {str(patient): fold.number for fold in reversed(self.cohort.folds) for patient in fold.test}

    @cached_property
    def owners(self) -> dict[str, str]:
        """Slide -> patient."""
        return self.cohort.owners

    @cached_property
    def slides_of(self) -> dict[str, list[str]]:
        """Patient -> slides."""
        found: dict[str, list[str]] = {str(patient): [] for patient in self.cohort.patients.index}
        for slide, patient in self.owners.items():
            found[patient].append(slide)
        return found
