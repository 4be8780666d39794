"""After any orders on any market: money adds up, reducing never flips, a restart changes nothing."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.trading.simulator.builders import T0, engine_of, feed_of
from trading.simulator import ledger
from trading.simulator.candles import UNIT, Bar
from trading.simulator.engine import Engine
from trading.simulator.errors import VenueError
from trading.simulator.feed import bar_path
from trading.simulator.instruments import INSTRUMENTS
from trading.simulator.state import State, decode

BARS = 12
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CENTS = st.integers(min_value=150_000, max_value=350_000)
SIDES = st.sampled_from(["BUY", "SELL"])
QUANTITIES = st.integers(min_value=1, max_value=900).map(lambda lots: f"{Decimal(lots) / 1000:f}")
# Cents away from the price of the moment.
OFFSETS = st.one_of(st.integers(-300, 300), st.integers(-9_000, 9_000))


@st.composite
def markets(draw: st.DrawFn) -> list[tuple[str, str, str, str, str]]:
    """Candles that follow on each other, calm or wild."""
    rows, price = [], draw(CENTS)
    for _ in range(BARS):
        closed = draw(st.integers(min_value=price * 9 // 10, max_value=price * 11 // 10))
        high = max(price, closed) + draw(st.integers(0, 2_000))
        low = min(price, closed) - draw(st.integers(0, 2_000))
        cells = (f"{Decimal(cents) / 100:.2f}" for cents in (price, high, low, closed))
        o, h, lo, c = cells
        rows.append((o, h, lo, c, str(draw(st.integers(0, 5_000)))))
        price = closed
    return rows


def orders() -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.fixed_dictionaries(
        {
            "side": SIDES,
            "quantity": QUANTITIES,
            "price": OFFSETS,
            "type": st.sampled_from(["MARKET", "LIMIT", "LIMIT"]),
            "time_in_force": st.sampled_from(["GTC", "GTC", "IOC", "FOK", "GTX"]),
            "reduce_only": st.sampled_from([False, False, False, True]),
        }
    ).map(lambda fields: ("place_order", fields))


def algos() -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.fixed_dictionaries(
        {
            "side": SIDES,
            "trigger_price": OFFSETS,
            "type": st.sampled_from(["STOP_MARKET", "TAKE_PROFIT_MARKET"]),
            "working_type": st.sampled_from(["MARK_PRICE", "CONTRACT_PRICE"]),
            "quantity": st.one_of(st.just("0"), QUANTITIES),
            "reduce_only": st.booleans(),
        }
    ).map(lambda fields: ("place_algo", {**fields, "close_position": fields["quantity"] == "0"}))


def others() -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.one_of(
        st.just(("cancel_all", {"symbol": "ETHUSDT"})),
        st.just(("cancel_all_algos", {"symbol": "ETHUSDT"})),
        st.sampled_from([1, 2, 5, 20, 50]).map(
            lambda x: ("set_leverage", {"symbol": "ETHUSDT", "leverage": x})
        ),
        st.sampled_from(["-0.3", "0.3"]).map(
            lambda ratio: ("gap", {"symbol": "ETHUSDT", "ratio": ratio, "seconds": 40})
        ),
        st.sampled_from(["25", "-3.5"]).map(lambda amount: ("deposit", {"amount": amount})),
    )


STEPS = st.lists(
    st.tuples(st.integers(0, 60_000), st.one_of(orders(), orders(), orders(), algos(), others())),
    min_size=8,
    max_size=25,
)


def run(engine: Engine, steps: list[tuple[int, tuple[str, dict[str, Any]]]], first: int = 0) -> None:
    """Apply the steps; refusals are part of life."""
    for number, (wait_ms, (name, arguments)) in enumerate(steps, start=first):
        engine.advance(engine.state.now_ms + wait_ms)
        fields = dict(arguments)
        for priced in {"price", "trigger_price"} & set(fields):
            around = ledger.last(engine.state, "ETHUSDT") + Decimal(fields[priced]) / 100
            fields[priced] = f"{around:.2f}"
        if name.startswith("place"):
            fields |= {"symbol": "ETHUSDT", "client_id": f"c{number}"}
        if name == "place_order" and fields["type"] == "MARKET":
            fields |= {"price": "0", "time_in_force": "GTC"}
        try:
            engine.apply(name, fields)
        except VenueError:
            continue


def check_money(state: State) -> None:
    amounts: dict[str, Decimal] = defaultdict(Decimal)
    for row in state.incomes:
        amounts[row.type] += row.amount
    assert sum(amounts.values()) == state.wallet
    assert dict(amounts) == state.totals
    trades = state.trades
    assert amounts["COMMISSION"] == -sum(trade.commission for trade in trades)
    assert amounts["REALIZED_PNL"] == sum(trade.realised for trade in trades)
    for trade in trades:
        rows = {row.type: row.amount for row in state.incomes if row.trade_id == trade.trade_id}
        assert rows.get("COMMISSION", 0) == -trade.commission
        assert rows.get("REALIZED_PNL", 0) == trade.realised


def check_fills(state: State) -> None:
    signed = sum(ledger.sign(trade.side) * trade.quantity for trade in state.trades)
    value = sum(ledger.sign(trade.side) * trade.quantity * trade.price for trade in state.trades)
    position = state.position("ETHUSDT")
    assert position.quantity == signed
    # Bought minus sold is what is carried as cost minus what was realised, to the last digit.
    assert position.cost == value + state.totals.get("REALIZED_PNL", 0)
    for order in [*state.orders.values(), *state.closed_orders.values()]:
        fills = [trade for trade in state.trades if trade.order_id == order.order_id]
        assert order.executed == sum(trade.quantity for trade in fills)
        assert order.quote == sum(trade.quantity * trade.price for trade in fills)
        assert order.executed <= order.quantity


def check_kinds(state: State) -> None:
    for order in [*state.orders.values(), *state.closed_orders.values()]:
        fills = [trade for trade in state.trades if trade.order_id == order.order_id]
        if order.time_in_force == "GTX":
            assert all(trade.maker for trade in fills)
        if order.time_in_force == "FOK" and not order.reduce_only:
            assert order.executed == order.quantity
        if order.type == "LIMIT":
            worse = [trade for trade in fills if (trade.price - order.price) * ledger.sign(order.side) > 0]
            assert not worse


def check_reducing(state: State) -> None:
    """Replays the fills: a reduce-only one never makes the position larger or turns it over."""
    reducing = {o.order_id for o in [*state.orders.values(), *state.closed_orders.values()] if o.reduce_only}
    held = Decimal(0)
    for trade in state.trades:
        after = held + ledger.sign(trade.side) * trade.quantity
        if trade.order_id in reducing:
            assert abs(after) < abs(held)
            assert after * held >= 0
        held = after


@FEW
@given(market=markets(), steps=STEPS)
def test_money_positions_and_fills_add_up_after_any_commands(market, steps):
    engine = engine_of(balance="5000", ETHUSDT=market)
    run(engine, steps)
    engine.advance(engine.state.now_ms + 60_000)
    for check in (check_money, check_fills, check_kinds, check_reducing):
        check(engine.state)


@FEW
@given(market=markets(), steps=STEPS, cut=st.integers(0, 25))
def test_a_snapshot_and_restore_at_any_point_equals_an_uninterrupted_run(market, steps, cut):
    whole = engine_of(ETHUSDT=market)
    run(whole, steps)
    broken = engine_of(ETHUSDT=market)
    run(broken, steps[:cut])
    through_json = orjson.loads(orjson.dumps(broken.state, default=str, option=orjson.OPT_NON_STR_KEYS))
    restored = Engine.restore(feed_of(ETHUSDT=market), through_json)
    assert restored.dump() == broken.dump()
    run(restored, steps[cut:], first=cut)
    assert restored.dump() == whole.dump()


@FEW
@given(market=markets(), steps=STEPS, jumps=st.lists(st.integers(1, 40_000), max_size=20))
def test_time_in_one_jump_equals_time_in_many(market, steps, jumps):
    one, many = engine_of(ETHUSDT=market), engine_of(ETHUSDT=market)
    run(one, steps)
    run(many, steps)
    for jump in jumps:
        many.advance(many.state.now_ms + jump)
    one.advance(many.state.now_ms)
    assert one.dump() == many.dump()


@given(
    o=st.integers(50_000, 60_000),
    c=st.integers(50_000, 60_000),
    up=st.integers(0, 9_000),
    down=st.integers(0, 9_000),
    steps=st.integers(4, 180),
)
@example(o=50_000, c=50_000, up=0, down=0, steps=4)
@example(o=50_000, c=50_001, up=0, down=9_000, steps=4)
def test_the_path_inside_a_candle_opens_closes_and_reaches_both_extremes(o, c, up, down, steps):
    tick = UNIT // 100
    high, low = max(o, c) + up, min(o, c) - down
    bar = Bar(open_ms=T0, open=o * tick, high=high * tick, low=low * tick, close=c * tick, volume=0)
    path = bar_path(bar, INSTRUMENTS["ETHUSDT"], steps)
    assert (path[0], path[-1], len(path)) == (o, c, steps)
    assert (min(path), max(path)) == (low, high)


def test_a_state_with_a_field_it_does_not_know_is_refused():
    engine = engine_of(ETHUSDT=[("2500", "2500", "2500", "2500", "1")] * 3)
    dumped = engine.dump() | {"surprise": 1}
    with pytest.raises(KeyError, match="surprise"):
        decode(State, dumped)
