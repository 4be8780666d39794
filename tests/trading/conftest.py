"""A desk for the order path: the real database, and a simulated venue over HTTP in real time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.utils import timezone

from tests.factories import (
    DecisionFactory,
    IntentFactory,
    PermitFactory,
    PriceFactory,
    TradingStateFactory,
    VenueAccountFactory,
)
from trading import market, models, selectors
from trading.core.sizing import round_to_grid
from trading.simulator.clock import system_ms
from trading.simulator.generator import GeneratedFeed
from trading.simulator.server import VenueServer
from trading.simulator.venue import Credentials, SimulatedVenue, open_venue
from trading.venues import close_gateways

SYMBOL = "ETHUSDT"
# Above what the gate itself numbers, in a database that is used by many tests.
DECISIONS = count(10**9)
ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"


@dataclass(slots=True)
class RealClock:
    """Market time is wall time, and may be moved ahead."""

    ahead_ms: int = 0
    speed: int = 1

    def market_ms(self) -> int:
        return system_ms() + self.ahead_ms

    def wall_ms(self) -> int:
        return system_ms()


@dataclass(slots=True, kw_only=True)
class Desk:
    """One account at one simulated venue, with everything an entry needs."""

    place: models.VenueAccount
    permit: models.Permit
    venue: SimulatedVenue
    address: str
    settings: Any = field(repr=False)

    def fault(self, kind: str, **fields: Any) -> None:
        self.venue.faults.add({"kind": kind, **fields})

    def clear_faults(self) -> None:
        self.venue.faults.clear()

    def gap(self, percent: str, symbol: str = SYMBOL) -> None:
        """Move every price of the symbol, and let time pass until its mark has followed."""
        market = self.venue.engine.state.markets[symbol]
        before = market.mark
        self.venue.execute("gap", symbol=symbol, ratio=str(Decimal(percent) / 100), seconds=0)
        for _ in range(60):
            self.venue.clock.ahead_ms += 1000  # type: ignore[attr-defined]
            self.venue.tick()
            if abs(self.venue.engine.state.markets[symbol].mark / before - 1) > abs(Decimal(percent)) / 125:
                return
        raise AssertionError(f"mark of {symbol} did not move by {percent} %")

    def refresh_price(self, symbol: str = SYMBOL) -> Decimal:
        """Read the price as the cycle does; returns mark."""
        return market.refresh_prices(
            venue=self.place.venue, account=self.place.account.name, symbols=[symbol]
        )[symbol].mark

    def approve(self, **changes: Any) -> models.OrderIntent:
        """An entry that the gate has just allowed: long, stop 2 % below, target 4 % above."""
        symbol = changes.get("symbol", SYMBOL)
        mark = self.refresh_price(symbol)
        side = 1 if changes.get("side", "buy") == "buy" else -1
        now = timezone.now()
        facts: dict[str, Any] = {
            "venue_account": self.place,
            "symbol": symbol,
            "quantity": Decimal("0.04"),
            "stop_loss": round_to_grid(mark * (1 - side * Decimal("0.02")), Decimal("0.01"), "ROUND_FLOOR"),
            "take_profit": round_to_grid(mark * (1 + side * Decimal("0.04")), Decimal("0.01"), "ROUND_FLOOR"),
            "state": "approved",
            "decision_id": next(DECISIONS),
            "fencing_token": self.permit.fencing_token,
            "limit_set_digest": self.permit.limit_set_digest,
            "valid_until": now + timedelta(seconds=5),
            "signal_at": now,
            "market_at": now,
        }
        intent = IntentFactory(**(facts | changes))
        if intent.decision_id is not None:
            DecisionFactory(intent=intent)
        return intent

    def approve_exit(self, **changes: Any) -> models.OrderIntent:
        position = self.position(changes.get("symbol", SYMBOL))
        facts: dict[str, Any] = {
            "purpose": "exit",
            "side": "sell" if position.quantity > 0 else "buy",
            "quantity": abs(position.quantity),
            "stop_loss": None,
            "take_profit": None,
            "reduce_only": True,
        }
        return self.approve(**(facts | changes))

    def position(self, symbol: str = SYMBOL) -> models.Position:
        position = selectors.get_position(self.place, symbol)
        assert position is not None
        return position

    def held(self, symbol: str = SYMBOL) -> Decimal:
        """What the venue says is held."""
        position = self.venue.engine.state.positions.get(symbol)
        return Decimal(0) if position is None else position.quantity

    def resting(self, symbol: str = SYMBOL) -> list[str]:
        """Types of the conditional orders resting at the venue."""
        return sorted(a.type for a in self.venue.engine.state.algos.values() if a.symbol == symbol)

    def requests_to(self, method: str, path: str) -> int:
        return sum(entry["method"] == method and entry["path"] == path for entry in self.venue.requests)

    def venue_orders(self, symbol: str = SYMBOL) -> list[Any]:
        state = self.venue.engine.state
        everything = [*state.orders.values(), *state.closed_orders.values()]
        return [order for order in everything if order.symbol == symbol]


@pytest.fixture
def desk(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A running venue and an account that may trade there."""
    venue = open_venue(
        feed=GeneratedFeed(7),
        clock=RealClock(),
        credentials=Credentials(key="key-of-the-tests", secret="secret-of-the-tests"),
        balance=Decimal(1100),
    )
    with VenueServer(venue) as server:
        settings.SIMULATED_VENUES = {"binanceusdm": server.address}
        monkeypatch.setenv("BINANCE_API_KEY", "key-of-the-tests")
        monkeypatch.setenv("BINANCE_API_SECRET", "secret-of-the-tests")
        close_gateways()
        place = VenueAccountFactory()
        for scope in ("all", f"venue:{place.venue}", f"account:{place.account.name}", "strategy:trend"):
            TradingStateFactory(scope=scope)
        for symbol in ("ETHUSDT", "SOLUSDT"):
            TradingStateFactory(scope=f"symbol:{symbol}")
            PriceFactory(venue=place.venue, symbol=symbol)
        permit = PermitFactory(account=place.account)
        yield Desk(place=place, permit=permit, venue=venue, address=server.address, settings=settings)
        close_gateways()
