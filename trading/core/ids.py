"""Client order ids: deterministic from the intent, short enough for every venue, never reused."""

from uuid import UUID

from trading.core.values import OrderPurpose

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_UUID_LENGTH = 25  # 36 ** 25 > 2 ** 128
_ATTEMPT_LENGTH = 3
_PREFIX = "q"
_LETTERS = {
    OrderPurpose.ENTRY: "e",
    OrderPurpose.EXIT: "x",
    OrderPurpose.STOP_LOSS: "s",
    OrderPurpose.TAKE_PROFIT: "t",
    OrderPurpose.SAFETY_CLOSE: "c",
    OrderPurpose.FLATTEN: "f",
}
MAX_ATTEMPT = 36**_ATTEMPT_LENGTH - 1


def make_client_order_id(*, intent_id: UUID, purpose: OrderPurpose, attempt: int) -> str:
    """30 characters of [a-z0-9], one to one with (intent, purpose, attempt).

    Short enough for Binance (36), Bybit (36) and OKX (32); RISK.md 3.11. `attempt` counts from 1
    and is never used twice for one intent and purpose; raises ValueError beyond MAX_ATTEMPT.
    """
    if not 1 <= attempt <= MAX_ATTEMPT:
        raise ValueError(f"attempt: expected 1 to {MAX_ATTEMPT}, found {attempt}")
    body = _encode(intent_id.int, _UUID_LENGTH)
    return f"{_PREFIX}{body}{_LETTERS[purpose]}{_encode(attempt, _ATTEMPT_LENGTH)}"


def _encode(number: int, length: int) -> str:
    """The number >= 0 in base 36 with leading zeros."""
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
    return digits.rjust(length, "0")
