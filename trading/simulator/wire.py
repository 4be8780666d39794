"""Requests and answers of a dialect, free of any server; and reading of parameters as the venue does."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson

from trading.simulator.errors import VenueError, refusal
from trading.simulator.instruments import INSTRUMENTS

N = TypeVar("N", int, Decimal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request; header names are in lower case."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


def json_answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status=status, body=orjson.dumps(value), headers=headers or {})


def error_answer(error: VenueError, headers: Mapping[str, str]) -> Answer:
    extra = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return json_answer(
        {"code": error.code, "msg": error.text}, status=error.status, headers={**headers, **extra}
    )


class Params:
    """Query and form parameters; a missing or malformed one is the venue's -1102."""

    def __init__(self, request: Request) -> None:
        self.values = dict(parse_qsl(request.query, keep_blank_values=True))
        self.values.update(parse_qsl(request.body, keep_blank_values=True))

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str, default: str | None = None) -> str:
        value = self.values.get(name, default)
        if value is None or (value == "" and default is None):
            raise refusal(-1102, name)
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        return self._number(name, default, int)

    def decimal(self, name: str, default: Decimal | None = None) -> Decimal:
        return self._number(name, default, Decimal)

    def _number(self, name: str, default: N | None, kind: Callable[[str], N]) -> N:
        if name not in self.values and default is not None:
            return default
        try:
            value = kind(self.text(name))
        except (ValueError, InvalidOperation) as error:
            raise refusal(-1102, name) from error
        if isinstance(value, Decimal) and not value.is_finite():
            raise refusal(-1102, name)
        return value

    def flag(self, name: str) -> bool:
        value = self.text(name, "false").lower()
        if value not in ("true", "false"):
            raise refusal(-1102, name)
        return value == "true"

    def choice(self, name: str, options: tuple[str, ...], code: int, default: str | None = None) -> str:
        value = self.text(name, default).upper()
        if value not in options:
            raise refusal(code)
        return value

    def symbol(self, known: tuple[str, ...]) -> str:
        value = self.text("symbol")
        if value not in known or value not in INSTRUMENTS:
            raise refusal(-1121)
        return value


def check_signature(request: Request, secret: str) -> None:
    """HMAC-SHA256 over query and body as sent, without the signature itself; else -1022."""
    sent = dict(parse_qsl(request.query)).get("signature") or dict(parse_qsl(request.body)).get("signature")
    if not sent:
        raise refusal(-1102, "signature")
    payload = "".join(_unsigned(part) for part in (request.query, request.body))
    expected = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, sent):
        raise VenueError(-1022, "Signature for this request is not valid.")


def _unsigned(part: str) -> str:
    return "&".join(pair for pair in part.split("&") if not pair.startswith("signature="))


def check_timestamp(params: Params, server_ms: int) -> None:
    """The request must be at most recvWindow old and at most one second ahead of the server; else -1021."""
    timestamp, window = params.integer("timestamp"), params.integer("recvWindow", 5_000)
    if not 0 < window <= 60_000:
        raise VenueError(-1131, "recvWindow must be less than 60000.")
    if timestamp > server_ms + 1_000:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if server_ms - timestamp > window:
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")
