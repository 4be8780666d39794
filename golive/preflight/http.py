"""One GET with a deadline; what went wrong is told apart by cause."""

import http.client
import socket
import ssl
import time
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit

LONGEST_BODY = 16 * 1024 * 1024


class HttpCause(StrEnum):
    """Why there is no answer."""

    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS = "tls"
    CONNECTION_LOST = "connection_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; `cause` is set, and status 0, where nothing usable did."""

    url: str
    status: int
    body: bytes
    seconds: float
    cause: HttpCause | None = None
    text: str = ""


def fetch(url: str, *, seconds: float) -> Answer:
    """GET the address without following redirects. Never raises for what a network may do."""
    started = time.monotonic()
    try:
        status, body = _get(urlsplit(url), started + seconds)
    except (OSError, http.client.HTTPException) as error:
        return Answer(
            url=url, status=0, body=b"", seconds=time.monotonic() - started, cause=find_cause(error),
            text=f"GET {url}: {str(error) or type(error).__name__}",
        )  # fmt: skip
    return Answer(url=url, status=status, body=body, seconds=time.monotonic() - started)


def find_cause(error: Exception) -> HttpCause:
    if isinstance(error, socket.gaierror):
        return HttpCause.DNS
    if isinstance(error, ssl.SSLError):
        return HttpCause.TLS
    if isinstance(error, TimeoutError):
        return HttpCause.TIMEOUT
    if isinstance(error, ConnectionRefusedError):
        return HttpCause.REFUSED
    return HttpCause.CONNECTION_LOST


def _get(url: SplitResult, deadline: float) -> tuple[int, bytes]:
    host, left = url.hostname or "", deadline - time.monotonic()
    if url.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, url.port, timeout=left, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, url.port, timeout=left)
    try:
        connection.request("GET", url.path or "/", headers={"User-Agent": "controlplane-preflight"})
        answer = connection.getresponse()
        return answer.status, _read(answer, connection, deadline)
    finally:
        connection.close()


def _read(answer: http.client.HTTPResponse, connection: http.client.HTTPConnection, deadline: float) -> bytes:
    """Read on until the end, however slowly it trickles, but not beyond the deadline."""
    body = b""
    while len(body) < LONGEST_BODY:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the body does not end")
        if connection.sock is not None:
            connection.sock.settimeout(left)
        if not (block := answer.read1(64 * 1024)):
            break
        body += block
    return body
