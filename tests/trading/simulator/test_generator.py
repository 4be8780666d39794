"""Generated candles: reproducible, joined, consistent, correlated, fat-tailed."""

import itertools
import math
import statistics
from array import array
from functools import cache

from trading.simulator.candles import SCALE, Columns
from trading.simulator.generator import DAY_MS, MINUTE_MS, ORIGIN_MS, GeneratedFeed
from trading.simulator.instruments import INSTRUMENTS

START = ORIGIN_MS + 700 * DAY_MS


def returns(prices: "array[int]", width: int) -> list[float]:
    kept = prices[::width]
    return [math.log(after / before) for before, after in itertools.pairwise(kept)]


@cache
def month(symbol: str) -> Columns:
    return GeneratedFeed(7).columns(symbol, START, START + 30 * DAY_MS)


def test_the_same_seed_gives_the_same_candles_in_any_order_of_asking():
    one, other = GeneratedFeed(7), GeneratedFeed(7)
    late = one.bar("ETHUSDT", START + 5 * DAY_MS)
    one.bar("ETHUSDT", START)
    other.columns("ETHUSDT", START, START + 6 * DAY_MS)
    assert other.bar("ETHUSDT", START + 5 * DAY_MS) == late
    assert GeneratedFeed(8).bar("ETHUSDT", START + 5 * DAY_MS) != late
    assert one.identity == "seed:7"


def test_candles_are_consistent_whole_ticks_and_join_over_midnight():
    for symbol in GeneratedFeed(7).symbols:
        columns = GeneratedFeed(7).columns(symbol, START - 120 * MINUTE_MS, START + 120 * MINUTE_MS)
        tick = int(INSTRUMENTS[symbol].tick.scaleb(SCALE))
        assert len(columns) == 240
        for index in range(240):
            bar = columns.bar(index)
            assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
            assert not (bar.open % tick)
            assert not (bar.high % tick)
            assert not (bar.low % tick)
            assert not (bar.close % tick)
            assert bar.volume > 0
            if index:
                assert abs(bar.open - columns.bar(index - 1).close) <= tick


def test_hourly_returns_are_correlated_as_real_ones_are():
    bitcoin = returns(month("BTCUSDT").close, 60)
    for symbol in ("ETHUSDT", "SOLUSDT", "BNBUSDT"):
        assert 0.7 < statistics.correlation(bitcoin, returns(month(symbol).close, 60)) < 0.95


def test_minutes_have_fat_tails():
    moves = returns(month("BTCUSDT").close, 1)
    spread = statistics.stdev(moves)
    kurtosis = statistics.fmean((move / spread) ** 4 for move in moves)
    assert kurtosis > 4
    assert 0.0002 < spread < 0.002


def test_there_is_nothing_before_the_first_day():
    feed = GeneratedFeed(7)
    assert feed.bar("ETHUSDT", ORIGIN_MS - 1) is None
    assert len(feed.columns("ETHUSDT", ORIGIN_MS - DAY_MS, ORIGIN_MS)) == 0
    assert len(feed.columns("ETHUSDT", ORIGIN_MS - DAY_MS, ORIGIN_MS + MINUTE_MS)) == 1


def test_the_walk_stays_in_a_sensible_range_for_years():
    feed = GeneratedFeed(7)
    closes = [
        feed.columns("BTCUSDT", ORIGIN_MS + d * DAY_MS, ORIGIN_MS + d * DAY_MS + 1).close[0]
        for d in range(0, 2_000, 50)
    ]
    assert 20_000 * 10**SCALE < min(closes) < max(closes) < 500_000 * 10**SCALE
