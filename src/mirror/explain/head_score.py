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


class Unjudged(NamedTuple):
    """A head that no test patient can judge, and why; it may know nothing, as one that judges by chance."""

    why: str

    @property
    def beats_chance(self) -> bool:
        """Never: what is not judged is not sure."""
        return False

    @property
    def told(self) -> str:
        """The same in words."""
        return f"not judged: {self.why}"


def head_score(target: Target, table: PatientTable, fold: Fold, *, seed: int) -> HeadScore | Unjudged | None:
    """The score of a head on the fold's test patients who have what it reads and an outcome; `Unjudged` where there are
    none, or the number is undefined: nobody of a class, no two patients who can be ordered.

    None of a target that no outcome is known for (agreement, embedding).
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
        frame = frame.assign(time=table.time[rows], event=table.event[rows].astype(np.float64))
        known = frame["time"].notna()
    else:
        metric, name = "auroc", target.name.removeprefix(CLASS)
        own = class_codes(table)[rows]
        frame = frame.assign(label=np.where(own == table.classes.index(name), name, _REST))
        frame[PROBABILITY + _REST], frame[PROBABILITY + name] = -frame["risk"], frame["risk"]
        known = own >= 0
    judging = frame[known].dropna()
    if judging.empty:
        return Unjudged(_nobody(len(frame), int(known.sum())))
    found = pooled_interval(judging, metric=metric, rng=rng_for(seed, "score of a head", fold.number))
    if np.isnan(found.estimate):
        return Unjudged(_undefined(target, judging))
    return HeadScore(metric, found.estimate, found.low, found.high, len(judging))


def _nobody(patients: int, known: int) -> str:
    if not known:
        return f"no outcome is known of any of {patients} test patients"
    return f"none of the {known} test patients with a known outcome has what it reads"


def _undefined(target: Target, judging: pd.DataFrame) -> str:
    """Of patients whose outcomes tell nothing apart."""
    if target.name == RISK:
        return f"no two of {len(judging)} test patients with known survival can be ordered by it"
    name = target.name.removeprefix(CLASS)
    which = "all" if (judging["label"] == name).all() else "none"
    return f"{which} of {len(judging)} test patients with a known class are {name}"
