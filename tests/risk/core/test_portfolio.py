"""A whole book's measures, by hand."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from risk.core import portfolio
from risk.core.portfolio import Exposure
from risk.core.statistics import HOUR
from risk.core.values import CorrelationFacts
from tests.risk import build
from trading.core.values import Side

D = Decimal
START = datetime(2025, 6, 1, tzinfo=UTC)


def exposure(symbol: str, long: object = 0, short: object = 0) -> Exposure:
    return Exposure(symbol=symbol, long=D(str(long)), short=D(str(short)))


def known(first: str, second: str, value: str) -> CorrelationFacts:
    return CorrelationFacts(first=first, second=second, value=D(value))


def test_every_pending_entry_counts_at_its_worst():
    # Long 0.6 at 150; selling 1.0 more would make it 0.4 short, buying 0.2 more 0.8 long.
    held = build.position(quantity=D("0.6"), mark=D(150))
    same = {"symbol": "SOLUSDT", "mark": D(150), "price": None}
    items = [
        held,
        build.pending(**same, side=Side.SELL, quantity=D(1)),
        build.pending(**same, side=Side.BUY, quantity=D("0.2")),
    ]
    (found,) = portfolio.measure_exposures(items)
    assert (found.symbol, found.long, found.short) == ("SOLUSDT", 120, 60)
    assert (found.notional, found.signed) == (120, 120)
    assert exposure("X", long=1, short=2).signed == -2


def test_a_pending_order_counts_at_its_own_price_if_that_is_higher():
    (found,) = portfolio.measure_exposures(
        [build.pending(quantity=D(100), mark=D("0.2"), price=D("0.25"), side=Side.SELL)]
    )
    assert (found.long, found.short) == (0, 25)


def test_what_two_venues_hold_is_not_netted():
    one = build.position(venue="binanceusdm", quantity=D(1), mark=D(100))
    other = build.position(venue="bybit", quantity=D(-1), mark=D(101))
    (found,) = portfolio.measure_exposures([one, other])
    assert (found.long, found.short, found.notional) == (100, 101, 101)


def test_without_a_price_nothing_is_known():
    assert portfolio.measure_exposures([build.position(mark=None)]) is None
    assert portfolio.measure_exposures([]) == ()


def test_concentration_is_the_index_scaled_by_what_is_at_risk():
    equity = D(1000)
    # Two of 90: an index of 1/2, of a book of 18 % of the equity.
    small = (exposure("A", long=90), exposure("B", short=90))
    assert portfolio.measure_concentration(small, equity) == pytest.approx(D("0.09"))
    assert portfolio.measure_concentration((exposure("A", long=90),), equity) == pytest.approx(D("0.09"))
    # From a book as large as the equity on, the index itself.
    large = (exposure("A", long=1500), exposure("B", long=500))
    assert portfolio.measure_concentration(large, equity) == pytest.approx(D("0.625"))
    assert portfolio.measure_concentration((), equity) == 0


def test_the_largest_bet_follows_chains_and_sides():
    book = (
        exposure("BTCUSDT", long=100),
        exposure("DOGEUSDT", short=500),
        exposure("ETHUSDT", long=300),
        exposure("SOLUSDT", long=200),
    )
    apart = [
        known("BTCUSDT", "ETHUSDT", "0.9"),
        known("ETHUSDT", "SOLUSDT", "0.8"),
        known("BTCUSDT", "SOLUSDT", "0.1"),
        known("BTCUSDT", "DOGEUSDT", "0.2"),
        known("DOGEUSDT", "ETHUSDT", "-0.2"),
        known("DOGEUSDT", "SOLUSDT", "0.7"),
    ]
    threshold = D("0.7")
    # BTC-ETH-SOL are 600 long; DOGE stands alone with 500.
    assert portfolio.measure_bet(book, tuple(apart), threshold) == 600
    # One unknown pair joins DOGE with them: still the long side, as sides are not netted.
    assert portfolio.measure_bet(book, tuple(apart[:-1]), threshold) == 600
    assert portfolio.measure_bet((*book[:1], *book[1:2]), tuple(apart), threshold) == 500
    assert portfolio.measure_bet((), (), threshold) == 0
    symbols = [item.symbol for item in book]
    assert set(portfolio.find_bets(symbols, apart, threshold)) == {
        frozenset({"BTCUSDT", "ETHUSDT", "SOLUSDT"}),
        frozenset({"DOGEUSDT"}),
    }
    assert portfolio.find_bets(symbols, apart[:-1], threshold) == [frozenset(symbols)]
    assert len(portfolio.find_bets(symbols, apart, D(1))) == 4


def returns_of(values: list[float]) -> dict[datetime, float]:
    return {START + index * HOUR: value for index, value in enumerate(values)}


def measure(book, returns, **changes):
    numbers = {"confidence": 0.99, "samples": 200, "parametric_samples": 48, "periods": 24}
    return portfolio.measure_loss(book, returns, **(numbers | changes))


def test_the_loss_of_a_day_is_read_from_two_hundred_hours():
    moves = list(np.random.default_rng(3).normal(0, 0.01, 200))
    found = measure((exposure("BTCUSDT", long=1000),), {"BTCUSDT": returns_of(moves)})
    losses = -1000 * np.array(moves)
    expected = np.quantile(losses, 0.99, method="inverted_cdf") * math.sqrt(24)
    assert found.method == "historical"
    assert float(found.value_at_risk) == pytest.approx(expected)
    assert found.expected_shortfall >= found.value_at_risk > 0


def test_a_short_book_loses_where_prices_rise():
    rises = returns_of([0.02] * 5 + [-0.001] * 195)
    short = measure((exposure("BTCUSDT", short=1000),), {"BTCUSDT": rises})
    long = measure((exposure("BTCUSDT", long=1000),), {"BTCUSDT": rises})
    assert float(short.value_at_risk) == pytest.approx(20 * math.sqrt(24))
    assert float(long.value_at_risk) == pytest.approx(1 * math.sqrt(24))


def test_a_book_that_only_ever_won_has_no_loss_not_a_negative_one():
    found = measure((exposure("BTCUSDT", long=1000),), {"BTCUSDT": returns_of([0.01] * 200)})
    assert (found.value_at_risk, found.expected_shortfall) == (0, 0)


def test_with_fewer_hours_it_is_estimated_and_with_fewer_still_unknown():
    book = (exposure("BTCUSDT", long=1000),)
    moves = [0.01, -0.01] * 100
    found = measure(book, {"BTCUSDT": returns_of(moves[:199])})
    assert found.method == "parametric"
    assert float(found.value_at_risk) == pytest.approx(2.32635 * 10 * math.sqrt(24), rel=1e-4)
    assert found.expected_shortfall > found.value_at_risk
    assert measure(book, {"BTCUSDT": returns_of(moves[:48])}).method == "parametric"
    assert measure(book, {"BTCUSDT": returns_of(moves[:47])}) is None
    assert measure(book, {}) is None


def test_the_estimate_takes_the_larger_of_usual_and_recent_volatility():
    book = (exposure("BTCUSDT", long=1000),)
    calm_then_wild = [0.001] * 76 + [0.02] * 24
    wild_then_calm = [0.02] * 24 + [0.001] * 76
    realised = math.sqrt(np.mean(np.square(calm_then_wild)))
    late, early = (measure(book, {"BTCUSDT": returns_of(m)}) for m in (calm_then_wild, wild_then_calm))
    assert float(early.value_at_risk) == pytest.approx(2.32635 * 1000 * realised * math.sqrt(24), rel=1e-4)
    assert late.value_at_risk > early.value_at_risk


def test_one_symbol_without_history_leaves_the_whole_book_unknown():
    book = (exposure("BTCUSDT", long=1000), exposure("SOLUSDT", long=10))
    history = returns_of([0.01, -0.01] * 150)
    assert measure(book, {"BTCUSDT": history}) is None
    late = {at + timedelta(hours=260): value for at, value in history.items()}
    # 40 common hours.
    assert measure(book, {"BTCUSDT": history, "SOLUSDT": late}) is None
