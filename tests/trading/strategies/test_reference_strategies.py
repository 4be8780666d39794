"""The two reference strategies on bars whose answer is known by construction."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from trading.core.values import Bar, Side
from trading.strategies import STRATEGIES, Enter, Holding, Leave, View, get_strategy

START = datetime(2025, 6, 10, tzinfo=UTC)


def bars(closes: list[float]) -> tuple[Bar, ...]:
    return tuple(
        Bar(
            open_at=START + timedelta(minutes=n),
            open=Decimal(str(close)),
            high=Decimal(str(close)),
            low=Decimal(str(close)),
            close=Decimal(str(close)),
            volume=Decimal(1),
        )
        for n, close in enumerate(closes)
    )


def view(closes: list[float], holding: Holding | None = None) -> View:
    return View(
        symbol="ETHUSDT",
        bars=bars(closes),
        holding=holding,
        market_at=START + timedelta(minutes=len(closes)),
    )


def holding(side: Side, minutes_ago: int, length: int = 80) -> Holding:
    return Holding(
        side=side,
        quantity=Decimal("0.03"),
        entry_price=Decimal(100),
        opened_at=START + timedelta(minutes=length - minutes_ago),
    )


FALL_THEN_JUMP = [100 - n * 0.1 for n in range(79)] + [110.0]
RISE_THEN_DROP = [100 + n * 0.1 for n in range(79)] + [90.0]
STEADY_FALL = [100 - n * 0.1 for n in range(80)]
STEADY_RISE = [100 + n * 0.1 for n in range(80)]


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_too_few_bars_give_no_signal(name):
    assert get_strategy(name).propose(view(STEADY_FALL[:30])) is None


def test_trend_buys_when_the_averages_cross_upwards():
    signal = get_strategy("trend").propose(view(FALL_THEN_JUMP))
    assert isinstance(signal, Enter)
    assert signal.side is Side.BUY


def test_trend_sells_when_the_averages_cross_downwards():
    signal = get_strategy("trend").propose(view(RISE_THEN_DROP))
    assert isinstance(signal, Enter)
    assert signal.side is Side.SELL


def test_trend_waits_while_nothing_crosses():
    assert get_strategy("trend").propose(view(STEADY_RISE)) is None


def test_trend_leaves_when_the_averages_cross_back():
    assert isinstance(get_strategy("trend").propose(view(STEADY_FALL, holding(Side.BUY, 5))), Leave)


def test_trend_stays_while_the_averages_agree():
    assert get_strategy("trend").propose(view(STEADY_RISE, holding(Side.BUY, 5))) is None


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_position_held_long_enough_is_left(name):
    closes = STEADY_RISE if name == "trend" else STEADY_FALL
    assert isinstance(get_strategy(name).propose(view(closes, holding(Side.BUY, 60))), Leave)


def test_reversion_buys_weakness_and_sells_strength():
    weak = get_strategy("reversion").propose(view(STEADY_FALL))
    strong = get_strategy("reversion").propose(view(STEADY_RISE))
    assert isinstance(weak, Enter)
    assert isinstance(strong, Enter)
    assert (weak.side, strong.side) == (Side.BUY, Side.SELL)


def test_reversion_leaves_when_strength_is_back_in_the_middle():
    assert isinstance(get_strategy("reversion").propose(view(STEADY_RISE, holding(Side.BUY, 2))), Leave)


def test_reversion_stays_while_the_move_has_not_reverted():
    assert get_strategy("reversion").propose(view(STEADY_FALL, holding(Side.BUY, 2))) is None


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=sorted(STRATEGIES))
def test_protection_distances_lie_inside_every_profile_band(strategy):
    assert Decimal("0.02") < strategy.stop_ratio < Decimal("0.05")
    assert Decimal("0.04") < strategy.target_ratio < Decimal("0.15")
