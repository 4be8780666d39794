"""What a venue's answer to a write means: one table, from facts to OutcomeKind.

Facts are the HTTP status, the venue's own numeric code (read from the body, since ccxt's classes
depend on the URL asked), ccxt's exception class names and the text. Whatever is not provably a
refusal is UNKNOWN and must be looked up; whatever is not provably unsent is never RETRY_SAFE.
Source: the venue's error codes for USD-M futures, and answers run through ccxt 4.5.90.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from trading.core.values import OutcomeKind
from trading.venues.gateway import Cause

BANNED, TOO_MANY_REQUESTS = 418, 429
SERVER_ERROR = 500
# Classes whose meaning does not depend on a code, for answers that carry none.
_THROTTLED_CLASSES = frozenset({"DDoSProtection", "RateLimitExceeded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A call that did not end in a usable answer.

    `code` is the venue's numeric code as text ("" if none); `classes` are ccxt's exception class
    names, most special first; `retry_after` is in seconds.
    """

    status: int | None = None
    code: str = ""
    classes: tuple[str, ...] = ()
    text: str = ""
    network: Cause | None = None
    is_unsent: bool = False
    retry_after: Decimal | None = None


_BINANCE: Mapping[OutcomeKind, tuple[int, ...]] = {
    # Told that it may or may not have happened. -4111 and -4116 say that an order with this client
    # id exists, and ids are never reused: it is ours, sent before. -1008 counts as not executed in
    # the venue's words; a look-up costs less than believing it.
    OutcomeKind.UNKNOWN: (-1000, -1001, -1004, -1006, -1007, -1008, -1016, -4111, -4116),
    # Refused for its time stamp before anything else was looked at.
    OutcomeKind.RETRY_SAFE: (-1021, -5028),
    OutcomeKind.THROTTLED: (-1003, -1015),
    # The key or the account is unusable; -2023 is an account in liquidation.
    OutcomeKind.STOP_TRADING: (-1002, -1022, -2014, -2015, -2023),
    # -4192 and -4400 come as ccxt's PermissionDenied, which is an AuthenticationError; they are the
    # reduce-only regime of a healthy key. -2020 comes as OperationFailed and is no outage.
    OutcomeKind.REJECTED: (-2020, -4192, -4400),
}
BINANCE_CODES: Mapping[str, OutcomeKind] = MappingProxyType(
    {str(code): kind for kind, codes in _BINANCE.items() for code in codes}
)


def classify_failure(failure: Failure) -> OutcomeKind:
    """The meaning of a failed write; the first line that applies decides."""
    if failure.is_unsent:
        # Refused on our own side (no network fault) it would be refused again.
        return OutcomeKind.REJECTED if failure.network is Cause.VENUE else OutcomeKind.RETRY_SAFE
    if failure.status in {BANNED, TOO_MANY_REQUESTS}:
        return OutcomeKind.THROTTLED
    if failure.status is None or failure.status >= SERVER_ERROR:
        return OutcomeKind.UNKNOWN
    known = BINANCE_CODES.get(failure.code)
    if known is not None:
        return known
    if _is_refusal(failure.code):
        return OutcomeKind.REJECTED
    if not failure.code and _THROTTLED_CLASSES & set(failure.classes):
        return OutcomeKind.THROTTLED
    return OutcomeKind.UNKNOWN


def find_cause(failure: Failure) -> Cause:
    """Why the call failed, for people: first the network, then what the venue said."""
    if failure.network is not None:
        return failure.network
    if failure.status in {BANNED, TOO_MANY_REQUESTS}:
        return Cause.THROTTLED
    kind = BINANCE_CODES.get(failure.code)
    if kind is OutcomeKind.RETRY_SAFE:
        return Cause.CLOCK
    if kind is OutcomeKind.THROTTLED:
        return Cause.THROTTLED
    if kind is OutcomeKind.STOP_TRADING and failure.code != "-2023":
        return Cause.AUTH
    return Cause.VENUE if _is_refusal(failure.code) else Cause.HTTP


def is_answer(failure: Failure) -> bool:
    """Whether the venue answered a read with a refusal of its own (else it gave no usable answer)."""
    if failure.status is None or failure.status >= SERVER_ERROR:
        return False
    return classify_failure(failure) in {
        OutcomeKind.REJECTED,
        OutcomeKind.STOP_TRADING,
        OutcomeKind.RETRY_SAFE,
    }


def _is_refusal(code: str) -> bool:
    """Binance's refusals are negative numbers; 0 and 200 are not."""
    return code.startswith("-") and code[1:].isdigit()
