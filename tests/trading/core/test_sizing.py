from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from trading.core.sizing import plan_entry
from trading.core.values import Instrument, Side


def instrument(**changes: object) -> Instrument:
    facts: dict[str, object] = {
        "venue": "binanceusdm",
        "symbol": "ETHUSDT",
        "base": "ETH",
        "is_trading": True,
        "tick_size": Decimal("0.01"),
        "lot_size": Decimal("0.001"),
        "min_quantity": Decimal("0.001"),
        "max_quantity": Decimal("10000"),
        "max_market_quantity": Decimal("2000"),
        "min_notional": Decimal("20"),
        "min_price": Decimal("39.86"),
        "max_price": Decimal("306177"),
    }
    return Instrument(**(facts | changes))  # type: ignore[arg-type]


def plan(price: str, cap: str, side: Side = Side.BUY, **changes: object):
    return plan_entry(
        side=side,
        reference_price=Decimal(price),
        notional_cap=Decimal(cap),
        stop_ratio=Decimal("0.025"),
        target_ratio=Decimal("0.05"),
        instrument=instrument(**changes),
    )


def test_the_size_is_rounded_down_to_the_lot():
    assert plan("2678", "97").quantity == Decimal("0.036")


def test_the_smallest_lot_is_asked_for_when_the_cap_allows_none():
    assert plan("110228", "97").quantity == Decimal("0.001")


def test_a_long_has_its_stop_below_and_its_target_above():
    assert plan("2678.13", "97").stop_loss == Decimal("2611.18")
    assert plan("2678.13", "97").take_profit == Decimal("2812.04")


def test_a_short_has_its_stop_above_and_its_target_below():
    short = plan("2678.13", "97", side=Side.SELL)
    assert (short.stop_loss, short.take_profit) == (Decimal("2745.08"), Decimal("2544.22"))


@given(
    price=st.decimals("40", "300000", places=2),
    cap=st.decimals("50", "100000", places=2),
    side=st.sampled_from(Side),
)
def test_a_plan_never_exceeds_the_cap_unless_one_lot_does(price, cap, side):
    made = plan_entry(
        side=side,
        reference_price=price,
        notional_cap=cap,
        stop_ratio=Decimal("0.025"),
        target_ratio=Decimal("0.05"),
        instrument=instrument(),
    )
    assert made.quantity * price <= cap or made.quantity == Decimal("0.001")
    assert made.quantity % Decimal("0.001") == 0
    assert abs(price - made.stop_loss) <= price * Decimal("0.025")
