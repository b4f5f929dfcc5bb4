"""What a reader opens of an explained slide: overlays, contact sheets, QuPath's GeoJSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mirror.artefacts import write_aside, write_text
from mirror.data.places import TilePlaces
from mirror.explain import geojson, overlay
from mirror.explain.head_score import HeadScore
from mirror.workflow.slide_layers import Layer
from mirror.workflow.slide_looks import looks_of

if TYPE_CHECKING:
    from mirror.slides.looks import Looks
    from mirror.slides.manifest import SlideEntry

EMPTY_MAP = "the heat is drawn on an empty map, and there are no pictures of tiles"
"""What is done without a slide file."""
EXAMPLES = 12
"""Tiles on the contact sheet, of most and of least relevance each."""


class Drawn(NamedTuple):
    """Names of the files, and the level-0 px (x, y) that GeoJSON counts from, None where it had to be guessed as (0, 0)
    because no slide file could be asked."""

    files: list[str]
    origin: tuple[int, int] | None


def draw_layers(
    folder: Path,
    slide: str,
    layers: Sequence[Layer],
    places: TilePlaces,
    entry: SlideEntry | None,
    *,
    model: str,
    notes: list[str],
) -> Drawn:
    """Write GeoJSON, overlays and contact sheets to `folder`.

    `model` says of whom and by what the layers were made; what cannot be drawn goes to `notes`.
    """
    shown = [layer.shown for layer in layers]
    chosen = [_examples(one) for one in shown]
    looks = _looks(slide, entry, places, [row for pair in chosen for part in pair for row in part], notes)
    origin = None if looks is None else looks.origin
    collection = geojson.tile_objects(
        slide,
        places,
        {_told(layer): layer.found.values.astype(np.float32) for layer in layers},
        shown=_told(layers[0]),
        colours=overlay.colours_of(shown[0]),
        meaning=shown[0].meaning,
        origin=origin or (0, 0),
    )
    files = ["relevance.geojson"]
    write_text(folder / files[0], geojson.as_text(collection))
    if looks is None:
        canvas = overlay.empty_canvas(places)
    else:
        canvas = overlay.Canvas(looks.image, looks.size, places.mpp or looks.mpp)
    written: list[Future[None]] = []
    # One picture is compressed and written while the next is drawn; drawing itself is for one thread.
    with ThreadPoolExecutor(1) as writer:
        for layer, one, name, rows in zip(layers, shown, file_names(shown), chosen, strict=True):
            head = [f"head: {layer.score.told}"] if isinstance(layer.score, HeadScore) else []
            lines, warnings = (model, _by(layer), *head), [warned.told for warned in layer.warnings]
            caption = overlay.Caption(f"{slide}: {layer.name}", lines, warnings)
            files.append(f"overlay-{name}.png")
            drawn = overlay.draw_overlay(canvas, places, one, caption)
            written.append(writer.submit(_write, folder / files[-1], drawn))
            if looks is not None:
                top, bottom = (_pictured(part, looks, places, one) for part in rows)
                side = None if canvas.mpp is None else places.side * canvas.mpp
                files.append(f"tiles-{name}.png")
                drawn = overlay.draw_examples(top, bottom, one, caption, side_um=side)
                written.append(writer.submit(_write, folder / files[-1], drawn))
    for one in written:
        one.result()  # what could not be written is told here
    return Drawn(files, origin)


def _told(layer: Layer) -> str:
    """A layer's name among measurements, which leave the page that warns of it."""
    return layer.name if layer.unproven is None else f"{layer.name} (UNPROVEN)"


def _by(layer: Layer) -> str:
    """The method, and the number that a picture is of."""
    warned = "" if layer.unproven is None else " (UNPROVEN)"
    return "; ".join(filter(None, (f"method {layer.method}{warned}", layer.number)))


class _Rows(NamedTuple):
    """Rows of the tiles to show."""

    top: list[int]
    bottom: list[int]


def _examples(shown: overlay.Shown) -> _Rows:
    """The highest tiles and as many of the lowest, no tile twice; with a sign, those above zero and those below."""
    order = np.argsort(-shown.values, kind="stable").tolist()
    each = min(EXAMPLES, len(order) // 2)
    top, bottom = order[:each], order[::-1][:each]
    if not shown.signed:
        return _Rows(top, bottom)
    return _Rows([row for row in top if shown.values[row] > 0], [row for row in bottom if shown.values[row] < 0])


def _looks(
    slide: str, entry: SlideEntry | None, places: TilePlaces, rows: Iterable[int], notes: list[str]
) -> Looks | None:
    """What the slide file shows, or None with notes; where it is not known, the caller says so."""
    from mirror.slides.manifest import may_have_bounds

    shifted = (
        "GeoJSON counts from the corner of the whole canvas, as no slide file could be asked: if this slide has bounds "
        "(.mrxs, .scn and .bif may), QuPath shows the tiles shifted by them; give the file with --slides"
    )
    looks = None if entry is None else looks_of(entry, places, rows, otherwise=EMPTY_MAP, notes=notes)
    if looks is None and may_have_bounds(slide if entry is None else entry.path):
        notes.append(shifted)
    return looks


def _pictured(rows: Iterable[int], looks: Looks, places: TilePlaces, shown: overlay.Shown) -> list[overlay.Example]:
    return [overlay.Example(looks.tiles[places.corner(row)], row, float(shown.values[row])) for row in rows]


def file_names(shown: Sequence[overlay.Shown]) -> list[str]:
    """A name fit for a file for each layer, no two alike."""
    names: list[str] = []
    for one in shown:
        plain = re.sub(r"[^\w.-]+", "-", one.name)
        names.append(plain if plain not in names else f"{plain}-{len(names)}")
    return names


def _write(path: Path, picture: overlay.Picture) -> None:
    with write_aside(path) as aside:
        aside.write_bytes(overlay.png(picture))
