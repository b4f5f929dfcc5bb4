"""The server of `mirror view`: on this machine alone, read-only, and nothing can be asked for but what it was given.

Names come in the query and are looked up in fixed lists, so no request becomes a path. The host's name is checked,
against pages elsewhere that let their own name point here; guard.py has what else is refused.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from mirror.errors import ConfigError
from mirror.viewer.contents import Contents
from mirror.viewer.guard import Guard
from mirror.viewer.routes import Answers

HOST = "127.0.0.1"


def application(answers: Answers) -> Starlette:
    """The page and its data, as an ASGI application."""
    return Starlette(
        routes=answers.routes(),
        middleware=[
            Middleware(Guard),
            Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False),
        ],
    )


def serve(contents: Contents, *, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `ready` gets the page's address as soon as it can be opened.

    A terminal that is closed and a plain `kill` are taken for Ctrl-C, so that what was made on demand goes with the
    page. A `port` of 0 takes any free one. Raises `ConfigError` when the port is taken.
    """
    answers = Answers(contents)
    app = application(answers)
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
        threading.Thread(target=answers.prepare, daemon=True).start()
        ready(f"http://{HOST}:{taken.getsockname()[1]}/")
        uvicorn.Server(config).run(sockets=[taken])
