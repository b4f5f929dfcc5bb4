"""The server of `mirror view`: on this machine alone, read-only, and nothing can be asked for but what it was given.

Names come in the query and are looked up in fixed lists, so no request becomes a path. The host's name is checked,
against pages elsewhere that let their own name point here. Other pages may lead to this one, but what it asks for is
answered to it alone: browsers say whose page a request is of. They are told to load nothing from anywhere else.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from importlib import resources
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import uvicorn
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mirror.data.places import TilePlaces, places_or_reason
from mirror.errors import ConfigError, MirrorError
from mirror.slides.deep_zoom import DeepZoom, Place
from mirror.viewer.contents import Contents, Unknown
from mirror.viewer.maps import VIEWS, by_gene, genes_like, map_of
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
EXPLAIN = "/data/explain"
"""The one question that starts work and leaves something behind, as long as the page is there; so it is no GET."""
KEPT, NOT_KEPT = {"cache-control": "max-age=31536000, immutable"}, {"cache-control": "no-store"}
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}


def application(parts: Parts) -> Starlette:
    """The page and its data, as an ASGI application."""
    data: dict[str, Callable[[Request], Response]] = {
        "/data/cohort": parts.cohort,
        "/data/map": parts.map,
        "/data/genes": parts.genes,
        "/data/gene": parts.gene,
        "/data/patient": parts.patient,
        "/data/slide": parts.slide,
        "/data/layer": parts.layer,
        "/data/similar": parts.similar,
        "/data/nearest": parts.nearest,
        "/picture/piece": parts.piece,
        "/picture/tile": parts.tile,
    }
    routes = [Route(path, _plainly(answer), methods=["GET"]) for path, answer in data.items()]
    routes.append(Route(EXPLAIN, _plainly(parts.explain), methods=["POST"]))
    routes += [Route(path, partial(_same, file), methods=["GET"]) for path, file in static_files().items()]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(_Guard),
            Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False),
        ],
    )


def serve(contents: Contents, *, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `ready` gets the page's address as soon as it can be opened.

    A terminal that is closed and a plain `kill` are taken for Ctrl-C, so that what was made on demand goes with the
    page. A `port` of 0 takes any free one. Raises `ConfigError` when the port is taken.
    """
    parts = Parts(contents)
    app = application(parts)
    # With its protocol named, or asyncio leaves it to Nagle's algorithm, which keeps every answer back for 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((HOST, port))
            taken.listen(128)
        except OSError as error:
            raise ConfigError(f"port {port} cannot be used ({error.strerror}); name another with --port") from error
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none"
        )
        config.load()  # its parts take a third of a second, which nobody waits for while a browser starts
        for told in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(told, signal.default_int_handler)
        threading.Thread(target=parts.prepare, daemon=True).start()
        ready(f"http://{HOST}:{taken.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[taken])


class Parts:
    """An answer a kind of question about `contents`.

    Each runs in a thread of its own: reading a slide keeps nobody else waiting.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._patients = Patients(contents)
        self._relevance = Relevance(contents)
        self._zoom = DeepZoom(contents.files)
        self._tiles = Tiles(open_store(contents.cohort.paths), contents.owners)
        self._map = lru_cache(maxsize=16)(self._fresh_map)
        self._one_map = threading.Lock()
        self._pictures = lru_cache(maxsize=None)(self._has_pictures)

    def prepare(self) -> None:
        """Make what the page asks for first, before it does."""
        contents = self._contents
        patient, slides = next(iter(contents.slides_of.items()))
        with suppress(MirrorError):  # whoever asks for it is told
            self._map_told(next(iter(contents.runs)), VIEWS[0])
            self._patients.known(patient)
            if slides and slides[0] in self._zoom:
                self._zoom.piece(slides[0], self._zoom.pyramid(slides[0]).least_level, 0, 0)

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
                "pictures": len(contents.files),
            }
        )

    def map(self, request: Request) -> Response:
        asked = request.query_params
        told = self._map_told(asked.get("run", ""), asked.get("view", ""))
        return Response(told, media_type="application/json", headers=NOT_KEPT)

    def _map_told(self, run: str, view: str) -> bytes:
        with self._one_map:  # the second to ask for a map waits for the first instead of making it again
            return self._map(run, view)

    def _fresh_map(self, run: str, view: str) -> bytes:
        return bytes(_json(map_of(self._contents, self._contents.run(run), view)).body)

    def genes(self, request: Request) -> Response:
        return _json({"genes": genes_like(self._contents, request.query_params.get("like", ""))})

    def gene(self, request: Request) -> Response:
        return _json(by_gene(self._contents, request.query_params.get("name", "")))

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
        return _json({"values": _rounded(self._relevance.values(name, key, self._tiles.bag(name).tiles))})

    def explain(self, request: Request) -> Response:
        name = self._slide(request)
        places, unplaced = self._places(name)
        if places is None:
            raise Unknown(f"nothing can be laid over slide '{name}': {unplaced}")
        self._relevance.make(name)
        return _json(self._explained(name))

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
                        near = [{**one._asdict(), "pictured": self._pictures(one.slide)} for one in step.nearest]
                        yield _line({"done": step.done, "of": step.of, "nearest": near})
            except MirrorError as error:
                yield _line({"error": str(error)})

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    def piece(self, request: Request) -> Response:
        level, column, row = (_whole(request, name) for name in ("level", "column", "row"))
        with _there():
            return _jpeg(self._zoom.piece(self._pictured(request), level, column, row))

    def tile(self, request: Request) -> Response:
        name, tile = self._pictured(request), _whole(request, "tile")
        places, _ = self._places(name)
        if places is None or not 0 <= tile < len(places.coords):
            raise Unknown(f"slide '{name}' has no tile {tile} whose place is known")
        x, y = (int(one) for one in places.coords[tile])
        with _there():
            return _jpeg(self._zoom.square(name, Place(x, y, round(places.side)), px=TILE_PX))

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


class _Guard:
    """Headers on every answer, also on refusals.

    Nothing but GET and HEAD is answered (and POST to `EXPLAIN`), and to other pages nothing but the page itself.
    """

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
        starts_work = scope["method"] == "POST" and scope["path"] == EXPLAIN
        if scope["method"] not in ("GET", "HEAD") and not starts_work:
            app = JSONResponse({"error": "this page can only be read"}, 405, headers={"allow": "GET, HEAD"})
        elif scope["path"] != "/" and _from_elsewhere(Headers(scope=scope)):
            app = JSONResponse({"error": "this is answered to its own page alone"}, 403)
        await app(scope, receive, with_headers)


def _from_elsewhere(headers: Headers) -> bool:
    """True of what another page asks for, be it of another server on this machine; False of what no page asks for."""
    origin = headers.get("origin")
    own = f"http://{headers.get('host', '')}"
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none") or (origin or own) != own


def _plainly(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """`answer`, with its refusals as statuses: 404 for what is not there, 400 for what is no question."""

    def answered(request: Request) -> Response:
        try:
            return answer(request)
        except Unknown as error:
            return _json({"error": str(error)}, 404)
        except _NoQuestion as error:
            return _json({"error": str(error)}, 400)
        except MirrorError as error:
            return _json({"error": str(error)}, 409)

    return answered


@contextmanager
def _there() -> Generator[None]:
    """A piece or square that a slide does not have is `Unknown`; any other `IndexError` is a mistake of ours."""
    try:
        yield
    except IndexError as error:
        raise Unknown(str(error)) from error


class _NoQuestion(ValueError):
    """A request that cannot be read."""


def _whole(request: Request, name: str, otherwise: int | None = None) -> int:
    given = request.query_params.get(name)
    if given is None and otherwise is not None:
        return otherwise
    if given is None or not given.isascii() or not given.isdigit() or len(given) > 9:
        raise _NoQuestion(f"`{name}` must be a whole number")
    return int(given)


def static_files() -> dict[str, Response]:
    """The page's own files by their paths, read once: a request finds one of them or nothing.

    All but the page itself lie in a folder named after their content, so that a browser need never ask for them again.
    """
    found = resources.files("mirror.viewer").joinpath("static").iterdir()
    files = {one.name: one.read_bytes() for one in sorted(found, key=lambda one: one.name) if one.is_file()}
    digest = hashlib.sha256(b"".join(files.values())).hexdigest()[:12]
    page = files.pop("index.html").replace(b"static/", f"/{digest}/".encode())
    told = {
        f"/{digest}/{name}": Response(content, headers=KEPT, media_type=kind)
        for name, content in files.items()
        if (kind := _KINDS.get(PurePosixPath(name).suffix)) is not None
    }
    return {"/": Response(page, headers={"cache-control": "no-cache"}, media_type="text/html"), **told}


async def _same(file: Response, _: Request) -> Response:
    return file


def _json(content: Any, status: int = 200) -> Response:
    return JSONResponse(content, status, headers=NOT_KEPT)


def _jpeg(content: bytes) -> Response:
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _line(content: dict[str, Any]) -> str:
    return json.dumps(content, allow_nan=False) + "\n"


def _rounded(values: NDArray[np.float32]) -> list[float | None]:
    """Five digits are more than any eye sees; NaN becomes null."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values.tolist()]
