"""Arming a venue's dead-man timer, and the probe of what such a timer really cancels (RISK.md 3.17).

The probe is the one place besides the door that places an order which adds risk: the smallest there is,
resting far from the market, on paper or demo only, on a symbol with nothing on it, never while HALTED.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_DOWN, ROUND_UP, Decimal

from controlplane.errors import Conflict
from trading import locks, models, selectors
from trading.core.sizing import round_to_grid
from trading.core.values import (
    Environment,
    Instrument,
    OrderRequest,
    OrderType,
    Outcome,
    OutcomeKind,
    Side,
)
from trading.dispatch.messages import count_message
from trading.dispatch.orders import open_venue
from trading.dispatch.settling import read_positions
from trading.locks import symbol_key
from trading.venues.gateway import Cause, Gateway, VenueError, VenueUnavailable

logger = logging.getLogger(__name__)

PROBE_TIMER = timedelta(seconds=3)
# How often the venue is read for the entry to be gone, and how long is waited before each.
LOOKS = 5
LOOK_EVERY_SECONDS = 2.0
ENTRY_RATIO, TRIGGER_RATIO = Decimal("0.96"), Decimal("0.90")


class ProbeRefused(Conflict):
    """The probe may not run here or now."""

    code = "dead_man_probe_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerProbe:
    """What the venue showed after the timer had run out."""

    entry_is_gone: bool
    protection_rests: bool

    @property
    def is_good(self) -> bool:
        return self.entry_is_gone and self.protection_rests


def arm_timer(*, venue_account: models.VenueAccount, symbol: str, timer: timedelta) -> Outcome:
    """Start the symbol's timer anew at the venue; raises VenueError where the venue cannot be asked."""
    gateway = open_venue(venue_account)
    if not gateway.capabilities.has_dead_man_timer:
        raise VenueError(
            f"{venue_account.venue}: has no dead-man timer", cause=Cause.VENUE, code="venue_incapable"
        )
    count_message(venue_account.pk)
    return gateway.arm_dead_man_timer(symbol, timer // timedelta(milliseconds=1))


def probe_timer(
    *, venue_account: models.VenueAccount, symbol: str, wait: Callable[[float], None]
) -> TimerProbe:
    """Let a short timer run out over an entry and a conditional stop, and read what is left.

    The stop is reduce-only and needs no position. Both are taken away again. Raises ProbeRefused,
    VenueError and LockBusy; nothing is concluded then.
    """
    environment = venue_account.account.environment
    if environment == Environment.LIVE:
        raise ProbeRefused("the probe is made on the venue's demo or on paper, never live")
    if selectors.is_halted(venue_account):
        raise ProbeRefused(f"{venue_account} is HALTED: no order that adds risk leaves")
    gateway = open_venue(venue_account)
    with locks.hold(symbol_key(venue_account, symbol), patience=locks.PATIENCE):
        _require_clear(venue_account, symbol, gateway)
        orders = _plan_orders(venue_account, symbol, gateway)
        try:
            _place(venue_account, gateway, orders)
            outcome = arm_timer(venue_account=venue_account, symbol=symbol, timer=PROBE_TIMER)
            _require_accepted(outcome, f"{venue_account} {symbol}: the timer")
            return _watch(gateway, symbol, orders, wait)
        finally:
            _tidy(venue_account, gateway, symbol, orders)


def _require_clear(place: models.VenueAccount, symbol: str, gateway: Gateway) -> None:
    """A timer takes every order of the symbol: there must be none but the probe's own."""
    is_ours = selectors.list_unsettled_orders(place, symbol).exists()
    if is_ours or gateway.fetch_open_orders(symbol) or symbol in read_positions(venue_account=place):
        raise ProbeRefused(f"{place} {symbol}: something rests or is held there; choose another symbol")


def _plan_orders(
    place: models.VenueAccount, symbol: str, gateway: Gateway
) -> tuple[OrderRequest, OrderRequest]:
    """The entry and the stop."""
    found = gateway.load_instruments(selectors.get_clocks().market_at)
    instrument = next((row for row, _ in found if row.symbol == symbol), None)
    prices = gateway.fetch_prices([symbol]).get(symbol)
    if instrument is None or prices is None:
        raise VenueUnavailable(f"{place.venue}: no price or no instrument of {symbol}", cause=Cause.VENUE)
    price = round_to_grid(prices.mark * ENTRY_RATIO, instrument.tick_size, ROUND_DOWN)
    trigger = round_to_grid(prices.mark * TRIGGER_RATIO, instrument.tick_size, ROUND_DOWN)
    quantity = _smallest_quantity(instrument, price)
    entry = OrderRequest(
        venue=place.venue,
        account=place.account.name,
        symbol=symbol,
        client_order_id=f"p{uuid.uuid4().hex[:30]}",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=quantity,
        price=price,
    )
    stop = OrderRequest(
        venue=place.venue,
        account=place.account.name,
        symbol=symbol,
        client_order_id=f"p{uuid.uuid4().hex[:30]}",
        side=Side.SELL,
        order_type=OrderType.STOP_MARKET,
        quantity=quantity,
        trigger_price=trigger,
        reduce_only=True,
    )
    return entry, stop


def _smallest_quantity(instrument: Instrument, price: Decimal) -> Decimal:
    """The fewest lots that the venue takes at the price, with a little to spare."""
    wanted = max(instrument.min_quantity, instrument.min_notional * Decimal("1.05") / price)
    return round_to_grid(wanted, instrument.lot_size, ROUND_UP)


def _place(place: models.VenueAccount, gateway: Gateway, orders: tuple[OrderRequest, ...]) -> None:
    for request in orders:
        count_message(place.pk)
        _require_accepted(gateway.submit_order(request), f"{place} {request.symbol}: {request.order_type}")


def _require_accepted(outcome: Outcome, what: str) -> None:
    if outcome.kind is not OutcomeKind.ACCEPTED:
        raise VenueUnavailable(f"{what}: {outcome.kind} {outcome.code} {outcome.text}", cause=Cause.VENUE)


def _watch(
    gateway: Gateway,
    symbol: str,
    orders: tuple[OrderRequest, OrderRequest],
    wait: Callable[[float], None],
) -> TimerProbe:
    """Read until the entry is gone; the stop must rest in that same read and in one after it."""
    entry, stop = (request.client_order_id for request in orders)
    is_gone = False
    for _ in range(LOOKS):
        wait(LOOK_EVERY_SECONDS)
        resting = {report.client_order_id for report in gateway.fetch_open_orders(symbol)}
        if is_gone or stop not in resting:
            return TimerProbe(entry_is_gone=entry not in resting, protection_rests=stop in resting)
        is_gone = entry not in resting
    return TimerProbe(entry_is_gone=is_gone, protection_rests=not is_gone)


def _tidy(
    place: models.VenueAccount, gateway: Gateway, symbol: str, orders: tuple[OrderRequest, ...]
) -> None:
    """Disarm, cancel what is left, and close what the entry may have filled."""
    gateway.arm_dead_man_timer(symbol, 0)
    for request in orders:
        count_message(place.pk)
        gateway.cancel_order(symbol, request.client_order_id, request.order_type.is_conditional)
    held = read_positions(venue_account=place).get(symbol, Decimal(0))
    if not held:
        return
    logger.warning("%s %s: the probe's entry was filled; it is closed", place, symbol)
    count_message(place.pk)
    gateway.submit_order(
        OrderRequest(
            venue=place.venue,
            account=place.account.name,
            symbol=symbol,
            client_order_id=f"p{uuid.uuid4().hex[:30]}",
            side=Side.SELL if held > 0 else Side.BUY,
            order_type=OrderType.MARKET,
            quantity=abs(held),
            reduce_only=True,
        )
    )
