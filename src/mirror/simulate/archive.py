"""A server on this machine that answers as the sources of `mirror data` do: searches with filters and pages, files with
ranges, validators and redirects as they are documented. What it serves is put in by `simulate.sources`, or by a test.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from mirror.acquire.settings import HostsConfig

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Served:
    """A file that can be asked for: its bytes or where they lie. `token` is what a controlled one asks for."""

    body: bytes | Path
    etag: str | None = None
    modified: str | None = "Sat, 03 Sep 2016 12:00:00 GMT"
    token: str | None = None

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.stat().st_size

    def read(self, begin: int, end: int) -> bytes:
        """The bytes from `begin` up to `end`."""
        if isinstance(self.body, bytes):
            return self.body[begin:end]
        with self.body.open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)


@dataclass(slots=True)
class Content:
    """All that an archive knows. `files` by path (percent-decoded); `hits` of the GDC by endpoint, whole records of
    which a search gives back the fields it asks for; `documents` by path, with the arguments left aside."""

    release: str = "Data Release 45.0 - December 04, 2025"
    files: dict[str, Served] = field(default_factory=dict)
    hits: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)


class Handler(BaseHTTPRequestHandler):
    """One request. A test overrides `misbehaves`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes, and the second must not wait for an answer
    server: Archive  # pyright: ignore[reportIncompatibleVariableOverride]

    def misbehaves(self, path: str) -> bool:
        """Answer badly and return True; False lets the request be answered well."""
        del path
        return False

    def do_GET(self) -> None:
        """Answer a search, a document or a file."""
        path = unquote(urlsplit(self.path).path)
        self.server.note(self.command, self.path, dict(self.headers.items()))
        if not self.misbehaves(path):
            self.answer(path)

    def do_HEAD(self) -> None:
        """The headers of the same."""
        self.do_GET()

    def answer(self, path: str) -> None:
        """What a sound server says."""
        content, asked = self.server.content, parse_qs(urlsplit(self.path).query)
        if path == "/gdc/status":
            self.say(200, {"status": "OK", "tag": "8.5.0", "version": 1, "data_release": content.release})
        elif path.startswith("/gdc/") and path.removeprefix("/gdc/") in content.hits:
            self.say(200, _search(content.hits[path.removeprefix("/gdc/")], asked))
        elif path == "/intogen" and f"/intogen/{asked['file'][0]}" in content.files:
            self.send_served(content.files[f"/intogen/{asked['file'][0]}"])
        elif path in content.files:
            self.send_served(content.files[path])
        elif path in content.documents:
            found = content.documents[path]
            kind = asked.get("clinicalDataType", [""])[0]
            self.say(200, found[kind] if kind else found)
        else:
            self.say(404, {"message": f"{path} not found"})

    def say(self, status: int, document: Any, headers: Mapping[str, str] | None = None) -> None:
        """Answer with JSON."""
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_served(self, served: Served, *, ranges: bool = True, most: int | None = None) -> None:
        """Answer with a file, from where it is asked for; break off after `most` bytes."""
        if served.token is not None and self.headers.get("X-Auth-Token") != served.token:
            self.say(403, {"message": "You don't have access to the data"})
            return
        begin, end, whole = self._asked_range(served) if ranges else (0, served.size, True)
        if begin >= served.size and begin:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{served.size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200 if whole else 206)
        self.send_header("Content-Length", str(end - begin))
        self.send_header("Accept-Ranges", "bytes" if ranges else "none")
        if not whole:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{served.size}")
        for name, value in (("ETag", served.etag), ("Last-Modified", served.modified)):
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        stop = end if most is None else min(end, begin + most)
        for start in range(begin, stop, _PIECE):
            self.wfile.write(served.read(start, min(start + _PIECE, stop)))
        if stop < end:
            self.wfile.flush()
            self.close_connection = True

    def _asked_range(self, served: Served) -> tuple[int, int, bool]:
        """From, to, and whether that is the whole file because no range was asked for, or of another version."""
        text, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if text is None or (condition is not None and condition not in (served.etag, served.modified)):
            return 0, served.size, True
        first, last = text.removeprefix("bytes=").split("-")
        return int(first), min(int(last) + 1, served.size) if last else served.size, False

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Archive(ThreadingHTTPServer):
    """All sources on one port of this machine, while the `with` block lasts."""

    daemon_threads = True

    # A client that was cut off or went away is no fault of the server.
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""

    def __init__(self, content: Content, handler: type[Handler] = Handler) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.content = content
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def hosts(self) -> HostsConfig:
        """Where its sources are."""
        return HostsConfig(
            gdc=f"{self.url}/gdc",
            xena=f"{self.url}/xena",
            cbioportal=f"{self.url}/cbioportal",
            github_api=f"{self.url}/github",
            github_raw=f"{self.url}/raw",
            github_media=f"{self.url}/media",
            intogen=f"{self.url}/intogen",
        )

    def note(self, method: str, path: str, headers: dict[str, str]) -> None:
        """Keep what was asked, in order."""
        self.requests.append((method, path, headers))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


def gdc_file(body: bytes | Path, **record: Any) -> tuple[dict[str, Any], Served]:
    """A record of the GDC's `files` endpoint, with size and md5 of `body`, and the file itself."""
    served = Served(body)
    digest = hashlib.md5(served.read(0, served.size), usedforsecurity=False).hexdigest()
    return {"file_size": served.size, "md5sum": digest, "access": "open", **record}, served


def _search(records: list[dict[str, Any]], asked: Mapping[str, list[str]]) -> dict[str, Any]:
    filters = json.loads(asked["filters"][0]) if "filters" in asked else None
    found = [record for record in records if filters is None or _matches(record, filters)]
    start, size = int(asked.get("from", ["0"])[0]), int(asked.get("size", ["10"])[0])
    fields = [name.split(".") for name in asked["fields"][0].split(",")] if "fields" in asked else []
    page = [_only(record, fields) if fields else record for record in found[start : start + size]]
    pagination = {"count": len(page), "total": len(found), "size": size, "from": start}
    return {"data": {"hits": page, "pagination": pagination}, "warnings": {}}


def _matches(record: Mapping[str, Any], filters: Mapping[str, Any]) -> bool:
    if filters["op"] == "and":
        return all(_matches(record, part) for part in filters["content"])
    values = _values(record, filters["content"]["field"].split("."))
    return bool(set(values) & set(filters["content"]["value"]))


def _values(record: Any, path: list[str]) -> list[Any]:
    """All values at a dotted path; lists on the way are gone into."""
    if isinstance(record, list):
        return [value for one in record for value in _values(one, path)]
    if not path:
        return [record]
    return _values(record[path[0]], path[1:]) if isinstance(record, dict) and path[0] in record else []


def _only(record: Any, fields: list[list[str]]) -> Any:
    """The record with the fields asked for, as the API gives them back: absent ones are not there."""
    if isinstance(record, list):
        return [_only(one, fields) for one in record]
    if not isinstance(record, dict):
        return record
    below: dict[str, list[list[str]]] = {}
    for first, *rest in fields:
        below.setdefault(first, []).append(rest)
    return {
        name: record[name] if [] in rest else _only(record[name], rest)
        for name, rest in below.items()
        if name in record
    }
