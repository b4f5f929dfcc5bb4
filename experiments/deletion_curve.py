"""What a target loses when the tiles that relevance puts first are taken out of a slide, beside as many random ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from planted_slides import Slide
from scipy.stats import wilcoxon

from mirror.evaluation.metrics import Floats
from mirror.explain.relevance import Model, Subject, target_value
from mirror.explain.targets import Target
from mirror.seeding import rng_for

REMOVED = (0.05, 0.1, 0.2, 0.4, 0.6)
"""Shares of the tiles that are taken out, along the deletion curve."""
TESTED = REMOVED.index(0.2)
DRAWS = 10


class Deletion(NamedTuple):
    """What a target loses without the shares `REMOVED` of its top tiles, and without as many random ones, in standard
    deviations of it; and the p of the former being more, at the share that is tested."""

    top: Floats
    chance: Floats
    p: float

    def as_json(self) -> dict[str, Any]:
        """With lists in the place of arrays."""
        return {"top": self.top.tolist(), "random": self.chance.tolist(), "p": self.p}


NOTHING_REMOVED = Deletion(*(np.full(len(REMOVED), np.nan) for _ in range(2)), float("nan"))


def removed(model: Model, slides: Sequence[Slide], target: Target, found: Sequence[Floats]) -> Deletion:
    """The deletion curve of a target, mean over slides."""
    rng = rng_for(0, "removed")
    top, chance, values = list[Floats](), list[Floats](), list[float]()
    for slide, scores in zip(slides, found, strict=True):
        subject = slide.subject
        whole = target_value(model, subject, target)
        values.append(whole)
        top.append(whole - without_first(model, subject, target, np.argsort(-scores)))
        drawn = [whole - without_first(model, subject, target, rng.permutation(len(scores))) for _ in range(DRAWS)]
        chance.append(np.mean(drawn, axis=0))
    more = (np.array(top) - np.array(chance))[:, TESTED]
    p = float(wilcoxon(more, alternative="greater").pvalue) if more.any() else 1.0
    return Deletion(np.mean(top, axis=0) / np.std(values), np.mean(chance, axis=0) / np.std(values), p)


def without_first(model: Model, subject: Subject, target: Target, order: NDArray[np.intp]) -> Floats:
    """The target's value of a slide without the first tiles of `order`, a number a share of `REMOVED`."""
    counts = (max(1, round(share * len(order))) for share in REMOVED)
    left = (subject._replace(tiles_TD=np.delete(subject.tiles_TD, order[:count], axis=0)) for count in counts)
    return np.array([target_value(model, some, target) for some in left])
