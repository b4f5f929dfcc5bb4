"""What the page asks of a slide: where its tiles lie, its layers, its pictures, and which tiles are alike."""

from __future__ import annotations

import shlex
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from mirror.data.places import TilePlaces, places_or_reason
from mirror.errors import MirrorError
from mirror.slides.deep_zoom import DeepZoom, Place
from mirror.viewer.contents import Contents, Unknown
from mirror.viewer.query import whole_number
from mirror.viewer.relevance import Relevance
from mirror.viewer.responses import as_jpeg, as_json, as_line, rounded
from mirror.viewer.tiles import Tiles, open_store

NEAREST, MOST_NEAREST = 12, 100
TILE_PX = 128
SAY_EVERY = 0.25
"""Seconds between two words on how far a search is."""


class SlideAnswers:
    """An answer a kind of question about the slides of `contents`.

    Each runs in a thread of its own: reading a slide keeps nobody else waiting.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._relevance = Relevance(contents)
        self._zoom = DeepZoom(contents.files)
        self._tiles = Tiles(open_store(contents.cohort.paths), contents.owners)
        self._pictures = lru_cache(maxsize=None)(self._has_pictures)

    def prepare(self, slide: str) -> None:
        """Read the first picture of a slide that has a file, before it is asked for."""
        if slide in self._zoom:
            self._zoom.piece(slide, self._zoom.pyramid(slide).least_level, 0, 0)

    def slide(self, request: Request) -> Response:
        name = self._slide(request)
        places, unplaced = self._places(name)
        picture, reason = None, "no slide file: name their folder with --slides"
        if name in self._zoom:
            try:
                picture, reason = self._zoom.pyramid(name)._asdict(), None
            except MirrorError as error:
                reason = str(error)
        return as_json(
            {
                "slide": name,
                "patient": self._contents.owners[name],
                "tiles": self._tiles.bag(name).tiles,
                "picture": picture,
                "reason": reason,
                "x": None if places is None else places.coords[:, 0].tolist(),
                "y": None if places is None else places.coords[:, 1].tolist(),
                "side": None if places is None else places.side,
                "side_from": None if places is None else places.side_from,
                "mpp": None if places is None else places.mpp,
                "unplaced": unplaced,
                **self._explained(name),
                "offered": self._contents.offered,
                "command": shlex.join(self._command(name)),
            }
        )

    def _explained(self, name: str) -> dict[str, Any]:
        """The layers of a slide, what of them is not shown, and whether there are some to compute."""
        shown = self._relevance
        return {
            "layers": [one._asdict() for one in shown.layers(name)],
            "outdated": shown.outdated(name),
            "damaged": [
                {"file": one.file, "command": shlex.join([*self._command(name), "--run", one.run])}
                for one in shown.damaged(name)
            ],
            "can_explain": self._places(name)[0] is not None and shown.can_make(name),
        }

    def _command(self, name: str) -> list[str]:
        """What explains the slide, where no method has passed by those that have not."""
        command = ["mirror", "explain", "slide", str(self._contents.config), "--slide", name]
        return command if self._contents.offered else [*command, "--unproven"]

    def layer(self, request: Request) -> Response:
        name = self._slide(request)
        key = request.query_params.get("layer", "")
        return as_json({"values": rounded(self._relevance.values(name, key, self._tiles.bag(name).tiles))})

    def explain(self, request: Request) -> Response:
        name = self._slide(request)
        places, unplaced = self._places(name)
        if places is None:
            raise Unknown(f"nothing can be laid over slide '{name}': {unplaced}")
        self._relevance.make(name)
        return as_json(self._explained(name))

    def similar(self, request: Request) -> Response:
        return as_json({"values": rounded(self._tiles.similar(self._slide(request), whole_number(request, "tile")))})

    def nearest(self, request: Request) -> Response:
        name, tile = self._slide(request), whole_number(request, "tile")
        count = min(whole_number(request, "count", NEAREST), MOST_NEAREST)
        others = request.query_params.get("others", "1") == "1"
        steps = self._tiles.nearest(name, tile, count=max(1, count), others=others)
        first = next(steps)  # what is wrong with the question is said before the answer begins

        def lines() -> Iterator[str]:
            try:
                said = time.monotonic()
                for step in chain([first], steps):
                    if step.done == step.of or time.monotonic() - said >= SAY_EVERY:
                        said = time.monotonic()
                        near = [{**one._asdict(), "pictured": self._pictures(one.slide)} for one in step.nearest]
                        yield as_line({"done": step.done, "of": step.of, "nearest": near})
            except MirrorError as error:
                yield as_line({"error": str(error)})

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    def piece(self, request: Request) -> Response:
        level, column, row = (whole_number(request, name) for name in ("level", "column", "row"))
        with _there():
            return as_jpeg(self._zoom.piece(self._pictured(request), level, column, row))

    def tile(self, request: Request) -> Response:
        name, tile = self._pictured(request), whole_number(request, "tile")
        places, _ = self._places(name)
        if places is None or not 0 <= tile < len(places.coords):
            raise Unknown(f"slide '{name}' has no tile {tile} whose place is known")
        x, y = (int(one) for one in places.coords[tile])
        with _there():
            return as_jpeg(self._zoom.square(name, Place(x, y, round(places.side)), px=TILE_PX))

    def _places(self, name: str) -> tuple[TilePlaces | None, str]:
        """Where the slide's tiles lie, or why nobody knows."""
        return places_or_reason(self._tiles.bag(name))

    def _has_pictures(self, name: str) -> bool:
        """True where single tiles of the slide can be shown: it has a file, and their places are known."""
        return name in self._zoom and self._places(name)[0] is not None

    def _slide(self, request: Request) -> str:
        name = request.query_params.get("slide", "")
        if name not in self._contents.owners:
            raise Unknown(f"there is no slide '{name}'")
        return name

    def _pictured(self, request: Request) -> str:
        name = self._slide(request)
        if name not in self._zoom:
            raise Unknown(f"there is no file of slide '{name}'")
        return name


@contextmanager
def _there() -> Generator[None]:
    """A piece or square that a slide does not have is `Unknown`; any other `IndexError` is a mistake of ours."""
    try:
        yield
    except IndexError as error:
        raise Unknown(str(error)) from error
