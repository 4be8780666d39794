"""The wire under ccxt: where a request goes, how long it may take, and what was answered.

ccxt picks its error table by the URL it asked for, so URLs stay the venue's own and only the
transport is redirected. In paper a host that is not redirected is refused here, so that nothing
can reach a real venue.

A request may be fenced: the connection is made first (name, TCP, TLS) and the request is put together;
then the fence is taken, every byte is handed to the socket in one write, and the fence is left before
the answer is waited for. Whoever waits for the fence waits for a local write, never for a venue.
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.util import Timeout

from trading.venues.gateway import Cause, Fence, NotPermitted

CONNECT_SECONDS = 1.0
TOTAL_SECONDS = 3.0
# The library's own limit, which counts anew with every byte that arrives, is given the chance to come first.
CUT_AFTER_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What became of one request; `status` is None without an answer.

    `is_unsent` is True only where the connection was never made, or the fence refused before a byte
    was written: then, and only then, the request cannot have been acted on.
    """

    status: int | None = None
    retry_after: str = ""
    body: str = ""
    failure: Cause | None = None
    is_unsent: bool = False


_FENCE: ContextVar[Fence | None] = ContextVar("fence", default=None)


@dataclass(slots=True)
class _Wire:
    """The socket of a request, cut when its time is over: an answer can come byte by byte."""

    sock: Any = None
    is_cut: bool = False

    def cut(self) -> None:
        self.is_cut = True
        with suppress(OSError):
            if self.sock is not None:
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


_WIRE: ContextVar[_Wire | None] = ContextVar("wire", default=None)


@contextmanager
def _within(seconds: float) -> Iterator[_Wire]:
    wire = _Wire()
    token = _WIRE.set(wire)
    timer = threading.Timer(seconds, wire.cut)
    timer.daemon = True
    timer.start()
    try:
        yield wire
    finally:
        timer.cancel()
        _WIRE.reset(token)


@contextmanager
def fenced_by(fence: Fence | None) -> Iterator[None]:
    """Requests made within start under this fence only; None sets none."""
    token = _FENCE.set(fence)
    try:
        yield
    finally:
        _FENCE.reset(token)


class _OneWrite:
    """A connection that makes itself first, and then writes a request at once, under its fence.

    A kept connection that turns out to be dead fails; it is made anew for the next request only.
    """

    sock: Any
    _parts: list[bytes] | None = None

    def request(self, *arguments: Any, **options: Any) -> None:
        fence = _FENCE.get()
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        if (wire := _WIRE.get()) is not None:
            wire.sock = self.sock
        self._parts = []
        try:
            super().request(*arguments, **options)  # type: ignore[misc]
            whole = b"".join(self._parts)
        finally:
            self._parts = None
        if fence is None:
            self.sock.sendall(whole)
            return
        with fence() as until:
            self._write_until(until, whole)

    def _write_until(self, until: float, whole: bytes) -> None:
        """A process that was paused since the fence was taken may have lost it."""
        left = until - monotonic()
        if left <= 0:
            raise NotPermitted("paused while it held the fence")
        self.sock.settimeout(min(left, CONNECT_SECONDS))
        self.sock.sendall(whole)

    def send(self, data: Any) -> None:
        """Collects the parts of a request; what makes the connection itself (a tunnel) goes out."""
        if self._parts is None:
            super().send(data)  # type: ignore[misc]
        else:
            self._parts.append(data)


class _Connection(_OneWrite, HTTPConnection):
    """Plain."""


class _SecureConnection(_OneWrite, HTTPSConnection):
    """Over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


class VenueTransport(HTTPAdapter):
    """Sends with a deadline, optionally to other hosts, and remembers the last exchange."""

    def __init__(self, *, redirects: Mapping[str, str] | None = None) -> None:
        """`redirects` maps host names to base URLs; given, every other host is refused."""
        super().__init__(max_retries=0)
        self.redirects = redirects
        self.last: Exchange | None = None

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        self.last = Exchange(failure=Cause.REFUSED, is_unsent=True)
        if self.redirects is not None:
            request = self._redirect(request)
        self.last = Exchange()
        timeout = Timeout(connect=CONNECT_SECONDS, total=TOTAL_SECONDS)
        options |= {"timeout": timeout, "stream": False}
        try:
            response = self._exchange(request, options)
        except NotPermitted:
            self.last = Exchange(failure=Cause.REFUSED, is_unsent=True)
            raise
        except requests.RequestException as error:
            self.last = _describe_failure(error)
            raise
        self.last = Exchange(
            status=response.status_code,
            retry_after=response.headers.get("Retry-After", ""),
            body=response.text,
        )
        return response

    def _exchange(self, request: requests.PreparedRequest, options: dict[str, Any]) -> requests.Response:
        """The whole answer, or an error; what was cut off can look whole where no length was told."""
        with _within(TOTAL_SECONDS + CUT_AFTER_SECONDS) as wire:
            try:
                response = super().send(request, **options)
                response.encoding = "utf-8"
                response.content  # noqa: B018 - reads to the end
            except requests.RequestException as error:
                if wire.is_cut:
                    raise requests.ReadTimeout("the answer took too long", request=request) from error
                raise
        if wire.is_cut:
            response.close()
            raise requests.ReadTimeout("the answer took too long", request=request)
        return response

    def _redirect(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        parts = urlsplit(request.url or "")
        base = (self.redirects or {}).get(parts.hostname or "")
        if base is None:
            raise requests.ConnectionError(f"{parts.hostname} is not simulated")
        moved = request.copy()
        query = f"?{parts.query}" if parts.query else ""
        moved.url = f"{base.rstrip('/')}{parts.path}{query}"
        return moved


def _describe_failure(error: requests.RequestException) -> Exchange:
    """Tell the causes apart; without proof that nothing was sent, it may have been."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return Exchange(failure=Cause.TIMEOUT, is_unsent=True)
    if isinstance(error, requests.Timeout):
        return Exchange(failure=Cause.TIMEOUT)
    if isinstance(error, requests.exceptions.SSLError):
        return Exchange(failure=Cause.TLS)
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(reason, NameResolutionError):
        return Exchange(failure=Cause.DNS, is_unsent=True)
    if isinstance(reason, NewConnectionError):
        return Exchange(failure=Cause.REFUSED, is_unsent=True)
    is_timeout = "timed out" in str(error)
    return Exchange(failure=Cause.TIMEOUT if is_timeout else Cause.HTTP)
