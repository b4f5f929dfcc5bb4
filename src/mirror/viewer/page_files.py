"""The page itself and the files that it loads, which come with the package."""

from __future__ import annotations

import hashlib
from functools import partial
from importlib import resources
from pathlib import PurePosixPath

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

KEPT = {"cache-control": "max-age=31536000, immutable"}
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}


def page_routes() -> list[Route]:
    """A route a file."""
    return [Route(path, partial(_same, file), methods=["GET"]) for path, file in static_files().items()]


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
