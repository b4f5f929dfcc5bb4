"""The slides and the tiles nearest to a prototype of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import anndata
import numpy as np
import torch

from mirror.data.feature_store import FeatureStore
from mirror.data.places import places_or_reason
from mirror.evaluation.embed import NO_SLIDE
from mirror.evaluation.metrics import Floats
from mirror.evaluation.prototypes import unit_rows
from mirror.nn.canonical import CanonicalMirror

SLIDES_LOOKED, TILES, TILES_A_SLIDE = 8, 12, 3
"""Of a prototype, the slides nearest to it that are searched for tiles, the tiles named, and those of one slide."""


class NearTile(NamedTuple):
    """A tile near a prototype: its row in the feature file, its place in level-0 px where known, and the cosine of the
    slide that it alone would be with the prototype."""

    slide: str
    tile: int
    x: int | None
    y: int | None
    closeness: float


def nearest_slides(embeddings: anndata.AnnData, names: Sequence[str], direction: Floats) -> list[str]:
    """The slides of the patients `names`, the nearest to the prototype in `direction` (K,) first."""
    obs = embeddings.obs
    wanted = obs["patient"].astype(str).isin(set(names)).to_numpy()
    wanted &= ~np.array([str(slide).startswith(NO_SLIDE) for slide in obs.index])
    views = np.asarray(embeddings.obsm["X_align_slide"], dtype=np.float64)[wanted]
    closeness = unit_rows(views) @ unit_rows(direction[None])[0]
    order = np.argsort(-closeness, kind="stable")
    return [str(slide) for slide in obs.index[wanted][order]]


@torch.no_grad()
def near_tiles(model: CanonicalMirror, store: FeatureStore, slides: Sequence[str], direction: Floats) -> list[NearTile]:
    """Of the first `SLIDES_LOOKED` slides the tiles nearest to the prototype in `direction` (K,), nearest first."""
    unit = unit_rows(direction[None])[0]
    found: list[NearTile] = []
    for slide in slides[:SLIDES_LOOKED]:
        bag = store.bag(slide)
        tiles_TD = torch.from_numpy(bag.read())
        embedded = model.embed_slide(tiles_TD[:, None])
        nothing = torch.full((len(tiles_TD), model.expression_width), torch.nan)
        views = model.views(embedded, nothing)["X_align_slide"].double().numpy()
        closeness = unit_rows(views) @ unit
        places, _ = places_or_reason(bag)  # why there are none is told by the pictures
        for row in np.argsort(-closeness, kind="stable")[:TILES_A_SLIDE]:
            x, y = (None, None) if places is None else places.corner(row)
            found.append(NearTile(slide, int(row), x, y, float(closeness[row])))
    return sorted(found, key=lambda tile: -tile.closeness)[:TILES]
