"""The ccxt client of one venue account: signing, URLs, throttling and error classes are ccxt's.

Endpoints are called by ccxt's own names for them (`fapiPrivatePostOrder`), not through its unified
calls, because those turn money into floats, read a malformed 200 as "no open orders" or as an order
without id, hide positions behind another endpoint, and call a triggered stop closed and unfilled.
ccxt is imported on first use only: it costs a second and 90 MB.
"""

import json
import logging
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from trading.core.values import Environment
from trading.venues.gateway import FENCED, Cause, NotPermitted, VenueRejected, VenueUnavailable
from trading.venues.keys import ApiKeys
from trading.venues.outcomes import Failure, find_cause, is_answer
from trading.venues.transport import Exchange, VenueTransport

RECEIVE_WINDOW_MS = 5000
MAX_TEXT = 200
# What reading an answer of an unexpected shape raises, in ccxt or here.
MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")


class CallFailed(Exception):
    """A request that did not end in a usable answer; never leaves trading.venues."""

    def __init__(self, failure: Failure, endpoint: str) -> None:
        super().__init__(f"{endpoint}: {failure.text}")
        self.failure = failure
        self.endpoint = endpoint


class VenueClient:
    """Calls endpoints of one venue account and tells failures apart. Not thread-safe."""

    def __init__(
        self,
        *,
        venue: str,
        environment: Environment,
        keys: ApiKeys,
        redirects: Mapping[str, str] | None = None,
    ) -> None:
        self.venue = venue
        self.environment = environment
        self.keys = keys
        self._transport = VenueTransport(redirects=redirects)
        self._exchange = _build_exchange(venue, environment, keys, self._transport)

    def __repr__(self) -> str:
        return f"VenueClient({self.venue}, {self.environment}, key {self.keys.fingerprint})"

    def call(self, endpoint: str, **params: str | int) -> Any:
        """The venue's answer as parsed JSON with numbers as text; raises CallFailed."""
        import ccxt

        request = getattr(self._exchange, endpoint)
        self._transport.last = None
        try:
            return request(params)
        except NotPermitted as refusal:
            raise CallFailed(_describe_refusal(refusal), endpoint) from None
        except (ccxt.BaseError, *MALFORMED) as error:
            raise CallFailed(self._describe(error), endpoint) from None

    def find_address(self, api: str) -> str:
        """Scheme and host that requests of one of ccxt's API sections really go to."""
        parts = urlsplit(str(self._exchange.urls["api"][api]))
        redirects = self._transport.redirects or {}
        return redirects.get(parts.netloc, f"{parts.scheme}://{parts.netloc}")

    def get_wall_ms(self) -> int:
        """Our wall clock, uncorrected."""
        return int(self._exchange.milliseconds())

    def resync_clock(self) -> None:
        """Measure the difference to the venue's clock again; keeps the old one if that fails."""
        import ccxt

        try:
            self._exchange.load_time_difference()
        except (ccxt.BaseError, *MALFORMED):
            logging.getLogger(__name__).warning("%s: the clock could not be read", self.venue)

    def get_last_failure(self, text: str) -> Failure:
        """The last exchange described as a failure, for an answer that came but cannot be used."""
        last = self._transport.last or Exchange()
        return Failure(status=last.status, code=read_venue_code(last.body), text=self._clean(text))

    def _describe(self, error: Exception) -> Failure:
        last = self._transport.last
        if last is None:
            # ccxt or we failed before a request was made.
            last = Exchange(failure=Cause.VENUE, is_unsent=True)
        return Failure(
            status=last.status,
            code=read_venue_code(last.body),
            classes=tuple(kind.__name__ for kind in type(error).__mro__),
            text=self._clean(_explain(last, error)),
            network=last.failure,
            is_unsent=last.is_unsent,
            retry_after=self._read_retry_after(last),
        )

    def _clean(self, text: str) -> str:
        return self.keys.redact(" ".join(text.split()))[:MAX_TEXT]

    def _read_retry_after(self, last: Exchange) -> Decimal | None:
        """Seconds to wait, from the header or from "banned until <ms>" in the body."""
        if last.retry_after.isdigit():
            return Decimal(last.retry_after)
        banned = _BANNED_UNTIL.search(last.body)
        if banned is None:
            return None
        return max(Decimal(0), Decimal(int(banned[1]) - self.get_wall_ms()) / 1000)


def _build_exchange(venue: str, environment: Environment, keys: ApiKeys, transport: VenueTransport) -> Any:
    import ccxt

    exchange = getattr(ccxt, venue)(
        {
            "apiKey": keys.key,
            "secret": keys.secret,
            # ccxt's throttler sleeps wall time; the simulated venue meters weights in market time.
            "enableRateLimit": environment is not Environment.PAPER,
            "options": {"recvWindow": RECEIVE_WINDOW_MS, "fetchCurrencies": False},
        }
    )
    # At DEBUG ccxt would log the headers, which carry the key.
    exchange.logger = logging.Logger("ccxt", level=logging.CRITICAL)
    exchange.session.max_redirects = 0
    exchange.session.mount("https://", transport)
    exchange.session.mount("http://", transport)
    if environment is Environment.DEMO:
        exchange.enable_demo_trading(True)
    return exchange


def _describe_refusal(refusal: NotPermitted) -> Failure:
    """Our own side kept the request back before a byte of it was written."""
    return Failure(
        code=FENCED, text=f"not permitted when it left: {refusal}", network=Cause.REFUSED, is_unsent=True
    )


def read_venue_code(body: str) -> str:
    """The numeric code in an answer, as text; "" where there is none."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(parsed, list) and len(parsed) == 1:
        parsed = parsed[0]
    code = parsed.get("code", "") if isinstance(parsed, dict) else ""
    return str(code) if isinstance(code, int | str) else ""


def _explain(last: Exchange, error: Exception) -> str:
    """One line for people, without ccxt's own text, which carries the signed request."""
    if last.failure is not None:
        return f"no answer ({last.failure})"
    kind = type(error).__name__
    if last.status is None:
        return f"no answer ({kind})"
    return f"HTTP {last.status}, {kind}: {last.body or 'empty answer'}"


def to_venue_error(failed: CallFailed, venue: str) -> VenueRejected | VenueUnavailable:
    """The error that a read raises."""
    failure = failed.failure
    cause = find_cause(failure)
    message = f"{venue}: {failed.endpoint}: {failure.text}"
    if is_answer(failure):
        return VenueRejected(message, cause=cause, venue_code=failure.code)
    return VenueUnavailable(message, cause=cause)
