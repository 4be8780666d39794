"""The stop without a database (RISK.md 3.15): needs keys and the network, and nothing else.

What may add risk is told by the venue's flags alone: an order that is neither reduce-only nor closing
is cancelled, whoever placed it. Stops and targets stay. Positions are kept, halved once or closed,
reduce-only; without our book ours and others' look the same, so that all of them are meant. A venue
account has confirmed when two reads in a row show nothing left to do.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings

from controlplane.errors import DomainError, InvalidInput
from trading.core.values import Instrument, OrderReport, OrderRequest, OrderType, Outcome, OutcomeKind, Side
from trading.dispatch.offline_journal import Journal
from trading.venue_config import load_venue_config
from trading.venues import list_keyed_accounts, open_gateway
from trading.venues.gateway import Gateway, VenueError

T = TypeVar("T")
ZERO = Decimal(0)
AGREEING_READS = 2
PAUSE_SECONDS = 1.0
# The account of keys that name none: its venue account, whatever the desk calls it.
DEFAULT_ACCOUNT = "default"
POLICIES = ("keep", "reduce", "flatten")
SCOPES = ("all", "venue", "account")


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineOrder:
    """What is asked: `scope` is all, venue:V or account:A; `actor` is whoever says so, unchecked."""

    scope: str
    positions: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineResult:
    """What became of it: a line for each venue account that did not confirm, and where the journal is."""

    places: tuple[str, ...]
    outstanding: dict[str, str]
    journal: Path
    journal_trouble: str

    @property
    def is_confirmed(self) -> bool:
        return bool(self.places) and not self.outstanding


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to go on, and how to wait between two rounds."""

    is_over: Callable[[], bool]
    pause: Callable[[float], None]


def stop_offline(
    order: OfflineOrder,
    *,
    folder: Path,
    wall: Callable[[], datetime],
    seconds: float,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> OfflineResult:
    """Sweep the venue accounts of the scope side by side until all confirm or `seconds` of `clock` are over.

    Raises InvalidInput and YamlError before anything is done.
    """
    places = list_places(order)
    journal = Journal(folder=folder, wall=wall)
    named = [f"{account}@{venue}" for venue, account in places]
    facts = {"environment": settings.TRADING_ENVIRONMENT, "places": named}
    body = {name: getattr(order, name) for name in ("scope", "positions", "actor", "reason")}
    journal.write("begin", id=uuid.uuid4().hex, **body, **facts)
    until = clock() + seconds
    patience = Patience(is_over=lambda: clock() >= until, pause=pause)
    jobs = [
        partial(_sweep_place, order, venue, account, journal, wall, patience) for venue, account in places
    ]
    with ThreadPoolExecutor(max_workers=max(1, len(jobs))) as pool:
        troubles = list(pool.map(lambda job: job(), jobs))
    outstanding = {name: trouble for name, trouble in zip(named, troubles, strict=True) if trouble}
    is_confirmed = bool(places) and not outstanding
    journal.write("end", confirmed=is_confirmed, outstanding=outstanding)
    journal.close()
    return OfflineResult(
        places=tuple(named),
        outstanding=outstanding,
        journal=journal.path,
        journal_trouble=journal.trouble,
    )


def list_places(order: OfflineOrder) -> list[tuple[str, str]]:
    """Venue and account of every place in the scope: the file names venues, the keys name accounts."""
    kind, _, name = order.scope.partition(":")
    if kind not in SCOPES or (kind == "all") != (not name):
        raise InvalidInput(f"scope: offline all, venue:V or account:A, found {order.scope!r}")
    if order.positions not in POLICIES:
        raise InvalidInput(f"positions: expected one of {', '.join(POLICIES)}, found {order.positions!r}")
    venues = [venue for venue in load_venue_config().venues if kind != "venue" or venue == name]
    if not venues:
        raise InvalidInput(f"scope: config/venues.yaml has no venue {name!r}")
    if kind == "account":
        return [(venue, name) for venue in venues]
    return [
        (venue, account)
        for venue in venues
        for account in list_keyed_accounts(venue=venue, default=DEFAULT_ACCOUNT)
    ]


def _sweep_place(
    order: OfflineOrder,
    venue: str,
    account: str,
    journal: Journal,
    wall: Callable[[], datetime],
    patience: Patience,
) -> str:
    """Go on until two reads agree; "" or why the venue account has not confirmed."""
    place = f"{account}@{venue}"
    try:
        gateway = open_gateway(venue=venue, account=account, environment=settings.TRADING_ENVIRONMENT)
    except VenueError as error:
        journal.write("failed", place=place, text=str(error))
        return str(error)
    sweeper = Sweeper(order=order, venue=venue, account=account, gateway=gateway, journal=journal, wall=wall)
    agreeing = 0
    while True:
        agreeing = agreeing + 1 if sweeper.go_round() else 0
        if agreeing == AGREEING_READS:
            journal.write("confirmed", place=place, reads=AGREEING_READS)
            return ""
        if patience.is_over():
            return sweeper.trouble or "orders or positions are left"
        if not agreeing:
            patience.pause(PAUSE_SECONDS)


@dataclass(slots=True, kw_only=True)
class Sweeper:
    """Works on one venue account; `trouble` is what went wrong in the last round."""

    order: OfflineOrder
    venue: str
    account: str
    gateway: Gateway
    journal: Journal
    wall: Callable[[], datetime]
    trouble: str = ""
    targets: dict[str, Decimal] = field(default_factory=dict)
    instruments: dict[str, Instrument] = field(default_factory=dict)

    def go_round(self) -> bool:
        """One read and what follows from it; True where nothing was left to do."""
        self.trouble = ""
        is_clear = self._try(self._cancel_orders)
        # Always both: orders that cannot be read must not keep a position open.
        is_right = self.order.positions == "keep" or self._try(self._close_positions)
        return is_clear and is_right

    def _try(self, part: Callable[[], bool]) -> bool:
        try:
            return part()
        except DomainError as error:
            self.trouble = f"{error.code}: {error}"
            self._note("failed", text=self.trouble)
            return False

    def _cancel_orders(self) -> bool:
        resting = [
            report for report in self._read("orders", self.gateway.fetch_open_orders) if adds_risk(report)
        ]
        for report in resting:
            names = {"symbol": report.symbol, "client_order_id": report.client_order_id}
            cancel = partial(
                self.gateway.cancel_order, report.symbol, report.client_order_id, report.is_conditional
            )
            self._ask("cancel", names, cancel)
        return not resting

    def _close_positions(self) -> bool:
        held = {
            report.symbol: report.quantity for report in self._read("positions", self.gateway.fetch_positions)
        }
        results = [self._close(symbol, quantity) for symbol, quantity in sorted(held.items()) if quantity]
        return all(results)

    def _close(self, symbol: str, quantity: Decimal) -> bool:
        """Close what is above the target; True where nothing is."""
        left = abs(quantity) - self._target(symbol, quantity)
        if left <= 0:
            return True
        side = Side.SELL if quantity > 0 else Side.BUY
        largest = self._instrument(symbol, is_needed=False)
        for part in slice_quantity(left, left if largest is None else largest.max_market_quantity):
            request = OrderRequest(
                venue=self.venue,
                account=self.account,
                symbol=symbol,
                client_order_id=f"o{uuid.uuid4().hex[:30]}",
                side=side,
                order_type=OrderType.MARKET,
                quantity=part,
                reduce_only=True,
            )
            names = {
                "symbol": symbol,
                "client_order_id": request.client_order_id,
                "quantity": part,
                "side": side,
            }
            self._ask("close", names, partial(self.gateway.submit_order, request))
        return False

    def _target(self, symbol: str, quantity: Decimal) -> Decimal:
        """What is to stay: nothing, or the half (rounded up to the lot) of what was held at first."""
        if self.order.positions == "flatten":
            return ZERO
        if symbol not in self.targets:
            instrument = self._instrument(symbol, is_needed=True)
            lot = ZERO if instrument is None else instrument.lot_size
            held = abs(quantity)
            goes = held / 2 // lot * lot if lot else ZERO
            self.targets[symbol] = held - goes
            self._note("target", symbol=symbol, held=quantity, stays=self.targets[symbol])
        return self.targets[symbol]

    def _instrument(self, symbol: str, *, is_needed: bool) -> Instrument | None:
        """Raises VenueError where it is needed; a whole position may be closed without it, unsliced."""
        if symbol not in self.instruments:
            try:
                found = self.gateway.load_instruments(self.wall())
            except VenueError:
                if is_needed:
                    raise
                return None
            self.instruments = {instrument.symbol: instrument for instrument, _ in found}
        return self.instruments.get(symbol)

    def _read(self, what: str, read: Callable[[], Sequence[T]]) -> Sequence[T]:
        self._note("request", what=f"read {what}")
        found = read()
        self._note("answer", what=f"read {what}", count=len(found))
        return found

    def _ask(self, what: str, names: dict[str, Any], ask: Callable[[], Outcome]) -> None:
        self._note("request", what=what, **names)
        outcome = ask()
        if outcome.kind is not OutcomeKind.ACCEPTED:
            self.trouble = f"{what} {names['symbol']}: {outcome.kind} {outcome.code} {outcome.text}"
        self._note("answer", what=what, **names, outcome=outcome.kind, code=outcome.code, text=outcome.text)

    def _note(self, kind: str, **facts: Any) -> None:
        self.journal.write(kind, place=f"{self.account}@{self.venue}", **facts)


def adds_risk(report: OrderReport) -> bool:
    """Whether the order could increase |position|, by the venue's flags alone."""
    return not (report.state.is_final or report.reduce_only or report.close_position)


def slice_quantity(quantity: Decimal, largest: Decimal) -> list[Decimal]:
    """The quantity in parts of at most `largest` > 0."""
    parts = []
    while quantity > 0:
        parts.append(min(quantity, largest))
        quantity -= parts[-1]
    return parts
