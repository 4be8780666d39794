"""The loop: nothing is ordered that was not judged, nothing is lost, and jumping changes nothing."""

from dataclasses import replace
from decimal import Decimal

import pytest

from risk.core.values import TradingStateName
from risk.limits import load_profiles
from risk.replay.book import Owned
from risk.replay.desk import Desk
from risk.replay.measures import digest_result
from risk.replay.run import Replay, run_replay
from risk.replay.values import HOLD, Hold, Result
from tests.risk.replay import markets
from tests.risk.replay.markets import D, flat, generated, plan, written
from trading.core.values import OrderPurpose, Side
from trading.simulator.track import to_price
from trading.strategies import get_strategy
from trading.strategies.protocol import Leave, View

LONG_SOL = Hold(symbol="SOLUSDT", side=Side.BUY, notional=D(95))
NONE: dict[str, object] = {"strategies": ()}


class Stepwise(Replay):
    """Takes every step that the replay jumps over."""

    def _is_eventful(self, number: int) -> bool:
        return True


class PlainTrend:
    """Trend without its scan: asked at every bar."""

    name, version, interval, lookback = "trend", "1", "1m", 64

    def propose(self, view: View) -> object:
        return get_strategy("trend").propose(view)


def outcome(result: Result) -> list[tuple[object, ...]]:
    return [
        (t.strategy, t.symbol, t.opened_ms, t.closed_ms, t.entry_price, t.closed_by, t.net)
        for t in result.trips
    ]


@pytest.fixture(scope="module")
def result() -> Result:
    return run_replay(generated(), plan("SMALL"))


def test_the_same_inputs_give_the_same_report(result):
    again = run_replay(generated(), plan("SMALL"))

    assert digest_result(again) == digest_result(result)
    assert again == result


def test_other_limits_give_another_digest(result):
    tighter = replace(load_profiles()["SMALL"], max_trades_per_day=3, digest="f" * 64)

    assert digest_result(run_replay(generated(), plan(limits=tighter))) != digest_result(result)


def test_equity_is_the_start_and_what_every_trade_brought(result):
    assert len(result.trips) > 10
    start, end = result.equity[0][1], result.equity[-1][1]

    assert end == start + sum(trip.net for trip in result.trips)
    assert end == sum(result.totals.values()) + result.unrealised
    assert sum(trip.fees for trip in result.trips) == -result.totals["COMMISSION"]
    assert sum(trip.funding for trip in result.trips) == result.totals.get("FUNDING_FEE", D(0))


def test_no_order_leaves_without_a_decision_that_allowed_it():
    replay = Replay(generated(), plan("SMALL"))
    result = replay.run()
    allowed = {ruling.intent_id[-12:] for ruling in result.rulings if ruling.decision.allowed}
    state = replay.engine.state
    sent = [*state.closed_orders.values(), *state.closed_algos.values(), *state.algos.values()]

    assert len(sent) > 20
    assert {order.client_id.lstrip("est")[-12:] for order in sent} <= allowed
    entries = [order for order in state.closed_orders.values() if not order.reduce_only]
    assert len(entries) == sum(
        ruling.decision.allowed and ruling.purpose is OrderPurpose.ENTRY for ruling in result.rulings
    )


def test_every_position_has_its_stop_at_the_venue():
    replay = Replay(generated(days=1), plan("SMALL", strategies=(), holds=(LONG_SOL,)))
    replay.run()
    (owned,) = replay.account.owned.values()
    stops = [algo for algo in replay.engine.state.algos.values() if algo.type == "STOP_MARKET"]

    assert [algo.trigger_price for algo in stops] == [owned.stop]
    assert stops[0].close_position


@pytest.mark.parametrize("bar_minutes", [1, 5])
def test_jumping_gives_the_trades_that_stepping_gives(bar_minutes):
    tape = generated(days=2, bar_minutes=bar_minutes)
    wanted = plan("SMALL", holds=(LONG_SOL,))
    jumped, stepped = Replay(tape, wanted).run(), Stepwise(tape, wanted).run()

    assert len(jumped.trips) > 3
    assert [row[:-1] for row in outcome(jumped)] == [row[:-1] for row in outcome(stepped)]
    assert [r.reason for r in jumped.rulings] == [r.reason for r in stepped.rulings]
    for ours, theirs in zip(jumped.trips, stepped.trips, strict=True):
        assert abs(ours.net - theirs.net) < Decimal("0.000001")


def test_a_strategy_that_cannot_scan_trades_as_one_that_can():
    tape = generated(days=2)
    scanned = run_replay(tape, plan(strategies=(get_strategy("trend"),)))
    asked = run_replay(tape, plan(strategies=(PlainTrend(),)))

    assert outcome(asked) == outcome(scanned)
    assert len(scanned.rulings) > 10


def test_a_stop_is_honoured_in_a_gap_at_what_is_traded_there():
    rows = [*flat("100", 40), ("88", "88", "88", "88"), *flat("88", 20)]
    result = run_replay(written(SOLUSDT=rows), plan("SMALL", **NONE, holds=(LONG_SOL,)))
    (trip,) = result.trips

    assert trip.closed_by == "stop"
    assert D("87.9") < trip.exit_price <= D(88)
    assert trip.slippage > D("0.09")
    assert trip.net < -trip.quantity * 11
    assert result.equity[-1][1] == result.plan.balance + trip.net


def test_a_target_is_taken_and_its_stop_does_not_close_the_next_position():
    rows = [*flat("100", 40), ("100", "113", "100", "113"), *flat("113", 20)]
    replay = Replay(written(SOLUSDT=rows), plan("SMALL", **NONE, holds=(LONG_SOL,)))
    (trip,) = replay.run().trips

    assert trip.closed_by == "target"
    assert trip.net > 0
    assert not replay.engine.state.algos


def test_what_is_open_at_the_end_counts_at_mark():
    rows = [*flat("100", 40), ("100", "101", "100", "101"), *flat("101", 20)]
    result = run_replay(written(SOLUSDT=rows), plan("SMALL", **NONE, holds=(LONG_SOL,)))
    (trip,) = result.trips

    assert trip.closed_by == "open"
    assert trip.gross == result.unrealised > 0


def test_funding_is_paid_while_something_is_held():
    rows = flat("100", 9 * 60)
    result = run_replay(written(SOLUSDT=rows), plan("SMALL", **NONE, holds=(LONG_SOL,)))
    (trip,) = result.trips

    # A flat market has a premium of nothing: the interest of 0.01 % in eight hours.
    assert trip.funding == -(trip.quantity * 100 * D("0.0001")).quantize(D("1e-8"))
    assert result.totals["FUNDING_FEE"] == trip.funding


def test_a_hold_is_sized_by_the_gate_and_a_denied_one_opens_nothing():
    tape = written(SOLUSDT=flat("150", 60), BTCUSDT=flat("110000", 60))
    holds = (
        Hold(symbol="SOLUSDT", side=Side.BUY, notional=D(5000)),
        Hold(symbol="BTCUSDT", side=Side.BUY, notional=D(5000)),
    )
    result = run_replay(tape, plan(**NONE, holds=holds))
    small, untradable = result.rulings

    assert (small.strategy, small.decision.allowed) == (HOLD, True)
    assert small.decision.quantity * 150 <= 100
    assert small.decision.resized_for
    assert untradable.reason == "INSTRUMENT_UNTRADABLE"
    assert [trip.symbol for trip in result.trips] == ["SOLUSDT"]


def test_a_hold_waits_for_its_moment():
    tape = written(SOLUSDT=flat("150", 60))
    at_ms = tape.at_ms(40)
    result = run_replay(tape, plan(**NONE, holds=(LONG_SOL,), hold_ms=at_ms))

    assert [ruling.at_ms for ruling in result.rulings] == [at_ms]


def test_judging_begins_and_ends_where_it_was_asked_to():
    tape = generated(days=2)
    since, until = tape.at_ms(2000), tape.at_ms(2500)
    result = run_replay(tape, plan(since_ms=since, until_ms=until))

    assert (result.started_ms, result.ended_ms) == (since, until)
    assert result.bars == 500 * 2
    assert all(since <= ruling.at_ms <= until for ruling in result.rulings)


class Hasty:
    """Wants in at every bar and out at the next one: it loses its fees."""

    name, version, interval, lookback = "trend", "1", "1m", 64

    def propose(self, view: View) -> object:
        if view.holding is not None:
            return Leave(reason="at once")
        return markets.EVERY[0]._enter(Side.BUY, "always")


def test_a_daily_loss_makes_the_account_reducing_until_the_rules_allow_more():
    """A gap takes more than the day's limit: entries are denied until 24 h later, as the loss rolls out."""
    gap = 100
    tape = written(SOLUSDT=[*flat("100", gap), *flat("88", 1600)], ETHUSDT=flat("2500", gap + 1600))
    held = Hold(symbol="SOLUSDT", side=Side.BUY, notional=D(480))
    result = run_replay(tape, plan("SMALL", strategies=(Hasty(),), holds=(held,), since_ms=tape.at_ms(70)))
    start, reducing, active = result.states[:3]
    between = [
        ruling.reason
        for ruling in result.rulings
        if reducing.at_ms < ruling.at_ms < active.at_ms and ruling.purpose is OrderPurpose.ENTRY
    ]

    assert start.state is active.state is TradingStateName.ACTIVE
    assert (reducing.state, reducing.reason) == (TradingStateName.REDUCING, "daily loss limit")
    assert reducing.at_ms // tape.bar_ms == tape.at_ms(gap) // tape.bar_ms
    assert active.at_ms - reducing.at_ms >= 24 * 3_600_000
    assert len(between) > 1000
    assert set(between) == {"STATE_REDUCING"}


def hold_much(replay: Replay, quantity: str) -> None:
    """More than the gate would allow, with a stop far away that nothing reaches."""
    replay.engine.jump(
        replay.tape.at_ms(replay.first), {"SOLUSDT": replay.tape.market("SOLUSDT", replay.first)}
    )
    replay.engine.place_order(
        symbol="SOLUSDT", side="BUY", type="MARKET", quantity=quantity, client_id="much"
    )
    replay.desk.trips.begin(
        "SOLUSDT", strategy="trend", intent_id="1", side=Side.BUY, risk=D(1), at_ms=replay.tape.at_ms(1)
    )
    replay.account.owned["SOLUSDT"] = Owned(
        strategy="trend", intent_id="1", side=Side.BUY, opened_ms=0, stop=D(50), target=D(200)
    )
    replay.desk.settle()


@pytest.mark.parametrize(("quantity", "state"), [("30", "HALTED"), ("15", "ACTIVE")])
def test_the_stop_sees_what_happens_within_a_bar(quantity, state):
    """Down a twentieth and back within one bar: 4.3 % of equity, or 2.1 %, where 3 % stops."""
    wick = ("100", "100", "95", "100")
    tape = written(bar_minutes=15, SOLUSDT=[*flat("100", 80), wick, *flat("100", 3)])
    replay = Replay(tape, plan("SMALL", strategies=(), since_ms=tape.at_ms(79)))
    hold_much(replay, quantity)
    for number in range(80, 83):
        replay._pass(number)
        replay.watch.look(tape.at_ms(number))
    states = replay.watch.states

    assert states[-1].state == state
    assert replay.account.equity() > D(3490)
    if state == "HALTED":
        stopped = states[-1]
        assert stopped.reason == "daily drawdown stop"
        assert tape.at_ms(80) < stopped.at_ms < tape.at_ms(81)


def test_a_halted_account_keeps_its_positions_and_their_protection():
    """Half of the capital gone at once: the strategy may not leave, the stop may."""
    limits = replace(load_profiles()["LARGE"], digest="e" * 64)
    replay = Replay(generated(days=1), plan(limits=limits, strategies=(), holds=(LONG_SOL,)))
    replay._open_holds(replay.first)
    replay.account.state = TradingStateName.HALTED
    before = replay.account.held("SOLUSDT")
    desk: Desk = replay.desk
    desk.leave(replay.first, "SOLUSDT")

    assert replay.account.held("SOLUSDT") == before > 0
    assert desk.rulings[-1].reason == "STATE_HALTED"
    assert {algo.type for algo in replay.engine.state.algos.values()} == {"STOP_MARKET", "TAKE_PROFIT_MARKET"}


def test_prices_shown_to_the_gate_are_those_of_the_moment():
    tape = generated(days=1)
    replay = Replay(tape, plan())
    number = replay.first + 5
    replay._stand(number, ("SOLUSDT",))
    prices = replay.account.prices("SOLUSDT", number)

    assert prices.at.timestamp() * 1000 == tape.at_ms(number)
    assert prices.mark == to_price(tape.tracks["SOLUSDT"].mark[number])
    assert prices.bid < prices.ask
    assert min(prices.bid_quantity, prices.ask_quantity) > 0
    assert abs(prices.reference / prices.mark - 1) < D("0.02")
    assert prices.funding_at > prices.at


def test_long_bars_leave_loss_measures_unknown_and_unknown_denies():
    tape = generated(days=8, bar_minutes=120, symbols=("SOLUSDT",))
    result = run_replay(tape, plan("SMALL", **NONE, holds=(LONG_SOL,)))

    assert any(
        "volatility" in reason and "unknown" in reason for s in result.stretches for reason in s.reasons
    )
