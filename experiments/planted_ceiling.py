"""What relevance could reach at best on planted tiles: rankings of tiles that are told more than any head knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from planted_slides import Areas, Slide, areas, factor_behind
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mirror.evaluation.metrics import Floats
from mirror.explain.pattern import Seen, as_tiles_say
from mirror.seeding import rng_for

PAIRS = 60
"""Tiles inside and outside of the tumour that are compared, of each training slide."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)


def told_the_truth(train: Sequence[Slide], slides: list[Slide], target: str) -> Areas:
    """Of a linear ranking of tiles that is told all of training slides, by the best of `PENALTIES`."""
    rng, pairs = rng_for(0, "pairs"), list[Floats]()
    scale = StandardScaler().fit(np.concatenate([slide.subject.tiles_TD for slide in train]))
    for slide in train:
        factor, tiles = slide.behind(target), scale.transform(slide.subject.tiles_TD)
        if abs(factor) >= 1.0:
            inside, outside = (rng.choice(np.flatnonzero(one), PAIRS) for one in (slide.inside, slide.outside))
            pairs.append(np.sign(factor) * (tiles[inside] - tiles[outside]))
    x = np.concatenate([*pairs, *(-one for one in pairs)])
    y = np.repeat([1, 0], len(x) // 2)
    found: list[Areas] = []
    for penalty in PENALTIES:
        ranking = LogisticRegression(C=penalty, fit_intercept=False, max_iter=2000).fit(x, y).coef_[0]
        scores = [scale.transform(slide.subject.tiles_TD) @ ranking for slide in slides]
        found.append(areas(slides, target, scores))
    return max(found)


def of_true_factor(slides: list[Slide], target: str, seen: Seen, truth: pd.DataFrame) -> Areas:
    """Of the method `pattern` with the true factor in the place of the head's number."""
    factor = factor_behind(target, truth.loc[list(seen.fitted_on)]).to_numpy()
    return areas(slides, target, [as_tiles_say(slide.subject.tiles_TD, seen, factor) for slide in slides])
