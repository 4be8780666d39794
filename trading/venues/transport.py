"""The wire under ccxt: where a request goes, how long it may take, and what was answered.

ccxt picks its error table by the URL it asked for, so URLs stay the venue's own and only the
transport is redirected. In paper a host that is not redirected is refused here, so that nothing
can reach a real venue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.util import Timeout

from trading.venues.gateway import Cause

CONNECT_SECONDS = 1.0
TOTAL_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What became of one request; `status` is None without an answer.

    `is_unsent` is True only where the connection was never made: then, and only then, the
    request cannot have been acted on.
    """

    status: int | None = None
    retry_after: str = ""
    body: str = ""
    failure: Cause | None = None
    is_unsent: bool = False


class VenueTransport(HTTPAdapter):
    """Sends with a deadline, optionally to other hosts, and remembers the last exchange."""

    def __init__(self, *, redirects: Mapping[str, str] | None = None) -> None:
        """`redirects` maps host names to base URLs; given, every other host is refused."""
        super().__init__(max_retries=0)
        self.redirects = redirects
        self.last: Exchange | None = None

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        self.last = Exchange(failure=Cause.REFUSED, is_unsent=True)
        if self.redirects is not None:
            request = self._redirect(request)
        self.last = Exchange()
        timeout = Timeout(connect=CONNECT_SECONDS, total=TOTAL_SECONDS)
        options |= {"timeout": timeout, "stream": False}
        try:
            response = super().send(request, **options)
            response.encoding = "utf-8"
            body = response.text
        except requests.RequestException as error:
            self.last = _describe_failure(error)
            raise
        self.last = Exchange(
            status=response.status_code,
            retry_after=response.headers.get("Retry-After", ""),
            body=body,
        )
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
