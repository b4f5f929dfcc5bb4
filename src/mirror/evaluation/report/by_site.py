"""How well it goes at each site: a model that reads the hospital fails where the hospital says nothing.

Predictions of several folds stand side by side, so subtypes are ranked by their probability, and survival by the place
of a risk among the risks of its fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from mirror.evaluation.bootstrap import LEVEL
from mirror.evaluation.metrics import Floats, c_index
from mirror.evaluation.weighted import PROBABILITY
from mirror.seeding import rng_for

FEWEST = 5
"""Patients of the rarer class, or events, that a site needs to be judged."""
SHOWN = 12
RESAMPLES = 300


class SiteScore(NamedTuple):
    """`value` with its 95 % interval of one site: AUROC or c-index; `counts` says of how many of what."""

    site: str
    patients: int
    counts: str
    value: float
    low: float
    high: float


def subtype_by_site(predictions: pd.DataFrame, sites: Mapping[str, str], *, seed: int) -> list[SiteScore]:
    """AUROC at the `SHOWN` largest sites that can be judged, of two classes, or of the commonest against the others.

    `predictions` of one representation under one protocol, mean probability over seeds and draws; `sites` by patient.
    """
    known = predictions.dropna(subset=["label"])
    counts = known.drop_duplicates("patient")["label"].value_counts()
    if len(counts) < 2:
        return []
    of = str(counts.index[-1] if len(counts) == 2 else counts.index[0])
    people = known.groupby("patient").agg(p=(f"{PROBABILITY}{of}", "mean"), label=("label", "first"))
    people = people.assign(site=people.index.map(dict(sites)), case=people["label"] == of).dropna(subset=["site"])
    found: list[SiteScore] = []
    for site, part in people.groupby("site"):
        case, p = part["case"].to_numpy(bool), part["p"].to_numpy(np.float64)
        if min(case.sum(), (~case).sum()) >= FEWEST:
            rng = rng_for(seed, "bootstrap", "sites", str(site))
            # A few of each class: drawn within classes, so that no drawing loses one.
            drawn = np.array([_area(p[case][a], p[~case][b]) for a, b in _draws(case, rng)])
            low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            said = f"{int(case.sum())} {of}"
            found.append(SiteScore(str(site), len(part), said, _area(p[case], p[~case]), float(low), float(high)))
    return _largest(found)


def survival_by_site(predictions: pd.DataFrame, sites: Mapping[str, str], *, seed: int) -> list[SiteScore]:
    """c-index at the `SHOWN` largest sites with `FEWEST` events."""
    known = predictions.dropna(subset=["risk", "time"])
    place = known.groupby(["seed", "fold"])["risk"].rank(pct=True)
    people = known.assign(place=place).groupby("patient")
    table = people.agg(place=("place", "mean"), time=("time", "first"), event=("event", "first"))
    table = table.assign(site=table.index.map(dict(sites))).dropna(subset=["site"])
    found: list[SiteScore] = []
    for site, part in table.groupby("site"):
        time, risk = (part[name].to_numpy(np.float64) for name in ("time", "place"))
        event = part["event"].astype(float).to_numpy() > 0.5
        value = c_index(time, event, risk)
        if event.sum() >= FEWEST and not np.isnan(value):
            rng = rng_for(seed, "bootstrap", "sites", str(site))
            rows = rng.integers(len(part), size=(RESAMPLES, len(part)))
            drawn = np.array([c_index(time[row], event[row], risk[row]) for row in rows])
            low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            found.append(SiteScore(str(site), len(part), f"{int(event.sum())} events", value, float(low), float(high)))
    return _largest(found)


def _draws(case: np.ndarray, rng: np.random.Generator):
    cases, controls = int(case.sum()), int((~case).sum())
    for _ in range(RESAMPLES):
        yield rng.integers(cases, size=cases), rng.integers(controls, size=controls)


def _area(cases: Floats, controls: Floats) -> float:
    over = cases[:, None] - controls
    return float(((over > 0) + 0.5 * (over == 0)).mean())


def _largest(found: list[SiteScore]) -> list[SiteScore]:
    return sorted(found, key=lambda one: (-one.patients, one.site))[:SHOWN]
