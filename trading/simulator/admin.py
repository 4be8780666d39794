"""The simulator's own controls under /_sim: state, faults, deposits, delistings, permissions, requests."""

from collections.abc import Callable
from dataclasses import asdict, replace
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

import orjson

from trading.simulator import ledger
from trading.simulator.faults import Fault, FaultError
from trading.simulator.state import ZERO, encode
from trading.simulator.venue import SimulatedVenue
from trading.simulator.wire import Answer, Request, json_answer

PREFIX = "/_sim/"


def handle(venue: SimulatedVenue, request: Request) -> Answer:
    """Answer a control request; a bad one is 400 with one line and changes nothing."""
    controls: dict[tuple[str, str], Callable[[], Any]] = {
        ("GET", "state"): lambda: state(venue),
        ("GET", "requests"): lambda: requests(venue, request),
        ("GET", "faults"): lambda: venue.faults.listed(),
        ("POST", "faults"): lambda: set_fault(venue, _body(request)),
        ("DELETE", "faults"): lambda: clear_faults(venue, request),
        ("POST", "deposit"): lambda: deposit(venue, _body(request)),
        ("POST", "delisting"): lambda: announce_delisting(venue, _body(request)),
        ("GET", "permissions"): lambda: asdict(venue.permissions),
        ("POST", "permissions"): lambda: set_permissions(venue, _body(request)),
    }
    control = controls.get((request.method, request.path.removeprefix(PREFIX)))
    if control is None:
        return json_answer({"error": "path: unknown control"}, status=404)
    try:
        return json_answer(control())
    except FaultError as error:
        return json_answer({"error": str(error)}, status=400)


def _body(request: Request) -> Any:
    try:
        return orjson.loads(request.body or "{}")
    except orjson.JSONDecodeError as error:
        raise FaultError(f"body: not JSON: {error}") from error


def state(venue: SimulatedVenue) -> dict[str, Any]:
    """The book in short, and whether its money adds up."""
    with venue.at_now() as engine:
        book = engine.state
        total = sum(book.totals.values(), ZERO)
        return {
            "market_ms": book.now_ms,
            "wall_ms": venue.clock.wall_ms(),
            "speed": venue.clock.speed,
            "data_ms": book.data_ms,
            "frozen": book.frozen,
            "wallet": str(book.wallet),
            "available": str(ledger.available_balance(book)),
            "totals": encode(book.totals),
            "conserved": total == book.wallet,
            "prices": {
                symbol: {
                    "last": str(ledger.last(book, symbol)),
                    "mark": str(market.mark),
                    "index": str(market.index),
                }
                for symbol, market in book.markets.items()
            },
            "positions": [encode(position) for position in book.positions.values() if position.quantity],
            "orders": [encode(order) for order in book.orders.values()],
            "algos": [encode(algo) for algo in book.algos.values()],
            "trades": len(book.trades),
            "requests": venue.request_count,
            "faults": venue.faults.listed(),
        }


def requests(venue: SimulatedVenue, request: Request) -> list[dict[str, Any]]:
    """The latest requests, oldest first; `after` is a request number."""
    try:
        after = int(dict(parse_qsl(request.query)).get("after", "0"))
    except ValueError as error:
        raise FaultError("after: expected a whole number") from error
    return [entry for entry in list(venue.requests) if entry["number"] > after]


def set_fault(venue: SimulatedVenue, asked: Any) -> dict[str, Any]:
    """Set a fault; gaps and freezes go into the engine at once and are journaled there."""
    fault = venue.faults.add(asked)
    try:
        _start(venue, fault)
    except FaultError:
        venue.faults.clear(fault.fault_id)
        raise
    return asdict(fault)


def _start(venue: SimulatedVenue, fault: Fault) -> None:
    if fault.kind == "freeze":
        venue.execute("freeze", frozen=True)
    if fault.kind == "gap":
        if fault.symbol not in venue.engine.feed.symbols:
            raise FaultError("symbol: not traded here")
        try:
            ratio = Decimal(fault.percent) / 100
        except InvalidOperation as error:
            raise FaultError("percent: not a number") from error
        if not Decimal("-0.99") <= ratio <= 10:
            raise FaultError("percent: expected -99 to 1000")
        venue.execute("gap", symbol=fault.symbol, ratio=str(ratio), seconds=int(fault.seconds))


def clear_faults(venue: SimulatedVenue, request: Request) -> dict[str, Any]:
    """Remove one fault (`id`) or all; ends a freeze and, when all go, the gaps."""
    wanted = dict(parse_qsl(request.query)).get("id")
    try:
        removed = venue.faults.clear(int(wanted) if wanted else None)
    except ValueError as error:
        raise FaultError("id: expected a whole number") from error
    if not any(fault.kind == "freeze" for fault in venue.faults.active) and venue.engine.state.frozen:
        venue.execute("freeze", frozen=False)
    if not wanted and venue.engine.state.gaps:
        venue.execute("clear_gaps")
    return {"removed": [fault.fault_id for fault in removed]}


def deposit(venue: SimulatedVenue, asked: Any) -> dict[str, Any]:
    """Money from (or, negative, to) outside: an external flow in the income ledger."""
    try:
        amount = Decimal(str(asked["amount"]))
    except (KeyError, TypeError, InvalidOperation) as error:
        raise FaultError("amount: expected a number") from error
    if not amount.is_finite() or venue.engine.state.wallet + amount < 0:
        raise FaultError("amount: the wallet would be negative")
    venue.execute("deposit", amount=str(amount))
    return {"wallet": str(venue.engine.state.wallet)}


def announce_delisting(venue: SimulatedVenue, asked: Any) -> dict[str, int]:
    """State in the instrument table when a `symbol` is delisted, `in_seconds` of market time; null: never.

    Trading goes on until then, and at this venue after it too: the desk must have left.
    """
    if not isinstance(asked, dict) or asked.get("symbol") not in venue.engine.feed.symbols:
        raise FaultError("symbol: not traded here")
    seconds = asked.get("in_seconds")
    if seconds is None:
        venue.delistings.pop(asked["symbol"], None)
    elif not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:
        raise FaultError("in_seconds: expected a whole number from 0, or null")
    else:
        venue.delistings[asked["symbol"]] = venue.clock.market_ms() + seconds * 1000
    return dict(venue.delistings)


def set_permissions(venue: SimulatedVenue, asked: Any) -> dict[str, Any]:
    """Change what the API-restrictions endpoint says."""
    known = asdict(venue.permissions)
    if not isinstance(asked, dict):
        raise FaultError("body: expected a JSON object")
    for name, value in asked.items():
        if name not in known or not isinstance(value, bool):
            raise FaultError(f"{name}: expected one of {', '.join(known)}, true or false")
    venue.permissions = replace(venue.permissions, **asked)
    return asdict(venue.permissions)
