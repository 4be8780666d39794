"""Candles as shown: closed ones are the feed's, longer ones add up, shorter ones come from the path."""

from decimal import Decimal

from tests.trading.simulator.builders import MINUTE, T0, Row, engine_of, feed_of, minutes
from trading.simulator import history
from trading.simulator.engine import Engine

ROWS: list[Row] = [
    ("2500.00", "2510.00", "2490.00", "2505.00", "12"),
    ("2505.00", "2520.00", "2500.00", "2515.00", "24"),
    ("2515.00", "2516.00", "2480.00", "2490.00", "36"),
    ("2490.00", "2500.00", "2485.00", "2495.00", "48"),
    ("2495.00", "2496.00", "2470.00", "2475.00", "60"),
    ("2475.00", "2476.00", "2474.00", "2475.00", "72"),
]


def shown(engine: Engine, interval: int, limit: int = 10, start: int | None = None) -> list[tuple[str, ...]]:
    found = history.candles(engine, "ETHUSDT", interval, start_ms=start, end_ms=None, limit=limit)
    return [
        tuple(history.text(value, 2) for value in (c.open, c.high, c.low, c.close, c.volume)) for c in found
    ]


def test_closed_candles_are_the_feeds_own_and_the_last_one_is_forming():
    engine = engine_of(ETHUSDT=ROWS)
    minutes(engine, 2.5)
    rows = shown(engine, MINUTE)
    assert rows[:2] == [tuple(f"{Decimal(cell):.2f}" for cell in row) for row in ROWS[:2]]
    assert len(rows) == 3
    assert rows[2][0] == "2515.00"
    assert Decimal(rows[2][4]) == Decimal("21"), "seven of twelve steps"


def test_longer_candles_add_up_from_the_shorter_ones():
    engine = engine_of(ETHUSDT=ROWS)
    minutes(engine, 5)
    whole = shown(engine, 5 * MINUTE, limit=2)[0]
    assert whole == ("2500.00", "2520.00", "2470.00", "2475.00", "180.00")


def test_shorter_candles_than_the_feeds_come_from_the_path_and_add_up_to_it():
    feed = feed_of(bar_ms=5 * MINUTE, ETHUSDT=[("2500.00", "2560.00", "2450.00", "2520.00", "600")] * 2)
    engine = Engine.start(feed, at_ms=T0, balance=Decimal(1000))
    minutes(engine, 5)
    parts = shown(engine, MINUTE)[:5]
    assert parts[0][0] == "2500.00"
    assert parts[4][3] == "2520.00"
    assert max(Decimal(row[1]) for row in parts) == Decimal("2560")
    assert min(Decimal(row[2]) for row in parts) == Decimal("2450")
    assert sum(Decimal(row[4]) for row in parts) == Decimal("600")


def test_a_start_gives_the_first_candles_and_an_end_the_last():
    engine = engine_of(ETHUSDT=ROWS)
    minutes(engine, 6)
    assert len(shown(engine, MINUTE, limit=2, start=T0 + MINUTE)) == 2
    assert shown(engine, MINUTE, limit=1, start=T0 + MINUTE)[0][0] == "2505.00"
    ended = history.candles(engine, "ETHUSDT", MINUTE, start_ms=None, end_ms=T0 + 2 * MINUTE, limit=2)
    assert [candle.open_ms for candle in ended] == [T0 + MINUTE, T0 + 2 * MINUTE]
    assert history.candles(engine, "ETHUSDT", MINUTE, start_ms=T0 + 60 * MINUTE, end_ms=None, limit=5) == []


def test_the_last_day_is_one_candle():
    engine = engine_of(ETHUSDT=ROWS)
    minutes(engine, 5)
    day = history.last_day(engine, "ETHUSDT")
    assert day is not None
    assert history.scaled(day.high) == Decimal("2520")
