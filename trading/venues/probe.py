"""Everything the desk depends on at one venue, asked item by item, with the cause where it fails."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_UP, Decimal
from functools import cache

from controlplane.errors import DomainError
from trading.core.values import Instrument, OrderRequest, OrderType, OutcomeKind, Side
from trading.venues.gateway import Cause, Gateway, VenueError, VenueUnavailable

ITEMS = (
    "reachable",
    "skew_ms",
    "instruments",
    "balance",
    "permissions",
    "position_mode",
    "margin_mode",
    "environment",
    "order_path",
)
NOT_APPLICABLE = "not applicable"
PROBE_CLIENT_ID = "probe"
# An order test that says nothing of the order, and why. A refusal does: it came from the order path.
_UNTESTED = {
    OutcomeKind.UNKNOWN: Cause.HTTP,
    OutcomeKind.RETRY_SAFE: Cause.CLOCK,
    OutcomeKind.THROTTLED: Cause.THROTTLED,
    OutcomeKind.STOP_TRADING: Cause.AUTH,
}
Facts = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeItem:
    """One thing asked: facts where it was answered, else the error and its cause.

    `depends_on` names the item whose failure left this one unasked.
    """

    name: str
    facts: Facts
    error: str = ""
    cause: Cause | None = None
    depends_on: str = ""

    @property
    def is_answered(self) -> bool:
        return not self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueProbe:
    """The items of ITEMS, in that order."""

    venue: str
    account: str
    items: tuple[ProbeItem, ...]

    def __getitem__(self, name: str) -> ProbeItem:
        return next(item for item in self.items if item.name == name)

    @property
    def is_reachable(self) -> bool:
        return self["reachable"].is_answered


def describe_unopened(*, venue: str, account: str, error: VenueError) -> VenueProbe:
    """The probe of a venue that cannot even be asked, for want of keys say."""
    first = ProbeItem(name=ITEMS[0], facts={}, error=error.message, cause=error.cause)
    return VenueProbe(venue=venue, account=account, items=(first, *_unasked(first)))


def probe_gateway(
    gateway: Gateway,
    *,
    venue: str,
    account: str,
    environment: str,
    symbols: Sequence[str],
    market_at: datetime,
) -> VenueProbe:
    """Ask every item; where the first is not answered the rest is not asked, to keep the deadline."""

    @cache
    def load() -> dict[str, Instrument]:
        return {row.symbol: row for row, _ in gateway.load_instruments(market_at)}

    checks: dict[str, Callable[[], Facts]] = {
        "reachable": lambda: {"server_at": gateway.fetch_server_time().isoformat()},
        "skew_ms": lambda: {"skew_ms": gateway.measure_clock_skew_ms()},
        "instruments": lambda: _probe_instruments(load(), symbols),
        "balance": lambda: _probe_balance(gateway),
        "permissions": lambda: _probe_permissions(gateway),
        "position_mode": lambda: _probe_position_mode(gateway),
        "margin_mode": lambda: _probe_margin_mode(gateway, symbols),
        "environment": lambda: {
            "environment": environment,
            "endpoint": gateway.endpoint,
            "key_fingerprint": gateway.key_fingerprint,
        },
        "order_path": lambda: _probe_order_path(gateway, venue, account, symbols[0], load()),
    }
    first = _ask(ITEMS[0], checks[ITEMS[0]])
    if not first.is_answered:
        return VenueProbe(venue=venue, account=account, items=(first, *_unasked(first)))
    rest = (_ask(name, checks[name]) for name in ITEMS[1:])
    return VenueProbe(venue=venue, account=account, items=(first, *rest))


def _ask(name: str, check: Callable[[], Facts]) -> ProbeItem:
    try:
        return ProbeItem(name=name, facts=check())
    except VenueError as error:
        return ProbeItem(name=name, facts={}, error=error.message, cause=error.cause)
    except DomainError as error:
        return ProbeItem(name=name, facts={}, error=error.message, cause=Cause.VENUE)


def _unasked(first: ProbeItem) -> tuple[ProbeItem, ...]:
    return tuple(
        ProbeItem(name=name, facts={}, error="not asked", cause=first.cause, depends_on=first.name)
        for name in ITEMS[1:]
    )


def _probe_instruments(instruments: Mapping[str, Instrument], symbols: Sequence[str]) -> Facts:
    trading = {symbol for symbol, row in instruments.items() if row.is_trading}
    missing = [symbol for symbol in symbols if symbol not in trading]
    return {"trading": len(trading), "missing": ", ".join(missing)}


def _probe_balance(gateway: Gateway) -> Facts:
    balance = gateway.fetch_balance()
    return {
        "wallet": str(balance.wallet),
        "equity": str(balance.equity),
        "available": str(balance.available),
    }


def _probe_permissions(gateway: Gateway) -> Facts:
    allowed = gateway.fetch_permissions()
    if allowed is None:
        return {"state": NOT_APPLICABLE}
    return {
        "can_trade_futures": allowed.can_trade_futures,
        "can_withdraw": allowed.can_withdraw,
        "can_transfer": allowed.can_transfer,
        "is_bound_to_address": allowed.is_bound_to_address,
    }


def _probe_position_mode(gateway: Gateway) -> Facts:
    mode = gateway.fetch_account_mode()
    return {"is_one_way": mode.is_one_way, "is_single_asset": mode.is_single_asset}


def _probe_margin_mode(gateway: Gateway, symbols: Sequence[str]) -> Facts:
    facts: dict[str, str | int | bool] = {}
    for symbol in symbols:
        found = gateway.fetch_symbol_settings(symbol)
        facts[symbol] = f"{'isolated' if found.is_isolated else 'cross'} {found.leverage}x"
    return facts


def _probe_order_path(
    gateway: Gateway, venue: str, account: str, symbol: str, instruments: Mapping[str, Instrument]
) -> Facts:
    """Have the venue check the smallest legal order of the first symbol, without placing it."""
    if not gateway.capabilities.has_test_order:
        return {"state": NOT_APPLICABLE}
    prices = gateway.fetch_prices([symbol])
    if symbol not in prices or symbol not in instruments:
        raise VenueUnavailable(f"{venue}: no price or no instrument of {symbol}", cause=Cause.VENUE)
    outcome = gateway.test_order(
        OrderRequest(
            venue=venue,
            account=account,
            symbol=symbol,
            client_order_id=PROBE_CLIENT_ID,
            side=Side.BUY,
            order_type=OrderType.MARKET,
            quantity=_smallest_quantity(instruments[symbol], prices[symbol].mark),
        )
    )
    if outcome.kind in _UNTESTED:
        raise VenueUnavailable(f"{venue}: order test: {outcome.text}", cause=_UNTESTED[outcome.kind])
    return {"outcome": outcome.kind, "code": outcome.code, "text": outcome.text}


def _smallest_quantity(instrument: Instrument, mark: Decimal) -> Decimal:
    """The fewest lots whose notional is legal with a little to spare for a moving price."""
    wanted = max(instrument.min_quantity, instrument.min_notional * Decimal("1.05") / mark)
    return (wanted / instrument.lot_size).quantize(Decimal(1), rounding=ROUND_UP) * instrument.lot_size
