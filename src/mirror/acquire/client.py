"""Asking a source over HTTP: one attempt that says what is wrong, and patience around it.

The token goes to the host it is meant for and to no other: a redirect elsewhere drops it, and it is never sent
unencrypted (but to this very machine). Nothing here prints or stores it.
"""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import urllib3
from pydantic import SecretStr
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError, NameResolutionError, SSLError

from mirror import __version__
from mirror.acquire.settings import HostsConfig, TransferConfig
from mirror.errors import ConfigError, MirrorError

T = TypeVar("T")

TOKEN_HEADER = "X-Auth-Token"
_LONGEST_WAIT = 900.0
_REDIRECTS = 5
_PASSING = (408, 425, 429)
_NOT_THERE = (404, 410)


class SourceError(MirrorError):
    """A source cannot give what it was asked for, and asking again would not change that."""


class Stopped(Exception):
    """The work was called off (Ctrl-C, or another file met a full disk); what is there is kept."""


class Trouble(Exception):
    """An attempt failed in a way that may pass. `wait` is what the server asked for, in seconds, if it did."""

    def __init__(self, reason: str, *, wait: float | None = None, progress: bool = False) -> None:
        super().__init__(reason)
        self.wait, self.progress = wait, progress


class Client:
    """Connections to the sources, shared by all threads of a fetch; the `token`, if any, is for the host of one URL."""

    def __init__(
        self, transfer: TransferConfig, *, token: SecretStr | None = None, token_for: str = HostsConfig().gdc
    ) -> None:
        self.stop = threading.Event()
        self._transfer, self._token, self._token_for = transfer, token, urlsplit(token_for)[:2]
        self._reached = False
        self._open: set[urllib3.BaseHTTPResponse] = set()
        # Only redirects are followed here: what else fails is tried again by `patiently`, which can be stopped.
        self._retries = urllib3.Retry(
            total=None,
            connect=0,
            read=0,
            status=0,
            other=0,
            redirect=_REDIRECTS,
            remove_headers_on_redirect={*urllib3.Retry.DEFAULT_REMOVE_HEADERS_ON_REDIRECT, TOKEN_HEADER},
        )
        pool: dict[str, Any] = {
            "maxsize": transfer.workers,
            "timeout": urllib3.Timeout(connect=transfer.connect_timeout, read=transfer.read_timeout),
            "headers": {"User-Agent": f"mirror-pathology/{__version__}"},
        }
        self._direct = urllib3.PoolManager(**pool)
        self._proxies = {
            scheme: urllib3.ProxyManager(address, **pool)
            for scheme, address in urllib.request.getproxies().items()
            if scheme in ("http", "https") and address.startswith("http")
        }

    @property
    def has_token(self) -> bool:
        """Whether controlled-access files can be asked for."""
        return self._token is not None

    def call_off(self) -> None:
        """Have every thread stop: those that read wake up at once, those that connect within their timeout."""
        self.stop.set()
        for response in tuple(self._open):
            connected = getattr(response.connection, "sock", None)
            if connected is not None:
                with suppress(OSError):  # it has just ended by itself
                    connected.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def get(
        self, url: str, *, headers: dict[str, str] | None = None, controlled: bool = False, method: str = "GET"
    ) -> Generator[urllib3.BaseHTTPResponse]:
        """One attempt: the response, of status 200, 206 or 416, its body not read yet and as the server sends it.

        Raises `Trouble` for what may pass (connection, 5xx, too many requests), `SourceError` for what will not.
        """
        sent = {"Accept-Encoding": "identity", **self._direct.headers, **(headers or {})}
        if controlled:
            sent[TOKEN_HEADER] = self._spoken(url)
        try:
            response = self._pool(url).request(
                method, url, headers=sent, preload_content=False, decode_content=False, retries=self._retries
            )
        except HTTPError as error:
            raise self._of_connection(url, error) from error
        self._reached = True
        self._open.add(response)
        try:
            self._refuse(url, response, controlled=controlled)
            yield response
        except (HTTPError, OSError) as error:
            if isinstance(error, OSError) and not isinstance(error, (TimeoutError, ConnectionError)):
                raise  # of this machine's disk, not of the connection
            raise Trouble(f"{_host(url)} broke off: {_plain(error)}") from error
        finally:
            self._open.discard(response)
            # Never drained: what is left may be gigabytes.
            response.close()

    def patiently(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns, tried again (with longer and longer pauses) while it raises `Trouble`.

        Raises `SourceError` after as many attempts in a row without progress as the settings allow, `Stopped` when the
        work was called off.
        """
        failures = 0
        while True:
            if self.stop.is_set():
                raise Stopped
            try:
                return attempt()
            except Trouble as trouble:
                failures = 1 if trouble.progress else failures + 1
                if failures >= self._transfer.attempts:
                    raise SourceError(f"{trouble}; given up after {failures} attempts in a row") from trouble
                pause = min(self._transfer.backoff * 2 ** (failures - 1), self._transfer.backoff_most)
                self.stop.wait(pause if trouble.wait is None else trouble.wait)

    def json(self, url: str) -> Any:
        """The JSON document at `url`. Raises `SourceError`."""

        def attempt() -> Any:
            with self.get(url, headers={"Accept": "application/json"}) as response:
                body = response.read()
            try:
                return json.loads(body)
            except ValueError:
                raise Trouble(f"{url} answers with something that is no JSON: {body[:60]!r}") from None

        return self.patiently(attempt)

    def text(self, url: str) -> str:
        """The text at `url`. Raises `SourceError`."""

        def attempt() -> str:
            with self.get(url) as response:
                return response.read().decode("utf-8", errors="replace")

        return self.patiently(attempt)

    def head(self, url: str) -> dict[str, str]:
        """Headers of the file at `url`, `content-length` that of the whole file; by a request for its first byte where
        the server refuses HEAD. Raises `SourceError`."""

        def attempt() -> dict[str, str]:
            with self.get(url, method="HEAD") as response:
                return {name.lower(): value for name, value in response.headers.items()}

        def by_first_byte() -> dict[str, str]:
            with self.get(url, headers={"Range": "bytes=0-0"}) as response:
                found = {name.lower(): value for name, value in response.headers.items()}
                if response.status == 206:
                    found["content-length"] = found.get("content-range", "/").rsplit("/", 1)[1]
                return found

        try:
            return self.patiently(attempt)
        except SourceError:
            return self.patiently(by_first_byte)

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = self._proxies.get(parts.scheme)
        if proxy is None or urllib.request.proxy_bypass(parts.hostname or ""):
            return self._direct
        return proxy

    def _spoken(self, url: str) -> str:
        if self._token is None:
            raise SourceError(f"{url} is a controlled-access file: give --token FILE with your token of the GDC")
        parts = urlsplit(url)
        if parts[:2] != self._token_for:  # a lock is a file that others may have written
            raise ConfigError(f"{url} is not at {self._token_for[1]}, for which the token is; plan again")
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise ConfigError(f"{_host(url)} is not reached by https, so the token is not sent there; correct `hosts`")
        return self._token.get_secret_value()

    def _of_connection(self, url: str, error: HTTPError) -> Exception:
        reason = error.reason if isinstance(error, MaxRetryError) and error.reason is not None else error
        if isinstance(reason, SSLError):
            return SourceError(
                f"the certificate of {_host(url)} is not trusted ({_plain(reason)}); where your network puts its own "
                "in between, name it in the environment: SSL_CERT_FILE=..."
            )
        if "too many redirects" in str(reason):
            return SourceError(f"{url} redirects more than {_REDIRECTS} times; the source may have moved it")
        if isinstance(reason, NameResolutionError) and not self._reached:
            return SourceError(f"{_host(url)} is not found; is this machine connected? (HTTPS_PROXY is honoured)")
        return Trouble(f"{_host(url)} cannot be reached: {_plain(reason)}")

    def _refuse(self, url: str, response: urllib3.BaseHTTPResponse, *, controlled: bool) -> None:
        status = response.status
        if status in (200, 206, 416):
            return
        wait = _asked_wait(response)
        if status >= 500 or status in _PASSING or (status == 403 and wait is not None):
            if wait is not None and wait > _LONGEST_WAIT:
                raise SourceError(f"{_host(url)} asks to wait {wait / 60:.0f} minutes; give the command again then")
            raise Trouble(f"{url} answers {status}", wait=wait)
        if status in (401, 403) and controlled:
            raise SourceError(
                f"{url} is refused with this token ({status}): it has expired (they last 30 days), or has no access to "
                "this file; get a new one from the GDC portal"
            )
        if status in (401, 403):
            limited = response.headers.get("X-RateLimit-Remaining") == "0"
            why = "its limit of requests is used up, give the command again in an hour" if limited else "refused"
            raise SourceError(
                f"{url} answers {status}: {why}"
                + ("" if limited else "; a controlled-access file needs `access: controlled` and --token FILE")
            )
        if status in _NOT_THERE:
            raise SourceError(f"{url} is not there ({status}); the source may have a new release: plan again")
        raise SourceError(f"{url} answers {status}, which asking again will not change")


def read_token(path: Path) -> SecretStr:
    """The token in a file. Raises `ConfigError` when there is none; the message never has what the file holds."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise ConfigError(f"there is no token file {path}; download one from the GDC portal") from None
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"the token file {path} cannot be read as text; download it again") from None
    if not text or any(sign.isspace() for sign in text):
        raise ConfigError(f"the token file {path} is not one line of text; download it again")
    return SecretStr(text)


def _asked_wait(response: urllib3.BaseHTTPResponse) -> float | None:
    asked = response.headers.get("Retry-After")
    if asked is None:
        return None
    try:
        return float(urllib3.Retry().parse_retry_after(asked))
    except InvalidHeader:
        return None


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _plain(error: BaseException) -> str:
    """What went wrong, without the inside of the library in front."""
    return str(error).split(": ", 1)[-1] or type(error).__name__
