"""What is refused whoever asks, and what browsers are told to refuse.

The page is only read, but for `EXPLAIN`. Other pages may lead to it, but what it asks for is answered to it alone:
browsers say whose page a request is of. They are told to load nothing from anywhere else.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

EMPTY = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
"""The hash of no text: an element of style may be empty, which keeps OpenSeadragon from adding one with rules."""
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


class Guard:
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
