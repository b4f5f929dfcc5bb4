"""Slides of simulated patients of which it is known which tiles are tumour, and how well relevance finds those.

Legend: T tiles.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mirror.data.feature_store import FeatureStore
from mirror.data.places import tile_places
from mirror.evaluation.metrics import Floats, auroc
from mirror.explain.relevance import Subject
from mirror.explain.targets import AGREEMENT, EMBEDDING, Target
from mirror.simulate.planted import planted_share
from mirror.workflow.explained import ExplainedRun

WHOLE = 0.9
"""Share of tumour from which on a tile is wholly tumour, and of anything else from which on it is wholly not."""


class Slide(NamedTuple):
    """A slide, how much of each of its tiles is tumour (T,), and the patient's factors by name."""

    subject: Subject
    share: Floats
    factors: pd.Series

    @property
    def planted(self) -> NDArray[np.bool_]:
        """Tiles that are tumour by half or more (T,)."""
        return self.share >= 0.5

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Tiles that are hardly anything else than tumour (T,)."""
        return self.share >= WHOLE

    @property
    def outside(self) -> NDArray[np.bool_]:
        """Tiles that are hardly tumour (T,)."""
        return self.share <= 1 - WHOLE

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Tiles that are the one or the other (T,): all but those on the tumour's border."""
        return self.inside | self.outside

    def behind(self, target: str) -> float:
        """The factor behind a target, as far as it shows in slides; positive where there is more of the target."""
        return factor_behind(target, self.factors)


def factor_behind(target: str, factors: Any) -> Any:
    """Of a patient's factors by name, or of a table of many, the one behind a target as far as slides show it."""
    if target == AGREEMENT:  # more of the shared factor, in either direction, agrees more
        return np.hypot(factors["shared_subtype"], factors["shared_survival"])
    if target == EMBEDDING:  # whatever shows in slides
        return np.hypot(factor_behind("class:B", factors), factor_behind("risk", factors))
    part = "survival" if target == "risk" else "subtype"
    visible = factors[f"shared_{part}"] + factors[f"slide_{part}"]
    return -visible if target == "class:A" else visible


def true_factors(folder: Path) -> pd.DataFrame:
    """The factors of every patient of the simulated cohort in `folder`."""
    return pd.read_csv(folder / "truth.csv", index_col="case_id")


def slides_of(run: ExplainedRun, folder: Path, count: int, *, half: Literal["train", "test"] = "test") -> list[Slide]:
    """The first slides of the patients of one half, by name; those that have tiles inside and outside of the tumour."""
    truth = true_factors(folder)
    store, found = FeatureStore(run.cohort.paths), list[Slide]()
    for name, patient in zip(run.cohort.slides["slide"], run.cohort.slides["patient"], strict=True):
        if patient in getattr(run.fold, half) and len(found) < count:
            bag = store.bag(name)
            places = tile_places(bag)
            assert places is not None
            share = planted_share(folder, name, places.coords, places.side)
            slide = Slide(Subject(bag.read(), run.profiles.get(patient), run.mean_tile), share, truth.loc[patient])
            if slide.inside.any() and slide.outside.any():
                found.append(slide)
    return found


def readable(slides: Iterable[Slide], target: Target | None) -> list[Slide]:
    """The slides whose patients have what a target reads; no target reads the slide alone."""
    alone = target is None or target.representation == "slide"
    return [slide for slide in slides if alone or slide.subject.profile_G is not None]


def planted(slides: Iterable[Slide], target: str | None, found: Iterable[Floats], *, whole: bool = False) -> float:
    """Mean AUROC of relevance for planted tiles over the slides that carry the factor; of `whole` tiles alone."""
    areas = list[float]()
    for slide, values in zip(slides, found, strict=True):
        factor = 1.0 if target is None else slide.behind(target)
        if abs(factor) >= 1.0:
            scores = np.stack([-values, values], axis=1) * np.sign(factor)
            some = slide.whole if whole else np.ones_like(slide.planted)
            areas.append(auroc(slide.planted[some].astype(int), scores[some]))
    return float(np.mean(areas))


class Areas(NamedTuple):
    """`planted` of all tiles, and of whole ones alone."""

    planted: float
    planted_whole: float


def areas(slides: list[Slide], target: str | None, found: list[Floats]) -> Areas:
    """Both of `found`, the relevance of each slide."""
    return Areas(planted(slides, target, found), planted(slides, target, found, whole=True))
