"""Correlations of the desk's symbols, computed from stored hours and written when an hour is new."""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from risk import models
from risk.core.statistics import shrink
from risk.core.values import CorrelationFacts
from risk.global_risk.assessment import assess_global_risk
from risk.global_risk.correlations import list_correlations, list_desk_symbols, update_correlations
from risk.global_risk.returns import floor_to_hour, list_spans
from tests.risk import desk
from tests.risk.candles import make_hours
from trading import models as facts
from trading.core.values import Clocks
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
D = Decimal
RANDOM = np.random.default_rng(11)
MARKET = RANDOM.normal(0, 0.01, 720)


def alike(noise: float) -> list[float]:
    """Moves of a symbol that follows the market, with some of its own."""
    return list(MARKET + RANDOM.normal(0, noise, len(MARKET)))


@pytest.fixture
def account() -> facts.Account:
    return desk.make_desk()


def update(hours: int = 0) -> int:
    now, step = get_clocks(), timedelta(hours=hours)
    return update_correlations(clocks=Clocks(wall_at=now.wall_at, market_at=now.market_at + step))


def get(first: str, second: str) -> models.Correlation:
    return models.Correlation.objects.get(first=first, second=second)


def test_every_pair_of_what_is_traded_held_or_awaited_is_computed(account):
    desk.hold(account, symbol="XRPUSDT")
    intent = desk.ask(account, symbol="ADAUSDT")
    facts.OrderIntent.objects.filter(pk=intent.pk).update(state="approved", decision_id=1)
    assert list_desk_symbols() == ("ADAUSDT", "BTCUSDT", "DOGEUSDT", "SOLUSDT", "XRPUSDT")
    assert update() == 10
    pairs = set(models.Correlation.objects.values_list("first", "second"))
    assert len(pairs) == 10
    assert all(first < second for first, second in pairs)


def test_what_only_was_traded_is_not(account):
    desk.hold(account, symbol="XRPUSDT", quantity=0, entry_price=None)
    facts.StrategyAssignment.objects.update(enabled=False)
    assert list_desk_symbols() == ()
    assert update() == 0


def test_the_value_is_the_shrunk_correlation_of_hourly_log_closes(account):
    bitcoin, coin = alike(0.002), alike(0.01)
    closed_at = make_hours("BTCUSDT", count=721, moves=bitcoin)
    make_hours("DOGEUSDT", count=721, moves=coin)
    update()
    row = get("BTCUSDT", "DOGEUSDT")
    # 720 closes of the window, 719 moves.
    plain = np.corrcoef(np.log1p(bitcoin[1:]), np.log1p(coin[1:]))[0, 1]
    assert float(row.value) == pytest.approx(shrink(plain, 719), abs=1e-6)
    assert (row.samples, row.computed_at) == (719, closed_at)
    assert get("BTCUSDT", "SOLUSDT").value is None


@pytest.mark.parametrize(("hours", "is_known"), [(200, False), (201, True)])
def test_fewer_than_two_hundred_common_hours_are_unknown(account, hours, is_known):
    make_hours("BTCUSDT", count=500, moves=alike(0.002)[:499])
    make_hours("DOGEUSDT", count=hours, moves=alike(0.002)[: hours - 1])
    update()
    row = get("BTCUSDT", "DOGEUSDT")
    assert (row.samples, row.value is not None) == (hours - 1, is_known)


def test_hours_older_than_thirty_days_say_nothing(account):
    make_hours("BTCUSDT", count=721, moves=alike(0.002))
    make_hours("DOGEUSDT", count=721, moves=alike(0.002))
    update()
    assert get("BTCUSDT", "DOGEUSDT").value is not None
    update(hours=520)
    assert (get("BTCUSDT", "DOGEUSDT").samples, get("BTCUSDT", "DOGEUSDT").value) == (199, None)


def test_nothing_is_written_until_an_hour_has_closed_or_history_has_come(account):
    make_hours("BTCUSDT", count=300, moves=alike(0.002)[:299], ended_hours_ago=1)
    make_hours("DOGEUSDT", count=300, moves=alike(0.002)[:299], ended_hours_ago=1)
    assert update() == 3
    assert update() == 0
    first = get("BTCUSDT", "DOGEUSDT")
    for symbol in ("BTCUSDT", "DOGEUSDT"):
        facts.Candle.objects.create(
            venue="binanceusdm",
            symbol=symbol,
            interval="1h",
            open_at=first.computed_at,
            **dict.fromkeys(("open", "high", "low", "close"), D(100)),
            volume=1,
        )
        # One side alone gives the pair no hour more.
        assert update() == (0 if symbol == "BTCUSDT" else 1)
    second = get("BTCUSDT", "DOGEUSDT")
    assert second.computed_at == first.computed_at + timedelta(hours=1)
    assert second.samples == first.samples + 1


def test_an_hour_that_is_not_closed_is_not_used(account):
    end = make_hours("BTCUSDT", count=300)
    facts.Candle.objects.create(
        venue="binanceusdm",
        symbol="BTCUSDT",
        interval="1h",
        open_at=end,
        **dict.fromkeys(("open", "high", "low", "close"), D(100)),
        volume=1,
    )
    now = get_clocks().market_at
    assert end == floor_to_hour(now)
    span = list_spans(["BTCUSDT"], now)["BTCUSDT"]
    assert (span.count, span.closed_at) == (300, end)


def test_of_each_symbol_the_venue_with_the_most_hours_is_used(account):
    make_hours("BTCUSDT", count=250, venue="bybit")
    make_hours("BTCUSDT", count=300, venue="binanceusdm")
    make_hours("DOGEUSDT", count=300, venue="bybit")
    make_hours("DOGEUSDT", count=250, venue="binanceusdm")
    spans = list_spans(["BTCUSDT", "DOGEUSDT", "SOLUSDT"], get_clocks().market_at)
    assert {symbol: (span.venue, span.count) for symbol, span in spans.items()} == {
        "BTCUSDT": ("binanceusdm", 300),
        "DOGEUSDT": ("bybit", 300),
    }


def test_a_gap_in_the_hours_makes_no_move_across_it(account):
    make_hours("BTCUSDT", count=300)
    make_hours("DOGEUSDT", count=300)
    newest = facts.Candle.objects.filter(symbol="DOGEUSDT").latest("open_at")
    facts.Candle.objects.get(symbol="DOGEUSDT", open_at=newest.open_at - timedelta(hours=5)).delete()
    update()
    assert get("BTCUSDT", "DOGEUSDT").samples == 297


def test_a_corrected_close_is_seen(account):
    make_hours("BTCUSDT", count=300, moves=alike(0.002)[:299])
    make_hours("DOGEUSDT", count=300, moves=alike(0.002)[:299])
    update()
    before = get("BTCUSDT", "DOGEUSDT").value
    newest = facts.Candle.objects.filter(symbol="DOGEUSDT").latest("open_at")
    newest.close *= 2
    newest.save()
    assert update() == 1
    assert get("BTCUSDT", "DOGEUSDT").value < before


def test_what_is_old_or_unknown_is_not_listed(account):
    now = get_clocks().market_at
    rows = (("A", "B", D("0.9"), 0), ("A", "C", None, 0), ("B", "C", D("0.5"), 3))
    for first, second, value, hours in rows:
        models.Correlation.objects.create(
            first=first, second=second, value=value, samples=1, computed_at=now - timedelta(hours=hours)
        )
    assert list_correlations(frozenset("ABC"), now) == (
        CorrelationFacts(first="A", second="B", value=D("0.9")),
    )
    assert list_correlations(frozenset("AC"), now) == ()


def test_two_that_move_together_are_one_bet_and_two_that_do_not_are_two(account):
    make_hours("SOLUSDT", count=721, moves=alike(0.002))
    make_hours("DOGEUSDT", count=721, moves=alike(0.002))
    desk.hold(account, quantity=D(1))
    desk.hold(account, symbol="DOGEUSDT", quantity=D(500), strategy="reversion", entry_price=D("0.2"))

    def bet() -> float:
        return float(assess_global_risk(clocks=get_clocks()).inputs["accounts"]["main"]["bet_ratio"])

    # Unknown counts as 1.
    assert bet() == pytest.approx(250 / 1100, abs=1e-6)
    update()
    assert get("DOGEUSDT", "SOLUSDT").value > D("0.9")
    assert bet() == pytest.approx(250 / 1100, abs=1e-6)
    facts.Candle.objects.filter(symbol="DOGEUSDT").delete()
    make_hours("DOGEUSDT", count=721, moves=list(RANDOM.normal(0, 0.01, 720)))
    update()
    assert abs(get("DOGEUSDT", "SOLUSDT").value) < D("0.2")
    assert bet() == pytest.approx(150 / 1100, abs=1e-6)
