"""Ways in which a server may misbehave, each a function of one request, put in front of the sound archive."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mirror.acquire.settings import TransferConfig
from mirror.simulate.archive import Archive, Content, Handler, Served

BODY = np.random.default_rng(0).bytes(1_500_000)
PATH = "/gdc/data/one"
QUICK = TransferConfig(workers=3, connect_timeout=5, read_timeout=5, attempts=4, backoff=0.01, backoff_most=0.05)
"""A file that a server has, and a client whose patience is short."""

Fault = Callable[[Handler, Served | None], None]


class BadArchive(Archive):
    """An archive whose next answers about a path are the faults that were queued for it; sound when none is left."""

    def __init__(self, content: Content) -> None:
        super().__init__(content, BadHandler)
        self.queue: dict[str, deque[Fault]] = defaultdict(deque)
        self.always: dict[str, Fault] = {}
        self.lock = threading.Lock()

    def once(self, path: str, *faults: Fault) -> None:
        """The next requests for `path` meet these, one each."""
        self.queue[path].extend(faults)

    def asked(self, path: str, method: str = "GET") -> list[dict[str, str]]:
        """The headers of all requests for `path`, by their names in lower case."""
        return [
            {name.lower(): value for name, value in headers.items()}
            for verb, target, headers in self.requests
            if target.split("?")[0] == path and verb == method
        ]


class BadHandler(Handler):
    server: BadArchive  # pyright: ignore[reportIncompatibleVariableOverride]

    def misbehaves(self, path: str) -> bool:
        if self.command == "HEAD" and self.server.always.get(path) is not refuses_head:
            return False
        with self.server.lock:
            queue = self.server.queue.get(path)
            fault = queue.popleft() if queue else self.server.always.get(path)
        if fault is None:
            return False
        fault(self, self.server.content.files.get(path))
        return True


def says(status: int, **headers: str) -> Fault:
    """Another status, with these headers (underscores stand for dashes)."""

    def fault(handler: Handler, served: Served | None) -> None:
        del served
        handler.say(status, {"message": "no"}, {name.replace("_", "-"): value for name, value in headers.items()})

    return fault


def answers(document: Any) -> Fault:
    """Another document."""

    def fault(handler: Handler, served: Served | None) -> None:
        del served
        handler.say(200, document)

    return fault


def cuts(after: int) -> Fault:
    """The connection ends in the middle."""

    def fault(handler: Handler, served: Served | None) -> None:
        assert served is not None
        handler.send_served(served, most=after)

    return fault


def ignores_range(handler: Handler, served: Served | None) -> None:
    """The whole file, whatever was asked for."""
    assert served is not None
    handler.send_served(served, ranges=False)


def other_bytes(handler: Handler, served: Served | None) -> None:
    """A file of the same length with another content."""
    assert served is not None
    handler.send_served(Served(bytes(255 - byte for byte in served.read(0, served.size)), served.etag, served.modified))


def stalls(after: int, until: threading.Event) -> Fault:
    """Part of the file, and the rest of it when something else has happened."""

    def fault(handler: Handler, served: Served | None) -> None:
        assert served is not None
        handler.send_response(200)
        handler.send_header("Content-Length", str(served.size))
        for name, value in (("ETag", served.etag), ("Last-Modified", served.modified)):
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(served.read(0, after))
        until.wait(60)
        handler.wfile.write(served.read(after, served.size))

    return fault


def trickles(piece: int, pause: float) -> Fault:
    """The file in small pieces, slowly, but without an end of patience in between."""

    def fault(handler: Handler, served: Served | None) -> None:
        assert served is not None
        handler.send_response(200)
        handler.send_header("Content-Length", str(served.size))
        handler.end_headers()
        for start in range(0, served.size, piece):
            handler.wfile.write(served.read(start, min(start + piece, served.size)))
            time.sleep(pause)

    return fault


def waits_for_company(barrier: threading.Barrier) -> Fault:
    """The file, once as many requests as the barrier wants are there together."""

    def fault(handler: Handler, served: Served | None) -> None:
        assert served is not None
        barrier.wait(30)
        handler.send_served(served)

    return fault


def wrong_range(handler: Handler, served: Served | None) -> None:
    """Partial content, but of another place than was asked for."""
    assert served is not None
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes 0-{served.size - 1}/{served.size}")
    handler.send_header("Content-Length", str(served.size))
    handler.end_headers()
    handler.wfile.write(served.read(0, served.size))


def redirects(target: str, status: int = 302) -> Fault:
    """The file is elsewhere."""
    return says(status, Location=target)


def refuses_head(handler: Handler, served: Served | None) -> None:
    """No HEAD; the rest as asked."""
    if handler.command == "HEAD":
        handler.say(405, {"message": "method not allowed"})
    else:
        assert served is not None
        handler.send_served(served)


@contextmanager
def serving(content: Content) -> Generator[BadArchive]:
    with BadArchive(content) as archive:
        yield archive
