"""What a stop does with what is held: protect, reduce, flatten; and the loss that goes on growing."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from controlplane.alerts.models import Alert
from controlplane.approvals.core import Actor, ActorKind, Role
from controlplane.audit.models import AuditEvent
from risk import models
from risk.core.emergency_stop import PositionPolicy
from risk.core.escalation import has_grown, plan_half
from risk.metrics import STOP_SECONDS
from risk.services import trip_emergency_stop, watch_stops
from risk.stops import sweep
from risk.stops.rules import get_stop_rules
from risk.stops.side_by_side import run_side_by_side
from tests.factories import TradingStateFactory
from tests.risk.test_sweep import stop_entry
from tests.trading.foreign import trade_by_hand
from trading import dispatch, market
from trading import models as facts
from trading.core.values import Clocks
from trading.selectors import get_clocks

GUARD = Actor(name="watch", kind=ActorKind.GUARD)
OLGA = Actor(name="olga", kind=ActorKind.PERSON, roles=frozenset({Role.OPERATOR}))
D = Decimal
SYMBOL = "ETHUSDT"
ORDER, ALGO, POSITIONS = "/fapi/v1/order", "/fapi/v1/algoOrder", "/fapi/v3/positionRisk"
CHILD = """
import django
django.setup()
import sys
from risk.stops.sweep import sweep_stop
from trading.selectors import get_clocks
sweep_stop(event_id=int(sys.argv[1]), clocks=get_clocks())
"""


@pytest.fixture
def desk(venue_desk: Any) -> Any:
    return venue_desk


def enter(desk: Any, **changes: Any) -> facts.Position:
    intent = desk.approve(**changes)
    order = dispatch.send_intent(intent_id=intent.id)
    assert isinstance(order, facts.Order)
    return desk.position(intent.symbol)


def trip(positions: str = "keep", scope: str = "all", **changes: Any) -> models.StopEvent:
    body = {"reason": "a test of the stop", "actor": GUARD, "call_sweeper": lambda _: None} | changes
    return trip_emergency_stop(scope=scope, positions=PositionPolicy(positions), clocks=get_clocks(), **body)


def run(event: models.StopEvent, seconds: float = 0) -> models.StopEvent:
    return sweep.sweep_stop(event_id=event.pk, clocks=later(seconds))


def later(seconds: float) -> Clocks:
    clocks = get_clocks()
    return Clocks(wall_at=clocks.wall_at + timedelta(seconds=seconds), market_at=clocks.market_at)


def step(event: models.StopEvent, action: str, subject: str = SYMBOL) -> models.StopStep:
    return models.StopStep.objects.get(event=event, action=action, subject=subject)


def steps(event: models.StopEvent) -> set[tuple[str, str]]:
    return set(models.StopStep.objects.filter(event=event).values_list("action", "status"))


# Flatten ------------------------------------------------------------------------------------------


def test_flatten_closes_clears_the_protections_and_confirms(desk):
    enter(desk)

    event = run(trip("flatten"))

    assert (event.progress, event.escalated_at) == ("STOPPED", None)
    assert desk.held() == 0
    assert desk.resting() == []
    assert desk.position().quantity == 0
    assert step(event, "flatten").status == "done"
    closing = facts.Order.objects.get(purpose="flatten")
    assert (closing.state, closing.reduce_only) == ("filled", True)


def test_flatten_is_sliced_by_the_bounds_of_market_orders(desk):
    enter(desk)
    market.get_or_refresh_instrument(venue_account=desk.place, symbol=SYMBOL)
    facts.Instrument.objects.filter(symbol=SYMBOL).update(max_market_quantity=D("0.015"))

    assert run(trip("flatten")).progress == "STOPPED"

    sizes = facts.Order.objects.filter(purpose="flatten").order_by("id").values_list("quantity", flat=True)
    assert list(sizes) == [D("0.015"), D("0.015"), D("0.01")]
    assert desk.held() == 0


def test_nothing_is_done_while_the_venue_refuses_to_close_and_the_step_says_how_much_is_left(desk):
    enter(desk)
    desk.fault("error_before", method="POST", path=ORDER, status=400, code=-1111, times=1000)

    event = run(trip("flatten"))

    assert (event.progress, step(event, "flatten").status) == ("STOPPING", "retrying")
    assert step(event, "flatten").detail.startswith("0.04")
    assert desk.held() == D("0.04")
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]

    desk.clear_faults()
    # A refusal is not asked again for a few seconds.
    facts.Order.objects.filter(purpose="flatten").update(
        updated_at=get_clocks().wall_at - timedelta(minutes=1)
    )
    assert run(event).progress == "STOPPED"
    assert (step(event, "flatten").status, desk.held()) == ("done", 0)


def test_a_venue_that_does_not_tell_its_positions_confirms_nothing(desk):
    enter(desk)
    desk.fault("error_before", method="GET", path=POSITIONS, times=1000)

    event = run(trip("flatten"))

    assert event.progress == "STOPPING"
    assert ("flatten", "done") not in steps(event)
    desk.clear_faults()
    assert run(event).progress == "STOPPED"
    assert desk.held() == 0


def test_an_absent_position_is_no_proof_while_our_book_holds_one(desk):
    enter(desk)
    facts.Position.objects.filter(symbol=SYMBOL).update(quantity=D("0.05"))
    facts.Order.objects.filter(purpose="take_profit").update(quantity=D("0.05"))
    event = run(trip("flatten"))
    assert event.progress == "STOPPING"
    assert ("flatten", "done") not in steps(event)


def test_books_that_cannot_be_compared_do_not_keep_a_position_open(desk):
    enter(desk)
    trade_by_hand(desk.venue, SYMBOL, "BUY", "0.02")
    desk.fault("error_before", path="/fapi/v1/income", times=10_000)

    event = run(trip("flatten"))

    # Ours is closed at once; whose the rest is nobody can say yet.
    assert (event.progress, desk.held(), desk.position().quantity) == ("STOPPING", D("0.02"), 0)
    assert "venue_unavailable" in step(event, "flatten").detail
    desk.clear_faults()
    event = run(event)
    assert (event.progress, desk.held()) == ("STOPPED", D("0.02"))
    assert step(event, "flatten", f"foreign:{SYMBOL}").status == "failed"


def test_our_own_stop_entry_is_cancelled(desk):
    """A conditional order of ours that would open: by our book it is an entry."""
    name = stop_entry(desk)
    intent = desk.approve(state="dispatched", order_type="stop_market")
    facts.Order.objects.create(
        intent=intent,
        venue_account=desk.place,
        symbol=SYMBOL,
        client_order_id=name,
        purpose="entry",
        side="buy",
        order_type="stop_market",
        quantity=D("0.04"),
        reduce_only=False,
        state="open",
        market_at=get_clocks().market_at,
    )
    event = run(trip(scope="strategy:trend"))
    assert (event.progress, desk.resting()) == ("STOPPED", [])
    assert facts.Order.objects.get(client_order_id=name).state == "cancelled"


def test_an_entry_that_filled_unseen_is_found_and_closed(desk):
    intent = desk.approve()
    desk.fault("lost_answer", method="POST", path=ORDER)
    desk.fault("error_before", method="GET", path=ORDER, times=2)
    desk.fault("error_before", method="GET", path=ALGO, times=2)
    order = dispatch.send_intent(intent_id=intent.id)
    assert isinstance(order, facts.Order)
    assert (order.state, desk.held()) == ("unknown", D("0.04"))
    desk.clear_faults()

    event = run(trip("flatten"))

    order.refresh_from_db()
    assert (event.progress, order.state, desk.held()) == ("STOPPED", "filled", 0)
    assert {("settle", "done"), ("flatten", "done")} <= steps(event)


def test_only_the_positions_of_the_scope_are_closed(desk):
    enter(desk)
    TradingStateFactory(scope="strategy:reversion")
    event = run(trip("flatten", "strategy:reversion"))
    assert (event.progress, desk.held()) == ("STOPPED", D("0.04"))
    event = run(trip("flatten", f"symbol:{SYMBOL}"))
    assert (event.progress, desk.held()) == ("STOPPED", 0)


def test_a_foreign_position_is_named_in_the_ledger_and_left(desk):
    enter(desk)
    trade_by_hand(desk.venue, "SOLUSDT", "BUY", "0.5")

    event = run(trip("flatten"))

    assert event.progress == "STOPPED"
    assert (desk.held(), desk.held("SOLUSDT")) == (0, D("0.5"))
    left = step(event, "flatten", "foreign:SOLUSDT")
    assert (left.status, left.symbol) == ("failed", "SOLUSDT")
    assert "not ours" in left.detail


# Reduce -------------------------------------------------------------------------------------------


def test_reduce_closes_half_once_and_keeps_the_protections(desk):
    enter(desk, quantity=D("0.045"))

    event = run(trip("reduce"))

    # Half of 0.045 is 0.0225, rounded down to the lot 0.001: 0.022 goes.
    assert (event.progress, desk.held()) == ("STOPPED", D("0.023"))
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    target = facts.Order.objects.get(purpose="take_profit", state="open")
    assert target.quantity == D("0.023")
    assert event.evidence["leave"] == {f"{desk.place}:{SYMBOL}": "0.0230000000"}
    assert step(event, "reduce").status == "done"

    models.StopStep.objects.filter(event=event, action="confirm").update(status="pending")
    models.StopEvent.objects.filter(pk=event.pk).update(progress="STOPPING", stopped_at=None)
    assert run(event).progress == "STOPPED"
    watch_stops(clocks=later(0))
    assert desk.held() == D("0.023")


@pytest.mark.parametrize(
    ("quantity", "stays"),
    [("0.045", "0.023"), ("-0.045", "0.023"), ("0.04", "0.020"), ("0.001", "0.001"), ("0.002", "0.001")],
)
def test_half_is_rounded_down_to_the_lot_and_what_the_venue_does_not_take_stays(desk, quantity, stays):
    instrument = market.get_or_refresh_instrument(venue_account=desk.place, symbol=SYMBOL)
    assert plan_half(D(quantity), instrument) == D(stays)


@contextmanager
def policy_of(desk: Any, folder: Any, positions: str) -> Iterator[None]:
    """The rules as they ship, but with another policy for every profile."""
    from django.conf import settings

    for file in settings.CONFIG_DIR.glob("*.yaml"):
        text = file.read_text()
        if file.name == "emergency_stop.yaml":
            text = text.replace("{positions: keep", f"{{positions: {positions}")
        (folder / file.name).write_text(text)
    desk.settings.CONFIG_DIR = folder
    get_stop_rules.cache_clear()
    try:
        yield
    finally:
        get_stop_rules.cache_clear()


def test_the_stricter_of_the_stops_and_the_profiles_policy_applies(desk, tmp_path):
    enter(desk)
    with policy_of(desk, tmp_path, "flatten"):
        event = run(trip("keep"))
    assert (event.positions, event.progress, desk.held()) == ("keep", "STOPPED", 0)


def test_a_laxer_profile_does_not_weaken_the_stop(desk, tmp_path):
    enter(desk)
    with policy_of(desk, tmp_path, "reduce"):
        run(trip("flatten"))
    assert desk.held() == 0


# Keep: every position has its stop, or is closed --------------------------------------------------


def lose_the_stop(desk: Any) -> None:
    (stop,) = (algo for algo in desk.venue.engine.state.algos.values() if algo.type == "STOP_MARKET")
    desk.venue.execute("cancel_algo", algo_id=stop.algo_id, client_id="")


def test_while_halted_a_position_gets_its_stop_back_after_ten_seconds(desk):
    enter(desk)
    event = run(trip())
    assert steps(event) == {("confirm", "done")}
    lose_the_stop(desk)

    watch_stops(clocks=later(0))
    assert (step(event, "protect").status, desk.resting()) == ("retrying", ["TAKE_PROFIT_MARKET"])
    assert desk.position().unprotected_since is not None
    watch_stops(clocks=later(5))
    assert desk.resting() == ["TAKE_PROFIT_MARKET"]
    watch_stops(clocks=later(11))

    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    watch_stops(clocks=later(12))
    assert (step(event, "protect").status, desk.held()) == ("done", D("0.04"))


def test_while_halted_a_position_that_gets_no_stop_is_closed_after_thirty(desk):
    enter(desk)
    event = run(trip())
    lose_the_stop(desk)
    desk.fault("error_before", method="POST", path=ALGO, times=1000)
    watch_stops(clocks=later(0))
    assert desk.held() == D("0.04")

    watch_stops(clocks=later(31))

    assert (desk.held(), desk.position().quantity) == (0, 0)
    watch_stops(clocks=later(32))
    assert step(event, "protect").status == "done"
    event.refresh_from_db()
    assert event.progress == "STOPPED"


def test_a_stop_is_not_confirmed_while_what_is_kept_has_no_stop(desk):
    enter(desk)
    lose_the_stop(desk)

    event = run(trip())
    assert (event.progress, step(event, "protect").status) == ("STOPPING", "retrying")
    assert run(event, 11).progress == "STOPPED"
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_watching_asks_the_venue_only_for_symbols_that_are_held(desk):
    run(trip())
    before = len(desk.venue.requests)
    watch_stops(clocks=later(0))
    assert len(desk.venue.requests) == before


def test_watching_a_kept_position_costs_two_cheap_reads(desk):
    enter(desk)
    run(trip())
    before = len(desk.venue.requests)
    watch_stops(clocks=later(0))
    asked = [(entry["path"], entry["params"].get("symbol")) for entry in list(desk.venue.requests)[before:]]
    assert asked == [("/fapi/v1/openAlgoOrders", SYMBOL), ("/fapi/v1/openOrders", SYMBOL)]


def test_a_venue_that_fails_while_watching_is_asked_in_full_later(desk):
    enter(desk)
    event = run(trip())
    desk.fault("error_before", times=1000)
    watch_stops(clocks=later(0))
    assert step(event, "protect").status == "retrying"
    desk.clear_faults()
    watch_stops(clocks=later(1))
    assert step(event, "protect").status == "done"


# Raising the policy -------------------------------------------------------------------------------


def test_a_trip_with_flatten_raises_the_policy_of_the_stop_that_stands(desk):
    enter(desk)
    event = run(trip())
    stopped_at = event.stopped_at

    again = trip("flatten", actor=OLGA, reason="close all of it")

    assert (again.pk, again.positions, again.progress, again.stopped_at) == (
        event.pk,
        "flatten",
        "STOPPING",
        None,
    )
    assert again.escalated_at is not None
    assert again.evidence["resumed"][0]["stopped_at"] == stopped_at.isoformat()
    audited = AuditEvent.objects.get(action="risk.stop_escalate")
    assert (audited.actor, audited.reason) == ("olga", "close all of it")
    assert Alert.objects.filter(code="emergency_stop_escalated").count() == 1
    assert run(again).progress == "STOPPED"
    assert desk.held() == 0


def test_a_laxer_trip_changes_nothing(desk):
    event = run(trip("flatten"))
    assert trip("keep").progress == "STOPPED"
    event.refresh_from_db()
    assert event.positions == "flatten"
    assert not AuditEvent.objects.filter(action="risk.stop_escalate").exists()


def measure(scope: str, measured: str) -> None:
    models.Watch.objects.update_or_create(
        trigger="capital_loss", scope=scope, defaults={"measured": measured, "threshold": "0.04"}
    )


def test_keep_becomes_flatten_when_the_loss_grows_by_half_the_threshold_again(desk):
    enter(desk)
    scope = f"account:{desk.place.account.name}"
    measure(scope, "0.0410")
    event = trip(scope=scope, source="capital_loss", evidence={"measured": "0.0410", "threshold": "0.04"})
    run(event)
    measure(scope, "0.0609")
    watch_stops(clocks=later(0))
    event.refresh_from_db()
    assert (event.progress, event.positions) == ("STOPPED", "keep")

    measure(scope, "0.0610")
    watch_stops(clocks=later(0))

    event.refresh_from_db()
    assert (event.progress, event.positions) == ("STOPPING", "flatten")
    escalated_at = event.escalated_at
    assert escalated_at is not None
    assert AuditEvent.objects.get(action="risk.stop_escalate").payload["detail"]["measured"] == "0.0610"
    assert Alert.objects.get(code="emergency_stop_escalated").severity == "critical"

    observed = STOP_SECONDS._sum.get()
    models.StopEvent.objects.filter(pk=event.pk).update(tripped_at=event.tripped_at - timedelta(hours=3))
    event = run(event)
    assert (event.progress, desk.held()) == ("STOPPED", 0)
    # Measured from the escalation, not from the trip of three hours ago.
    assert STOP_SECONDS._sum.get() - observed < 3600

    measure(scope, "0.5")
    watch_stops(clocks=later(0))
    event.refresh_from_db()
    assert (event.progress, event.escalated_at) == ("STOPPED", escalated_at)
    assert AuditEvent.objects.filter(action="risk.stop_escalate").count() == 1


def test_a_loss_that_joins_a_stop_for_another_reason_is_watched_from_then_on(desk):
    enter(desk)
    scope = f"account:{desk.place.account.name}"
    # What the first trigger measured are seconds, and they go on growing: no loss.
    event = run(trip(scope=scope, source="stale_data", evidence={"measured": "121", "threshold": "120"}))
    models.Watch.objects.create(trigger="stale_data", scope=scope, measured="400", threshold="120")
    watch_stops(clocks=later(0))
    event.refresh_from_db()
    assert event.positions == "keep"
    trip(scope=scope, source="capital_loss", evidence={"measured": "0.05", "threshold": "0.04"})
    trip(scope=scope, source="capital_loss", evidence={"measured": "0.06", "threshold": "0.04"})
    measure(scope, "0.07")
    watch_stops(clocks=later(0))
    event.refresh_from_db()
    assert (event.evidence["loss"]["measured"], event.evidence["measured"]) == ("0.05", "121")
    assert (event.source, event.positions) == ("stale_data", "flatten")


def test_growth_is_measured_against_the_trips_threshold():
    at = {"at_trip": D("0.04"), "threshold": D("0.04"), "growth_ratio": D("0.5")}
    assert has_grown(now=D("0.06"), **at)
    assert not has_grown(now=D("0.0599"), **at)


@pytest.mark.parametrize(("capital_loss", "positions"), [("0.0977", "keep"), ("0.0979", "flatten")])
def test_a_loss_of_the_day_that_goes_on_after_midnight_escalates(desk, capital_loss, positions):
    """The day's drawdown begins anew at 00:00 UTC; what was lost since the trip does not."""
    enter(desk)
    scope = f"account:{desk.place.account.name}"
    measured = {"measured": "0.016", "threshold": "0.015", "readings": 3}
    # Half of 0.015 of the peak of 1016.26 is 7.62 USDT; at the trip 100 of 1100 were lost.
    amounts = {"equity": "1000", "base": "1100", "peak": "1016.26", "net_flow": "0"}
    event = run(trip(scope=scope, source="daily_drawdown", evidence=measured | amounts))
    models.Watch.objects.create(trigger="daily_drawdown", scope=scope, measured="0.002", threshold="0.015")
    measure(scope, capital_loss)

    watch_stops(clocks=later(0))

    event.refresh_from_db()
    assert event.positions == positions


def test_what_cannot_be_read_does_not_escalate(desk):
    enter(desk)
    scope = f"account:{desk.place.account.name}"
    event = run(trip(scope=scope, source="capital_loss", evidence={"measured": "0.04", "threshold": "0.04"}))
    measure(scope, "")
    watch_stops(clocks=later(0))
    event.refresh_from_db()
    assert event.positions == "keep"


def test_an_entry_that_comes_to_light_later_takes_the_stop_up_again(desk):
    enter(desk)
    event = run(trip())
    facts.Order.objects.filter(purpose="entry").update(state="unknown")

    watch_stops(clocks=later(0))
    event.refresh_from_db()
    assert event.progress == "STOPPING"
    assert run(event).progress == "STOPPED"


def test_something_held_again_under_a_flat_stop_is_closed(desk):
    enter(desk)
    event = run(trip("flatten"))
    row = desk.position()
    trade_by_hand(desk.venue, SYMBOL, "BUY", "0.04")
    intent = facts.OrderIntent.objects.get(purpose="entry")
    facts.Position.objects.filter(pk=row.pk).update(
        quantity=D("0.04"), entry_price=D(3000), entry_intent=intent, strategy="trend"
    )

    watch_stops(clocks=later(0))

    event.refresh_from_db()
    assert event.progress == "STOPPING"


# Deaths, rivals and outages ------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


@pytest.mark.parametrize("path", [ORDER, POSITIONS])
def test_a_sweeper_that_is_killed_is_followed_by_one_that_goes_on(desk, path):
    enter(desk)
    event = trip("reduce")
    desk.fault("delay", path=path, seconds=20, times=1)
    before = len(desk.venue.faults.fired)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(event.pk)],
        env=os.environ | {"SIMULATED_VENUES": f"binanceusdm={desk.address}"},
    )
    try:
        wait_for(lambda: len(desk.venue.faults.fired) > before, "the sweeper's request")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    event.refresh_from_db()
    assert event.progress == "STOPPING"
    assert ("confirm", "done") not in steps(event)
    desk.clear_faults()
    # What the dead one sent might still fill, for as long as the venue may take to show it.
    facts.Order.objects.filter(purpose="flatten").update(sent_at=later(-30).wall_at)

    wait_for(lambda: run(event).progress == "STOPPED", "the second sweeper")

    # The half that goes was fixed by the first: it goes once.
    assert desk.held() == D("0.02")
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_two_sweepers_at_once_close_once(desk):
    enter(desk)
    event = trip("flatten")

    def work() -> None:
        try:
            run(event)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    event.refresh_from_db()
    assert (event.progress, desk.held()) == ("STOPPED", 0)
    assert facts.Order.objects.filter(purpose="flatten").count() == 1
    assert AuditEvent.objects.filter(action="risk.stop_confirm").count() == 1


def test_the_sweep_needs_no_redis(desk, no_redis):
    enter(desk)
    assert run(trip("flatten")).progress == "STOPPED"
    assert desk.held() == 0


def test_venue_accounts_are_swept_side_by_side():
    """The first waits for the second: one after the other neither would end."""
    second = threading.Event()

    def wait() -> bool:
        return second.wait(20)

    def go() -> bool:
        second.set()
        return True

    assert run_side_by_side([wait, go]) == [True, True]


def test_a_turn_whose_time_is_over_leaves_the_rest_for_the_next(desk, monkeypatch):
    enter(desk)
    event = trip("flatten")
    monkeypatch.setattr(sweep, "TURN_SECONDS", 0.0)
    assert run(event).progress == "STOPPING"
    assert desk.held() == D("0.04")
    monkeypatch.undo()
    assert run(event).progress == "STOPPED"
    assert desk.held() == 0
