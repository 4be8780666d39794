"""Fills, positions and results add up to the last digit, ours and the venue's."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.core.accounting import (
    Execution,
    Holding,
    Step,
    apply_execution,
    average,
    risk_amount,
    unrealised_pnl,
)
from trading.core.values import Side
from trading.simulator import ledger
from trading.simulator.engine import Engine
from trading.simulator.generator import GeneratedFeed
from trading.simulator.state import Order

AT_MS = 1_749_556_800_000
FILLS = st.lists(
    st.builds(
        Execution,
        side=st.sampled_from(Side),
        quantity=st.integers(1, 5000).map(lambda n: Decimal(n) / 1000),
        price=st.integers(100_000, 400_000).map(lambda n: Decimal(n) / 100),
        fee=st.integers(-100, 10_000).map(lambda n: Decimal(n).scaleb(-8)),
    ),
    min_size=1,
    max_size=25,
)


def fold(fills: list[Execution]) -> list[Step]:
    holding, steps = Holding(), []
    for fill in fills:
        done = apply_execution(holding, fill)
        steps += done
        holding = done[-1].after
    return steps


@given(FILLS)
def test_the_position_is_the_sum_of_the_fills(fills: list[Execution]) -> None:
    steps = fold(fills)
    assert steps[-1].after.quantity == sum(fill.side.sign * fill.quantity for fill in fills)
    assert sum(step.quantity for step in steps) == sum(fill.quantity for fill in fills)
    assert sum(step.fee for step in steps) == sum(fill.fee for fill in fills)


@given(FILLS)
def test_what_was_paid_is_in_the_cost_or_realised(fills: list[Execution]) -> None:
    steps = fold(fills)
    paid = sum(fill.side.sign * fill.quantity * fill.price for fill in fills)
    assert steps[-1].after.cost == paid + sum(step.realised for step in steps)


@given(FILLS)
def test_a_step_only_opens_or_only_closes_and_flat_costs_nothing(fills: list[Execution]) -> None:
    before = Holding()
    for step in fold(fills):
        grew = abs(step.after.quantity) - abs(before.quantity)
        assert grew == (step.quantity if step.is_opening else -step.quantity)
        assert (step.after.quantity != 0) or step.after.cost == 0
        assert (step.after.entry_price is None) == (step.after.quantity == 0)
        assert step.realised == 0 or not step.is_opening
        before = step.after


@settings(max_examples=60, deadline=None)
@given(FILLS)
def test_realised_results_and_wallet_are_the_venues_own(fills: list[Execution]) -> None:
    """Wallet change = sum of realised - fees, as the simulated venue books the same fills."""
    engine = Engine.start(GeneratedFeed(7), at_ms=AT_MS, balance=Decimal(1100))
    state, holding = engine.state, Holding()
    realised = fees = Decimal(0)
    for number, fill in enumerate(fills, start=1):
        order = make_order(number, fill)
        trade = ledger.apply_fill(state, order, fill.price, fill.quantity, maker=False)
        ours = Execution(side=fill.side, quantity=fill.quantity, price=fill.price, fee=trade.commission)
        steps = apply_execution(holding, ours)
        holding = steps[-1].after
        assert sum(step.realised for step in steps) == trade.realised
        realised += trade.realised
        fees += sum(step.fee for step in steps)
    assert holding.quantity == state.positions["ETHUSDT"].quantity
    assert holding.cost == state.positions["ETHUSDT"].cost
    assert state.wallet == 1100 + realised - fees


def make_order(number: int, fill: Execution) -> Order:
    return Order(
        order_id=number,
        client_id=f"o{number}",
        symbol="ETHUSDT",
        side="BUY" if fill.side is Side.BUY else "SELL",
        type="MARKET",
        time_in_force="GTC",
        price=Decimal(0),
        quantity=fill.quantity,
        reduce_only=False,
        close_position=False,
        original_type="MARKET",
        trigger_price=Decimal(0),
        status="NEW",
        created_ms=AT_MS,
        updated_ms=AT_MS,
    )


def test_a_fill_that_flips_is_split_and_shares_its_fee() -> None:
    long = Holding(quantity=Decimal(1), cost=Decimal(100))
    sell = Execution(side=Side.SELL, quantity=Decimal(3), price=Decimal(110), fee=Decimal("0.3"))
    closing, opening = apply_execution(long, sell)
    assert (closing.quantity, closing.realised, closing.fee) == (1, 10, Decimal("0.1"))
    assert (opening.quantity, opening.after.quantity, opening.after.entry_price) == (2, -2, 110)
    assert opening.fee == Decimal("0.2")


@pytest.mark.parametrize(("quantity", "price"), [("0", "1"), ("-1", "1"), ("1", "0")])
def test_a_fill_of_nothing_is_refused(quantity: str, price: str) -> None:
    with pytest.raises(ValueError, match="above zero"):
        apply_execution(Holding(), Execution(side=Side.BUY, quantity=Decimal(quantity), price=Decimal(price)))


def test_r_is_the_formula_of_the_risk_page() -> None:
    amount = risk_amount(
        quantity=Decimal("0.04"),
        entry=Decimal(2500),
        stop=Decimal(2450),
        fee_ratio=Decimal("0.0005"),
        slippage_ratio=Decimal("0.002"),
    )
    assert amount == Decimal("0.04") * (50 + Decimal("0.0005") * 4950 + Decimal("0.002") * 2450)


def test_averages_and_marks() -> None:
    assert average(Decimal(100), Decimal(1), Decimal(110), Decimal(3)) == Decimal("107.5")
    assert unrealised_pnl(quantity=Decimal(-2), entry=Decimal(100), mark=Decimal(90)) == 20
