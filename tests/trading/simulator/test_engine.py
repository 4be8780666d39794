"""Regular orders: what fills, at which price, what rests, what is refused."""

from decimal import Decimal
from typing import Any

import pytest

from tests.trading.simulator.builders import MINUTE, T0, algo, engine_of, flat, minutes, order, ramp
from trading.simulator import ledger
from trading.simulator.errors import VenueError


def test_a_market_buy_fills_at_the_ask_and_pays_the_taker_fee():
    engine = engine_of(ETHUSDT=flat("2500.00", 5))
    bought = order(engine, "BUY", "0.100")
    assert bought.status == "FILLED"
    assert bought.quote == Decimal("0.100") * Decimal("2500.01")
    position = engine.state.positions["ETHUSDT"]
    assert (position.quantity, position.cost) == (Decimal("0.100"), Decimal("250.001"))
    assert position.margin == Decimal("125.0005")
    assert engine.state.wallet == Decimal("1000") - Decimal("250.001") * Decimal("0.0005")


def test_a_round_trip_realises_what_it_sold_minus_what_it_bought():
    engine = engine_of(ETHUSDT=ramp(["2500.00", "2600.00"]) + flat("2600.00", 5))
    bought = order(engine, "BUY", "0.300")
    minutes(engine, 2)
    first = order(engine, "SELL", "0.100", reduce_only=True)
    second = order(engine, "SELL", "0.200", reduce_only=True)
    assert engine.state.totals["REALIZED_PNL"] == first.quote + second.quote - bought.quote
    assert engine.state.positions["ETHUSDT"].cost == 0
    assert engine.state.positions["ETHUSDT"].margin == 0


def test_a_larger_market_order_gets_a_worse_average_price():
    averages = []
    for quantity in ("1.000", "300.000", "900.000"):
        engine = engine_of(balance="9000000", ETHUSDT=flat("2500.00", 3))
        bought = order(engine, "BUY", quantity)
        averages.append(bought.quote / bought.executed)
    assert averages == sorted(averages)
    assert averages[0] < averages[2]


def test_two_orders_in_one_step_share_one_book_and_the_next_step_refills_it():
    engine = engine_of(balance="9000000", ETHUSDT=flat("2500.00", 3))
    first, second = order(engine, "BUY", "100.000"), order(engine, "BUY", "100.000")
    minutes(engine, 1)
    third = order(engine, "BUY", "100.000")
    assert second.quote > first.quote
    assert third.quote == first.quote


def test_a_resting_limit_buy_fills_as_maker_at_its_own_price_when_the_market_comes_through():
    engine = engine_of(ETHUSDT=ramp(["2500.00", "2480.00"]) + flat("2480.00", 3))
    resting = order(engine, "BUY", "0.100", price="2490.00")
    assert resting.status == "NEW"
    minutes(engine, 1)
    assert resting.status == "FILLED"
    assert resting.quote == Decimal("249.00")
    assert engine.state.trades[-1].maker
    assert engine.state.trades[-1].commission == Decimal("249.00") * Decimal("0.0002")


def test_a_large_limit_order_fills_bit_by_bit_with_the_traded_volume():
    engine = engine_of(
        balance="900000", ETHUSDT=ramp(["2500.00", "2480.00"], "12") + flat("2480.00", 9, "12")
    )
    resting = order(engine, "BUY", "20.000", price="2490.00")
    minutes(engine, 1)
    assert resting.status == "PARTIALLY_FILLED"
    assert 0 < resting.executed < 20
    minutes(engine, 5)
    assert resting.status == "FILLED"


def test_a_price_that_is_only_touched_fills_a_part():
    engine = engine_of(
        balance="900000", ETHUSDT=ramp(["2500.00", "2490.00"], "12") + flat("2490.00", 9, "12")
    )
    resting = order(engine, "BUY", "20.000", price="2490.00")
    minutes(engine, 0.99)
    assert resting.executed == Decimal("0.200")


def test_immediate_or_cancel_takes_what_is_there_and_lets_the_rest_expire():
    engine = engine_of(balance="9000000", ETHUSDT=flat("2500.00", 3))
    taken = order(engine, "BUY", "500.000", price="2500.01", time_in_force="IOC")
    assert taken.status == "EXPIRED"
    assert taken.executed == Decimal("100.000")
    assert not engine.state.orders


def test_fill_or_kill_is_all_or_nothing():
    engine = engine_of(balance="9000000", ETHUSDT=flat("2500.00", 3))
    before = engine.dump()
    with pytest.raises(VenueError, match="-5021"):
        order(engine, "BUY", "500.000", price="2500.01", time_in_force="FOK")
    assert engine.dump() == before
    assert order(engine, "BUY", "50.000", price="2500.01", time_in_force="FOK").status == "FILLED"


def test_post_only_rests_or_is_refused_but_never_takes():
    engine = engine_of(ETHUSDT=flat("2500.00", 3))
    with pytest.raises(VenueError, match="-5022"):
        order(engine, "BUY", "0.100", price="2500.01", time_in_force="GTX")
    assert order(engine, "BUY", "0.100", price="2500.00", time_in_force="GTX").status == "NEW"
    with pytest.raises(VenueError, match="-5022"):
        order(engine, "SELL", "0.100", price="2500.00", time_in_force="GTX")


def test_reduce_only_without_a_position_is_refused():
    engine = engine_of(ETHUSDT=flat("2500.00", 3))
    with pytest.raises(VenueError, match="-2022"):
        order(engine, "SELL", "0.100", reduce_only=True)
    order(engine, "BUY", "0.100")
    with pytest.raises(VenueError, match="-2022"):
        order(engine, "BUY", "0.100", reduce_only=True)


def test_reduce_only_closes_at_most_the_position_and_the_rest_expires():
    engine = engine_of(ETHUSDT=flat("2500.00", 3))
    order(engine, "BUY", "0.100")
    sold = order(engine, "SELL", "0.300", reduce_only=True)
    assert (sold.status, sold.executed) == ("EXPIRED", Decimal("0.100"))
    assert engine.state.positions["ETHUSDT"].quantity == 0


def test_resting_reduce_only_orders_expire_when_the_position_is_gone():
    engine = engine_of(ETHUSDT=flat("2500.00", 3))
    order(engine, "BUY", "0.100")
    target = order(engine, "SELL", "0.100", price="2600.00", reduce_only=True)
    order(engine, "SELL", "0.100", reduce_only=True)
    assert target.status == "EXPIRED"
    assert not engine.state.orders


def test_an_opposite_order_that_may_flip_closes_first_and_opens_the_rest():
    engine = engine_of(ETHUSDT=ramp(["2500.00", "2550.00"]) + flat("2550.00", 3))
    order(engine, "BUY", "0.100")
    minutes(engine, 1)
    order(engine, "SELL", "0.300")
    position = engine.state.positions["ETHUSDT"]
    assert position.quantity == Decimal("-0.200")
    assert position.cost < 0
    assert engine.state.totals["REALIZED_PNL"] > 0


def test_orders_that_need_more_than_the_available_balance_are_refused():
    engine = engine_of(balance="100", ETHUSDT=flat("2500.00", 3))
    with pytest.raises(VenueError, match="-2019"):
        order(engine, "BUY", "0.100")
    order(engine, "BUY", "0.040", price="2490.00")
    with pytest.raises(VenueError, match="-2019"):
        order(engine, "BUY", "0.045", price="2490.00")


def test_resting_orders_hold_margin_until_they_are_cancelled():
    engine = engine_of(ETHUSDT=flat("2500.00", 3))
    resting = order(engine, "BUY", "0.100", price="2400.00")
    assert ledger.available_balance(engine.state) == Decimal("1000") - Decimal("120")
    engine.cancel_order(symbol="ETHUSDT", order_id=resting.order_id, client_id="")
    assert resting.status == "CANCELED"
    assert ledger.available_balance(engine.state) == Decimal("1000")


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        (-4003, {"quantity": "0"}),
        (-1111, {"quantity": "0.1005"}),
        (-4005, {"quantity": "2000.001"}),
        (-4164, {"quantity": "0.007"}),
        (-4014, {"quantity": "1", "price": "2400.005", "symbol": "BNBUSDT"}),
        (-1111, {"quantity": "0.1", "price": "2400.001"}),
        (-4001, {"quantity": "0.1", "price": "0"}),
        (-4013, {"quantity": "0.1", "price": "39.85"}),
        (-4002, {"quantity": "0.1", "price": "306177.01"}),
        (-4016, {"quantity": "0.1", "price": "2625.01"}),
        (-4015, {"quantity": "0.1", "client_id": "with space"}),
        (-4015, {"quantity": "0.1", "client_id": "x" * 37}),
        (-4061, {"quantity": "0.1", "position_side": "LONG"}),
        (-1121, {"quantity": "0.1", "symbol": "XRPUSDT"}),
    ],
)
def test_every_filter_answers_with_its_own_code_and_changes_nothing(code: int, fields: dict[str, Any]):
    engine = engine_of(ETHUSDT=flat("2500.00", 3), BNBUSDT=flat("2400.000", 3))
    before = engine.dump()
    with pytest.raises(VenueError) as refused:
        order(engine, "BUY", **fields)
    assert refused.value.code == code
    assert engine.dump() == before


def test_a_sell_far_below_the_mark_price_is_refused():
    engine = engine_of(ETHUSDT=flat("2500.00", 3))
    with pytest.raises(VenueError, match="-4024"):
        order(engine, "SELL", "0.100", price="2374.99")


def test_a_client_id_is_unique_among_open_orders_only():
    engine = engine_of(ETHUSDT=flat("2500.00", 3))
    resting = order(engine, "BUY", "0.100", price="2400.00", client_id="same")
    with pytest.raises(VenueError, match="-4116"):
        order(engine, "BUY", "0.100", price="2400.00", client_id="same")
    engine.cancel_order(symbol="ETHUSDT", order_id=0, client_id="same")
    again = order(engine, "BUY", "0.100", price="2400.00", client_id="same")
    assert again.order_id != resting.order_id


def test_amending_moves_a_resting_order_and_a_refused_amendment_leaves_it():
    engine = engine_of(ETHUSDT=flat("2500.00", 3))
    resting = order(engine, "BUY", "0.100", price="2400.00")
    named: dict[str, Any] = {
        "symbol": "ETHUSDT",
        "order_id": resting.order_id,
        "client_id": "",
        "side": "BUY",
    }
    engine.amend_order(**named, quantity="0.050", price="2450.00")
    assert (resting.quantity, resting.price, resting.status) == (Decimal("0.050"), Decimal("2450.00"), "NEW")
    before = engine.dump()
    for code, quantity, price in (("-2019", "5.000", "2450.00"), ("-5027", "0.050", "2450.00")):
        with pytest.raises(VenueError, match=code):
            engine.amend_order(**named, quantity=quantity, price=price)
    assert engine.dump() == before
    engine.amend_order(**named, quantity="0.050", price="2500.01")
    assert resting.status == "FILLED"


def test_settings_answer_with_the_codes_that_idempotent_set_up_must_swallow():
    engine = engine_of(ETHUSDT=flat("2500.00", 3))
    for code, command, arguments in (
        (-4046, "set_margin_type", {"symbol": "ETHUSDT", "isolated": True}),
        (-4059, "set_dual_side", {"dual": False}),
        (-4028, "set_leverage", {"symbol": "ETHUSDT", "leverage": 126}),
    ):
        with pytest.raises(VenueError) as refused:
            engine.apply(command, arguments)
        assert refused.value.code == code
    order(engine, "BUY", "0.100")
    with pytest.raises(VenueError, match="-4048"):
        engine.set_margin_type(symbol="ETHUSDT", isolated=False)
    with pytest.raises(VenueError, match="-4161"):
        engine.set_leverage(symbol="ETHUSDT", leverage=1)
    with pytest.raises(VenueError, match="-4068"):
        engine.set_dual_side(dual=True)
    order(engine, "BUY", "0.010", price="2400.00")
    with pytest.raises(VenueError, match="-4047"):
        engine.set_margin_type(symbol="ETHUSDT", isolated=False)


def test_hedge_mode_refuses_every_order():
    engine = engine_of(ETHUSDT=flat("2500.00", 3))
    engine.set_dual_side(dual=True)
    with pytest.raises(VenueError, match="-4061"):
        order(engine, "BUY", "0.100")


def test_a_symbol_holds_at_most_200_orders_and_10_conditional_ones():
    engine = engine_of(balance="900000", ETHUSDT=flat("2500.00", 3))
    for _ in range(200):
        order(engine, "BUY", "0.010", price="2400.00")
    with pytest.raises(VenueError, match="-2025"):
        order(engine, "BUY", "0.010", price="2400.00")
    for _ in range(10):
        algo(engine, "SELL", "STOP_MARKET", "2400.00", quantity="0.010")
    with pytest.raises(VenueError, match="-4045"):
        algo(engine, "SELL", "STOP_MARKET", "2400.00", quantity="0.010")


def test_lower_leverage_needs_the_margin_for_what_rests():
    engine = engine_of(balance="300", ETHUSDT=flat("2500.00", 3))
    order(engine, "BUY", "0.200", price="2400.00")
    with pytest.raises(VenueError, match="-2028"):
        engine.set_leverage(symbol="ETHUSDT", leverage=1)
    assert engine.state.setting("ETHUSDT").leverage == 2
    engine.cancel_all(symbol="ETHUSDT")
    engine.set_leverage(symbol="ETHUSDT", leverage=1)


def test_cancelling_all_leaves_other_symbols_alone():
    engine = engine_of(ETHUSDT=flat("2500.00", 3), BNBUSDT=flat("600.000", 3))
    kept = order(engine, "BUY", "0.10", price="590.000", symbol="BNBUSDT")
    order(engine, "BUY", "0.100", price="2400.00")
    engine.cancel_all(symbol="ETHUSDT")
    assert list(engine.state.orders.values()) == [kept]


def test_a_position_may_not_outgrow_the_band_of_its_leverage():
    engine = engine_of(balance="900000", ETHUSDT=flat("2500.00", 3))
    engine.set_leverage(symbol="ETHUSDT", leverage=125)
    with pytest.raises(VenueError, match="-2027"):
        order(engine, "BUY", "21.000")


def test_frozen_data_stands_still_while_time_goes_on_and_then_jumps():
    engine = engine_of(ETHUSDT=ramp(["2500.00", "2600.00", "2700.00"]) + flat("2700.00", 3))
    minutes(engine, 0.5)
    engine.freeze(frozen=True)
    price, data_ms = ledger.last(engine.state, "ETHUSDT"), engine.state.data_ms
    minutes(engine, 2)
    assert ledger.last(engine.state, "ETHUSDT") == price
    assert engine.state.data_ms == data_ms
    assert engine.state.now_ms == T0 + 150_000
    engine.freeze(frozen=False)
    minutes(engine, 1)
    assert ledger.last(engine.state, "ETHUSDT") == Decimal("2700.00")


def test_a_price_gap_moves_all_later_prices_until_it_ends():
    engine = engine_of(ETHUSDT=flat("2500.00", 10))
    engine.gap(symbol="ETHUSDT", ratio="-0.1", seconds=60)
    minutes(engine, 0.5)
    assert ledger.last(engine.state, "ETHUSDT") == Decimal("2250.00")
    minutes(engine, 1)
    assert ledger.last(engine.state, "ETHUSDT") == Decimal("2500.00")


def test_prices_stop_where_the_candles_end():
    engine = engine_of(ETHUSDT=flat("2500.00", 2), BNBUSDT=flat("600.000", 3))
    minutes(engine, 5)
    assert engine.state.markets["ETHUSDT"].traded_ms == T0 + 2 * MINUTE - 5_000
    assert engine.state.data_ms == T0 + 3 * MINUTE - 5_000
