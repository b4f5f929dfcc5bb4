"""The contact sheet of a run's prototypes: the tiles nearest to the largest of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mirror.artefacts import remove, write_aside
from mirror.data.cohort import Cohort
from mirror.data.feature_store import FeatureStore
from mirror.data.places import TilePlaces, tile_places
from mirror.explain.caption import Caption
from mirror.explain.overlay import Example, Shown, draw_sheet, png
from mirror.ids import SlideId
from mirror.workflow.opened_prototypes import RunPrototypes
from mirror.workflow.prototype_tiles import SLIDES_LOOKED, TILES_A_SLIDE, NearTile
from mirror.workflow.slide_looks import looks_of

if TYPE_CHECKING:
    from mirror.slides.manifest import SlideEntry

DRAWN = 8
"""Prototypes whose tiles are drawn; prototypes.json names those of all."""


def draw_prototypes(
    path: Path, one: RunPrototypes, entries: Mapping[SlideId, SlideEntry], cohort: Cohort, name: str
) -> dict[str, tuple[str, ...]]:
    """The contact sheet, of those tiles whose slide file and place are known; none of them, no sheet. What is wrong
    with a slide's file, by slide."""
    remove(path)  # an earlier call's may show what this one cannot
    told: dict[str, tuple[str, ...]] = {}
    sections: list[tuple[str, list[Example]]] = []
    store, side_um = FeatureStore(cohort.paths, keep_open=1), None
    for opened in one.prototypes[:DRAWN]:
        pictures: list[Example] = []
        for slide in dict.fromkeys(tile.slide for tile in opened.tiles):
            entry, places = entries.get(SlideId(slide)), tile_places(store.bag(slide))
            if entry is None or places is None:
                continue
            notes: list[str] = []
            looked = _looked_at([tile for tile in opened.tiles if tile.slide == slide], entry, places, notes)
            if notes:
                told[slide] = tuple(notes)
            if looked is not None:
                pictures += looked.examples
                side_um = looked.side_um
        if pictures:
            pictures.sort(key=lambda example: -example.value)
            patients, tested = len(opened.found.patients), opened.found.tested
            heading = f"prototype {opened.found.title}: {patients} patients, {tested} of them test patients"
            sections.append((heading, pictures))
    if not sections:
        return told
    values = np.array([example.value for _, examples in sections for example in examples])
    shown = Shown("closeness", values, "cosine of the tile with the prototype", signed=False)
    of = f"at most {TILES_A_SLIDE} tiles of a slide, of the {SLIDES_LOOKED} slides nearest to each"
    caption = Caption(
        f"{name}: tiles nearest to the {len(sections)} largest prototypes", (f"model of run {one.run}; {of}",)
    )
    with write_aside(path) as aside:
        aside.write_bytes(png(draw_sheet(sections, shown, caption, side_um=side_um)))
    return told


class _LookedAt(NamedTuple):
    """Tiles of one slide as they look, and their side in µm, None where the slide's scale is not known."""

    examples: list[Example]
    side_um: float | None


def _looked_at(near: Sequence[NearTile], entry: SlideEntry, places: TilePlaces, notes: list[str]) -> _LookedAt | None:
    """None where the file shows none of the tiles; why goes to `notes`."""
    otherwise = "there are no pictures of its tiles"
    looks = looks_of(entry, places, (tile.tile for tile in near), otherwise=otherwise, notes=notes)
    if looks is None:
        return None
    corners = (tuple(places.coords[tile.tile].tolist()) for tile in near)
    examples = [
        Example(looks.tiles[corner], tile.tile, tile.closeness, tile.slide)
        for corner, tile in zip(corners, near, strict=True)
    ]
    return _LookedAt(examples, None if looks.mpp is None else places.side * looks.mpp)
