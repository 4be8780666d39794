"""Stops, targets, funding and liquidation: what the venue does while nobody asks."""

from decimal import Decimal

import pytest

from tests.trading.simulator.builders import HOUR, algo, engine_of, flat, minutes, order, ramp
from trading.simulator import conditionals, ledger
from trading.simulator.errors import VenueError

FALL = ["2500.00", "2480.00", "2460.00", "2440.00", "2420.00", "2400.00"]


def test_a_closing_stop_triggers_by_mark_price_and_leaves_the_position_flat():
    engine = engine_of(ETHUSDT=ramp(FALL) + flat("2400.00", 5))
    order(engine, "BUY", "0.100")
    stop = algo(engine, "SELL", "STOP_MARKET", "2450.00")
    assert stop.time_in_force == "GTE_GTC"
    minutes(engine, 5)
    assert conditionals.algo_status(engine.state, stop) == "FINISHED"
    filled = engine.state.closed_orders[stop.actual_order_id]
    assert (filled.status, filled.type, filled.original_type) == ("FILLED", "MARKET", "STOP_MARKET")
    assert filled.close_position
    assert engine.state.positions["ETHUSDT"].quantity == 0


def test_a_stop_gaps_it_fills_at_traded_prices_beyond_its_trigger():
    engine = engine_of(ETHUSDT=flat("2500.00", 20))
    order(engine, "BUY", "0.100")
    stop = algo(engine, "SELL", "STOP_MARKET", "2450.00")
    engine.gap(symbol="ETHUSDT", ratio="-0.2", seconds=0)
    minutes(engine, 1)
    filled = engine.state.closed_orders[stop.actual_order_id]
    assert filled.quote / filled.executed <= Decimal("2000.00")


def test_a_wick_triggers_by_contract_price_but_not_by_mark_price():
    # One candle dips by ten percent and is back before its end.
    rows = [*flat("2500.00", 1), ("2500.00", "2500.00", "2480.00", "2500.00", "600"), *flat("2500.00", 2)]
    marked, traded = engine_of(ETHUSDT=rows), engine_of(ETHUSDT=rows)
    for engine, working in ((marked, "MARK_PRICE"), (traded, "CONTRACT_PRICE")):
        order(engine, "BUY", "0.100")
        algo(engine, "SELL", "STOP_MARKET", "2480.50", working_type=working)
        minutes(engine, 3)
    assert marked.state.algos
    assert not traded.state.algos


def test_a_target_takes_profit_and_its_sibling_stop_expires_with_the_position():
    engine = engine_of(ETHUSDT=ramp(["2500.00", "2550.00", "2600.00"]) + flat("2600.00", 3))
    order(engine, "BUY", "0.100")
    stop = algo(engine, "SELL", "STOP_MARKET", "2400.00")
    target = algo(engine, "SELL", "TAKE_PROFIT_MARKET", "2560.00")
    minutes(engine, 3)
    assert conditionals.algo_status(engine.state, target) == "FINISHED"
    assert stop.status == "EXPIRED"
    assert engine.state.totals["REALIZED_PNL"] > 0


def test_a_reduce_only_target_outlives_the_position_and_closes_the_next_one():
    engine = engine_of(ETHUSDT=flat("2500.00", 2) + ramp(["2500.00", "2600.00"]) + flat("2600.00", 3))
    order(engine, "BUY", "0.100")
    target = algo(engine, "SELL", "TAKE_PROFIT_MARKET", "2560.00", quantity="0.100", reduce_only=True)
    order(engine, "SELL", "0.100", reduce_only=True)
    assert target.status == "NEW"
    order(engine, "BUY", "0.200")
    minutes(engine, 4)
    assert engine.state.positions["ETHUSDT"].quantity == Decimal("0.100")


def test_a_reduce_only_target_without_a_position_is_rejected_when_it_triggers():
    engine = engine_of(ETHUSDT=ramp(["2500.00", "2600.00"]) + flat("2600.00", 3))
    target = algo(engine, "SELL", "TAKE_PROFIT_MARKET", "2560.00", quantity="0.100", reduce_only=True)
    minutes(engine, 3)
    assert (target.status, target.reason, target.actual_order_id) == ("REJECTED", "Reduce Only reject", 0)


def test_a_conditional_entry_without_margin_is_rejected_when_it_triggers():
    engine = engine_of(balance="100", ETHUSDT=ramp(["2500.00", "2600.00"]) + flat("2600.00", 3))
    entry = algo(engine, "BUY", "STOP_MARKET", "2560.00", quantity="1.000")
    minutes(engine, 3)
    assert (entry.status, entry.reason) == ("REJECTED", "Margin is insufficient.")


def test_a_stop_limit_becomes_a_resting_limit_order():
    engine = engine_of(ETHUSDT=ramp(["2500.00", "2600.00"]) + flat("2600.00", 3))
    entry = algo(engine, "BUY", "STOP", "2560.00", quantity="0.100", price="2520.00")
    minutes(engine, 3)
    assert conditionals.algo_status(engine.state, entry) == "TRIGGERED"
    assert engine.state.orders[entry.actual_order_id].price == Decimal("2520.00")


def test_price_protection_holds_a_trigger_back_while_last_and_mark_differ():
    engine = engine_of(ETHUSDT=flat("2500.00", 20))
    order(engine, "BUY", "0.100")
    kept = algo(engine, "SELL", "STOP_MARKET", "2450.00", price_protect=True)
    engine.gap(symbol="ETHUSDT", ratio="-0.2", seconds=10)
    minutes(engine, 0.25)
    assert kept.status == "NEW"


@pytest.mark.parametrize(
    ("code", "side", "kind", "trigger", "fields"),
    [
        ("-2021", "SELL", "STOP_MARKET", "2500.00", {}),
        ("-2021", "SELL", "TAKE_PROFIT_MARKET", "2499.00", {}),
        ("-2021", "BUY", "STOP_MARKET", "2499.00", {"quantity": "0.1"}),
        ("-2021", "BUY", "TAKE_PROFIT_MARKET", "2501.00", {"quantity": "0.1"}),
        ("-4509", "BUY", "STOP_MARKET", "2600.00", {}),
        ("-4137", "SELL", "STOP_MARKET", "2400.00", {"quantity": "0.1", "close_position": True}),
        ("-1106", "SELL", "STOP_MARKET", "2400.00", {"reduce_only": True}),
        ("-1116", "SELL", "STOP", "2400.00", {"price": "2400.00"}),
        ("-1111", "SELL", "STOP_MARKET", "2400.001", {}),
        ("-4164", "SELL", "STOP_MARKET", "2400.00", {"quantity": "0.001"}),
        ("-4003", "SELL", "STOP_MARKET", "2400.00", {"quantity": "0"}),
    ],
)
def test_every_refusal_of_a_conditional_order_has_its_code(code, side, kind, trigger, fields):
    engine = engine_of(ETHUSDT=flat("2500.00", 3))
    order(engine, "BUY", "0.100")
    before = engine.dump()
    with pytest.raises(VenueError, match=code):
        algo(engine, side, kind, trigger, **fields)
    assert engine.dump() == before


def test_one_closing_stop_per_direction_and_no_client_id_twice():
    engine = engine_of(ETHUSDT=flat("2500.00", 3))
    order(engine, "BUY", "0.100")
    algo(engine, "SELL", "STOP_MARKET", "2400.00", client_id="stop")
    with pytest.raises(VenueError, match="-4130"):
        algo(engine, "SELL", "STOP_MARKET", "2300.00")
    with pytest.raises(VenueError, match="-4116"):
        algo(engine, "SELL", "TAKE_PROFIT_MARKET", "2600.00", client_id="stop")
    engine.cancel_algo(algo_id=0, client_id="stop")
    with pytest.raises(VenueError, match="-2011"):
        engine.cancel_algo(algo_id=0, client_id="stop")


def test_longs_pay_funding_to_shorts_every_eight_hours_out_of_the_isolated_margin():
    engine = engine_of(ETHUSDT=flat("2500.00", 9 * 60))
    order(engine, "BUY", "0.100")
    margin = engine.state.positions["ETHUSDT"].margin
    engine.advance(engine.state.now_ms + 8 * HOUR)
    # Nothing moved, so the rate is the interest: 0.01 % of 250 USDT.
    assert engine.state.totals["FUNDING_FEE"] == Decimal("-0.025")
    assert engine.state.positions["ETHUSDT"].margin == margin - Decimal("0.025")
    assert [row.rate for row in engine.state.fundings] == [Decimal("0.0001")]


def test_shorts_receive_funding_at_a_positive_rate():
    engine = engine_of(ETHUSDT=flat("2500.00", 9 * 60))
    order(engine, "SELL", "0.100")
    engine.advance(engine.state.now_ms + 8 * HOUR)
    assert engine.state.totals["FUNDING_FEE"] == Decimal("0.025")


def test_an_isolated_position_is_liquidated_at_its_price_and_loses_at_most_its_margin():
    crash = ["2500.00", "2400.00", "2200.00", "1900.00", "1600.00", "1300.00"]
    slowly = [f"{1300 - 5 * step}.00" for step in range(14)]
    engine = engine_of(ETHUSDT=ramp(crash) + ramp(slowly) + flat("1235.00", 5))
    order(engine, "BUY", "0.400")
    resting = order(engine, "BUY", "0.010", price="2400.00")
    price, margin = (
        ledger.liquidation_price(engine.state, "ETHUSDT"),
        engine.state.positions["ETHUSDT"].margin,
    )
    assert Decimal("1240") < price < Decimal("1270")
    minutes(engine, 20)
    state = engine.state
    assert state.positions["ETHUSDT"].quantity == 0
    assert any(order.client_id.startswith("autoclose-") for order in state.closed_orders.values())
    assert state.totals["INSURANCE_CLEAR"] < 0
    opening_fee = Decimal("0.400") * Decimal("2500.01") * Decimal("0.0005")
    resting_cost = Decimal("0.010") * Decimal("2400.00")
    assert state.wallet >= Decimal("1000") - margin - opening_fee - resting_cost
    assert resting.status == "FILLED"


def test_the_insurance_fund_pays_what_a_gap_costs_beyond_the_margin():
    engine = engine_of(ETHUSDT=flat("2500.00", 9))
    order(engine, "BUY", "0.400")
    margin, wallet = engine.state.positions["ETHUSDT"].margin, engine.state.wallet
    engine.gap(symbol="ETHUSDT", ratio="-0.8", seconds=0)
    minutes(engine, 2)
    assert engine.state.positions["ETHUSDT"].quantity == 0
    assert engine.state.totals["INSURANCE_CLEAR"] > 0
    assert engine.state.wallet == wallet - margin


def test_crossed_positions_share_the_wallet_and_are_liquidated_together():
    crash = ["2500.00", "2300.00", "2000.00", "1700.00", "1400.00"]
    engine = engine_of(balance="300", ETHUSDT=ramp(crash) + flat("1400.00", 3), BNBUSDT=flat("600.000", 7))
    for symbol in ("ETHUSDT", "BNBUSDT"):
        engine.set_margin_type(symbol=symbol, isolated=False)
        engine.set_leverage(symbol=symbol, leverage=20)
    order(engine, "BUY", "0.400")
    order(engine, "BUY", "0.10", symbol="BNBUSDT")
    assert ledger.liquidation_price(engine.state, "ETHUSDT") > 0
    minutes(engine, 6)
    assert not any(position.quantity for position in engine.state.positions.values())
    assert engine.state.wallet >= 0
