"""The contact sheet of a run's prototypes: the tiles nearest to the largest of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mirror.artefacts import remove, write_aside
from mirror.data.cohort import Cohort
from mirror.data.feature_store import FeatureStore
from mirror.data.places import places_or_reason
from mirror.explain.caption import Caption
from mirror.explain.overlay import Example, Picture, Shown, draw_sheet, png
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
    drawn = one.prototypes[:DRAWN]
    seen, told = _seen([tile for opened in drawn for tile in opened.tiles], entries, cohort)
    sections: list[tuple[str, list[Example]]] = []
    for opened in drawn:
        there = [tile for tile in opened.tiles if tile.slide in seen]
        if there:
            patients, tested = len(opened.found.patients), opened.found.tested
            heading = f"prototype {opened.found.title}: {patients} patients, {tested} of them test patients"
            examples = [Example(seen[at.slide].tiles[at.tile], at.tile, at.closeness, at.slide) for at in there]
            sections.append((heading, examples))
    if not sections:
        return told
    values = np.array([example.value for _, examples in sections for example in examples])
    shown = Shown("closeness", values, "cosine of the tile with the prototype", signed=False)
    of = f"at most {TILES_A_SLIDE} tiles of a slide, of the {SLIDES_LOOKED} slides nearest to each"
    caption = Caption(
        f"{name}: tiles nearest to the {len(sections)} largest prototypes", (f"model of run {one.run}; {of}",)
    )
    sides = [looked.side_um for looked in seen.values()]
    with write_aside(path) as aside:
        aside.write_bytes(png(draw_sheet(sections, shown, caption, sides_um=sides)))
    return told


class _Seen(NamedTuple):
    """Tiles of one slide as they look, by their row in its features, and their side in um, None where the slide's
    scale is not known."""

    tiles: dict[int, Picture]
    side_um: float | None


def _seen(
    near: Sequence[NearTile], entries: Mapping[SlideId, SlideEntry], cohort: Cohort
) -> tuple[dict[str, _Seen], dict[str, tuple[str, ...]]]:
    """By slide its tiles among `near`, each file opened once; and what is wrong with a file. A slide whose file is
    not known, or that shows none of its tiles, is missing."""
    store, otherwise = FeatureStore(cohort.paths, keep_open=1), "there are no pictures of its tiles"
    seen: dict[str, _Seen] = {}
    told: dict[str, tuple[str, ...]] = {}
    for slide in dict.fromkeys(tile.slide for tile in near):
        entry = entries.get(SlideId(slide))
        if entry is None:
            continue
        places, reason = places_or_reason(store.bag(slide))
        if places is None:
            told[slide] = (f"{reason}: {otherwise}",)
            continue
        rows = {tile.tile for tile in near if tile.slide == slide}
        notes: list[str] = []
        looks = looks_of(entry, places, rows, otherwise=otherwise, notes=notes)
        if notes:
            told[slide] = tuple(notes)
        if looks is not None:
            tiles = {row: looks.tiles[places.corner(row)] for row in rows}
            seen[slide] = _Seen(tiles, None if looks.mpp is None else places.side * looks.mpp)
    return seen, told
