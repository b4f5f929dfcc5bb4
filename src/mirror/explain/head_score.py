"""How well a head judges patients whom nothing was fitted on: heat can be no better than the head it is of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from mirror.evaluation.bootstrap import pooled_interval
from mirror.evaluation.fitted import class_codes
from mirror.evaluation.representations import PatientTable
from mirror.evaluation.weighted import PROBABILITY
from mirror.explain.targets import CLASS, RISK, Target
from mirror.seeding import rng_for
from mirror.types import Fold

_REST = ""
_CALLED = {"auroc": "AUROC", "c_index": "c-index"}


class HeadScore(NamedTuple):
    """`metric` of `mirror.evaluation.metrics`: `auroc` of the class against all others, or `c_index` of the risk, with
    its 95 % interval over `patients` of the test half, drawn again; 0.5 is chance."""

    metric: str
    value: float
    low: float
    high: float
    patients: int

    @property
    def beats_chance(self) -> bool:
        """Whether the interval lies above 0.5."""
        return self.low > 0.5

    @property
    def told(self) -> str:
        """The score in words."""
        interval = f"({self.low:.2f} to {self.high:.2f})"
        return f"{_CALLED[self.metric]} {self.value:.2f} {interval} on {self.patients} test patients"


def head_score(target: Target, table: PatientTable, fold: Fold, *, seed: int) -> HeadScore | None:
    """The score of a head on the fold's test patients who have what it reads and an outcome.

    None of a target that no outcome is known for (agreement, embedding), and where the number is undefined: nobody of a
    class, no two patients who can be ordered.
    """
    if not target.name.startswith(CLASS) and target.name != RISK:
        return None
    patients = sorted(fold.test)
    rows = table.rows(patients)
    with torch.no_grad():
        numbers = target.value({f"X_{name}": torch.from_numpy(view[rows]) for name, view in table.views.items()})
    frame = pd.DataFrame({"fold": fold.number, "seed": seed, "draw": 0, "patient": patients, "risk": numbers.numpy()})
    if target.name == RISK:
        metric = "c_index"
        frame = frame.assign(time=table.time[rows], event=table.event[rows].astype(np.float64)).dropna()
    else:
        metric, name = "auroc", target.name.removeprefix(CLASS)
        own = class_codes(table)[rows]
        frame = frame.assign(label=np.where(own == table.classes.index(name), name, _REST))
        frame[PROBABILITY + _REST], frame[PROBABILITY + name] = -frame["risk"], frame["risk"]
        frame = frame[own >= 0].dropna()
    if frame.empty:
        return None
    found = pooled_interval(frame, metric=metric, rng=rng_for(seed, "score of a head", fold.number))
    if np.isnan(found.estimate):
        return None
    return HeadScore(metric, found.estimate, found.low, found.high, len(frame))
