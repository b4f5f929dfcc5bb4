"""The server of `mirror view`: on this machine alone, read-only, and nothing can be asked for but what it was given.

Names come in the query and are looked up in fixed lists, so no request becomes a path. The host's name is checked,
against pages elsewhere that let their own name point here; the browser is told to load nothing from anywhere else.
"""

from __future__ import annotations

import json
import math
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import resources
from itertools import chain
from typing import Any

import numpy as np
import uvicorn
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mirror.data.places import TilePlaces, tile_places
from mirror.errors import ConfigError, DataError, MirrorError
from mirror.slides.deep_zoom import DeepZoom, Place
from mirror.viewer.contents import Contents, Unknown
from mirror.viewer.maps import map_of
from mirror.viewer.patient import Patients
from mirror.viewer.relevance import Relevance
from mirror.viewer.tiles import Tiles, open_store

HOST = "127.0.0.1"
NEAREST, MOST_NEAREST = 12, 100
TILE_PX = 128
EMPTY = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
"""The hash of no text: an element of style may be empty, which keeps OpenSeadragon from adding one with rules."""
SAY_EVERY = 0.25
"""Seconds between two words on how far a search is."""
HEADERS = {
    "content-security-policy": f"default-src 'self'; style-src 'self' {EMPTY}; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


def application(contents: Contents) -> Starlette:
    """The page and its data, as an ASGI application."""
    parts = _Parts(contents)
    data: dict[str, Callable[[Request], Response]] = {
        "/data/cohort": parts.cohort,
        "/data/map": parts.map,
        "/data/patient": parts.patient,
        "/data/slide": parts.slide,
        "/data/layer": parts.layer,
        "/data/explain": parts.explain,
        "/data/similar": parts.similar,
        "/data/nearest": parts.nearest,
        "/picture/piece": parts.piece,
        "/picture/tile": parts.tile,
    }
    files = dict(_static_files())
    files["/"] = files.pop("/index.html")
    routes = [Route(path, _plainly(answer), methods=["GET"]) for path, answer in data.items()]
    routes += [Route(path, partial(_file, content=content), methods=["GET"]) for path, content in files.items()]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(_Guard),
            Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False),
        ],
    )


def serve(contents: Contents, *, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `ready` gets the page's address as soon as it can be opened.

    A `port` of 0 takes any free one. Raises `ConfigError` when the port is taken.
    """
    app = application(contents)
    # With its protocol named, or asyncio leaves it to Nagle's algorithm, which keeps every answer back for 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((HOST, port))
            taken.listen(128)
        except OSError as error:
            raise ConfigError(f"port {port} cannot be used ({error.strerror}); name another with --port") from error
        ready(f"http://{HOST}:{taken.getsockname()[1]}/")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none"
        )
        uvicorn.Server(config).run(sockets=[taken])


class _Parts:
    """An answer a kind of question. Each runs in a thread of its own: reading a slide keeps nobody else waiting."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._patients = Patients(contents)
        self._relevance = Relevance(contents)
        self._zoom = DeepZoom(contents.files)
        self._tiles = Tiles(open_store(contents.cohort.paths), contents.owners)

    def cohort(self, _: Request) -> Response:
        contents, people = self._contents, self._contents.cohort.patients
        patients = [
            {
                "name": str(name),
                "label": None if label is None or label != label else str(label),
                "slides": contents.slides_of[str(name)],
                "expression": bool(known),
            }
            for name, label, known in zip(people.index, people["label"], people["has_expression"], strict=True)
        ]
        return _json(
            {
                "name": contents.name,
                "preset": contents.preset,
                "runs": list(contents.runs),
                "patients": patients,
                "survival": self._patients.curve,
                "pictures": [slide for slide in contents.owners if slide in self._zoom],
            }
        )

    def map(self, request: Request) -> Response:
        asked = request.query_params
        return _json(map_of(self._contents, self._contents.run(asked.get("run", "")), asked.get("view", "")))

    def patient(self, request: Request) -> Response:
        return _json(self._patients.known(request.query_params.get("name", "")))

    def slide(self, request: Request) -> Response:
        name = self._slide(request)
        places, unplaced = self._places(name)
        picture, reason = None, "no slide file: name their folder with --slides"
        if name in self._zoom:
            try:
                picture, reason = self._zoom.pyramid(name)._asdict(), None
            except MirrorError as error:
                reason = str(error)
        return _json(
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
                "layers": [one._asdict() for one in self._relevance.layers(name)],
                "can_explain": self._relevance.can_make,
                "command": shlex.join(["mirror", "explain", "slide", str(self._contents.config), "--slide", name]),
            }
        )

    def layer(self, request: Request) -> Response:
        name = self._slide(request)
        key = request.query_params.get("layer", "")
        return _json({"values": _rounded(self._relevance.values(name, key, self._tiles.bag(name).tiles))})

    def explain(self, request: Request) -> Response:
        name = self._slide(request)
        self._relevance.make(name)
        return _json({"layers": [one._asdict() for one in self._relevance.layers(name)]})

    def similar(self, request: Request) -> Response:
        return _json({"values": _rounded(self._tiles.similar(self._slide(request), _whole(request, "tile")))})

    def nearest(self, request: Request) -> Response:
        name, tile = self._slide(request), _whole(request, "tile")
        count = min(_whole(request, "count", NEAREST), MOST_NEAREST)
        others = request.query_params.get("others", "1") == "1"
        steps = self._tiles.nearest(name, tile, count=max(1, count), others=others)
        first = next(steps)  # what is wrong with the question is said before the answer begins

        def lines() -> Iterator[str]:
            try:
                said = time.monotonic()
                for step in chain([first], steps):
                    if step.done == step.of or time.monotonic() - said >= SAY_EVERY:
                        said = time.monotonic()
                        yield _line(step._asdict())
            except MirrorError as error:
                yield _line({"error": str(error)})

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    def piece(self, request: Request) -> Response:
        level, column, row = (_whole(request, name) for name in ("level", "column", "row"))
        return _jpeg(self._zoom.piece(self._pictured(request), level, column, row))

    def tile(self, request: Request) -> Response:
        name, tile = self._pictured(request), _whole(request, "tile")
        places, _ = self._places(name)
        if places is None or not 0 <= tile < len(places.coords):
            raise Unknown(f"slide '{name}' has no tile {tile} whose place is known")
        x, y = (int(one) for one in places.coords[tile])
        return _jpeg(self._zoom.square(name, Place(x, y, round(places.side)), px=TILE_PX))

    def _places(self, name: str) -> tuple[TilePlaces | None, str | None]:
        """Where the slide's tiles lie, or why nobody knows."""
        try:
            found = tile_places(self._tiles.bag(name))
        except DataError as error:
            return None, str(error)
        return found, None if found else "the tiles of this slide have no coordinates"

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


class _Guard:
    """Headers on every answer, also on refusals; nothing but GET and HEAD is answered at all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        app = self._app
        if scope["method"] not in ("GET", "HEAD"):
            app = JSONResponse({"error": "this page can only be read"}, 405, headers={"allow": "GET, HEAD"})
        await app(scope, receive, with_headers)


def _plainly(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """`answer`, with its refusals as statuses: 404 for what is not there, 400 for what is no question."""

    def answered(request: Request) -> Response:
        try:
            return answer(request)
        except (Unknown, IndexError) as error:
            return _json({"error": str(error)}, 404)
        except _NoQuestion as error:
            return _json({"error": str(error)}, 400)
        except MirrorError as error:
            return _json({"error": str(error)}, 409)

    return answered


class _NoQuestion(ValueError):
    """A request that cannot be read."""


def _whole(request: Request, name: str, otherwise: int | None = None) -> int:
    given = request.query_params.get(name)
    if given is None and otherwise is not None:
        return otherwise
    if given is None or not given.isascii() or not given.isdigit() or len(given) > 9:
        raise _NoQuestion(f"`{name}` must be a whole number")
    return int(given)


def _static_files() -> Iterator[tuple[str, Response]]:
    """The page's own files, read once: a request finds one of them or nothing."""
    for entry in sorted(resources.files("mirror.viewer").joinpath("static").iterdir(), key=lambda one: one.name):
        kind = next((kind for ending, kind in _KINDS.items() if entry.name.endswith(ending)), None)
        if kind is not None:
            yield f"/{entry.name}", Response(entry.read_bytes(), headers={"content-type": kind})


def _file(_: Request, *, content: Response) -> Response:
    return Response(
        content.body, headers={"content-type": content.headers["content-type"], "cache-control": "no-cache"}
    )


def _json(content: Any, status: int = 200) -> Response:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})


def _jpeg(content: bytes) -> Response:
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _line(content: dict[str, Any]) -> str:
    if "nearest" in content:
        content = {**content, "nearest": [one._asdict() for one in content["nearest"]]}
    return json.dumps(content, allow_nan=False) + "\n"


def _rounded(values: NDArray[np.float32]) -> list[float | None]:
    """Five digits are more than any eye sees; NaN becomes null."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values.tolist()]
