"""Small markets for the simulator's tests: prices are written in ticks' own decimals, candles are minutes."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from trading.simulator.candles import UNIT, CandleSet, Columns
from trading.simulator.clock import ManualClock
from trading.simulator.engine import Engine
from trading.simulator.feed import CandleFeed
from trading.simulator.state import Algo, Order
from trading.simulator.venue import Credentials, SimulatedVenue, open_venue

MINUTE = 60_000
HOUR = 3_600_000
# Midnight, so that funding is due eight hours later.
T0 = 1_749_600_000_000
WALL = 1_795_000_000_000
CREDENTIALS = Credentials(key="test-key", secret="test-secret")

Row = tuple[str, str, str, str, str]


def flat(price: str, count: int, volume: str = "600") -> list[Row]:
    """Candles in which nothing happens."""
    return [(price, price, price, price, volume)] * count


def ramp(prices: Sequence[str], volume: str = "600") -> list[Row]:
    """One candle per step from each price to the next."""
    rows = []
    for opened, closed in pairwise(prices):
        high, low = max(opened, closed, key=Decimal), min(opened, closed, key=Decimal)
        rows.append((opened, high, low, closed, volume))
    return rows


def feed_of(*, bar_ms: int = MINUTE, first_ms: int = T0, **series: list[Row]) -> CandleFeed:
    columns = {}
    for symbol, rows in series.items():
        columns[symbol] = Columns(first_ms=first_ms, bar_ms=bar_ms)
        for row in rows:
            o, h, low, c, v = (int(Decimal(cell) * UNIT) for cell in row)
            columns[symbol].append((o, h, low, c, v))
    return CandleFeed(CandleSet(bar_ms=bar_ms, digest="test", series=columns))


def engine_of(*, balance: str = "1000", at_ms: int = T0, **series: list[Row]) -> Engine:
    """An engine at the first candle; every symbol at 2x isolated, as the desk sets it."""
    engine = Engine.start(feed_of(**series), at_ms=at_ms, balance=Decimal(balance))
    for symbol in series:
        engine.set_leverage(symbol=symbol, leverage=2)
        engine.set_margin_type(symbol=symbol, isolated=True)
    return engine


def order(engine: Engine, side: str, quantity: str, **fields: Any) -> Order:
    """A market order on ETHUSDT unless told otherwise; a price makes it a limit order."""
    fields.setdefault("symbol", "ETHUSDT")
    fields.setdefault("type", "LIMIT" if "price" in fields else "MARKET")
    fields.setdefault("client_id", f"o{engine.state.last_id}")
    return engine.place_order(side=side, quantity=quantity, **fields)


def algo(engine: Engine, side: str, kind: str, trigger: str, **fields: Any) -> Algo:
    """A conditional order on ETHUSDT, by mark price, closing the position unless a quantity is given."""
    fields.setdefault("symbol", "ETHUSDT")
    fields.setdefault("working_type", "MARK_PRICE")
    fields.setdefault("client_id", f"a{engine.state.last_id}")
    if "quantity" not in fields:
        fields.setdefault("close_position", True)
    return engine.place_algo(side=side, type=kind, trigger_price=trigger, **fields)


def minutes(engine: Engine, count: float) -> None:
    engine.advance(engine.state.now_ms + int(count * MINUTE))


def venue_of(*, balance: str = "1000", speed: int = 1, **series: list[Row]) -> SimulatedVenue:
    """A venue without a folder, on a clock that the test moves."""
    clock = ManualClock(market=T0, wall=WALL, speed=speed)
    return open_venue(feed=feed_of(**series), clock=clock, credentials=CREDENTIALS, balance=Decimal(balance))
