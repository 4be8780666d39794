"""The sweep against a simulated venue: what it cancels, what it keeps, and when it is finished."""

import json
import uuid
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from controlplane.alerts.models import Alert
from controlplane.approvals.core import Actor, ActorKind
from controlplane.audit.models import AuditEvent
from risk import models
from risk.core.emergency_stop import parse_scope
from risk.services import sweep_stops, trip_emergency_stop, watch_stops
from risk.stops import sweep_orders
from risk.stops.escalation import resume_stop
from risk.stops.sweep import sweep_stop
from risk.stops.sweep_ledger import is_answered
from tests.factories import TradingStateFactory
from trading import dispatch
from trading import models as facts
from trading.core.sizing import round_to_grid
from trading.core.values import Clocks, OrderRequest, OrderType, Side
from trading.dispatch.orders import open_venue
from trading.reconcile import reconcile_venue_account
from trading.selectors import get_clocks
from trading.services import record_heartbeat

GUARD = Actor(name="watch", kind=ActorKind.GUARD)
D = Decimal


@pytest.fixture
def desk(venue_desk: Any) -> Any:
    return venue_desk


def trip(scope: str = "all") -> models.StopEvent:
    return trip_emergency_stop(
        scope=scope,
        reason="a test of the stop",
        actor=GUARD,
        clocks=get_clocks(),
        call_sweeper=lambda _: None,
    )


def run(event: models.StopEvent) -> models.StopEvent:
    return sweep_stop(event_id=event.pk, clocks=get_clocks())


def rest(desk: Any, symbol: str = "ETHUSDT", share: str = "0.97") -> facts.Order:
    """A limit entry of ours that rests below the market."""
    mark = desk.refresh_price(symbol)
    price = round_to_grid(mark * D(share), D("0.01"), "ROUND_FLOOR")
    intent = desk.approve(
        symbol=symbol,
        order_type="limit",
        price=price,
        quantity=D("0.04") if symbol == "ETHUSDT" else D("0.5"),
        stop_loss=round_to_grid(price * D("0.98"), D("0.01"), "ROUND_FLOOR"),
    )
    order = dispatch.send_intent(intent_id=intent.id)
    assert isinstance(order, facts.Order)
    assert order.state == "open"
    return order


def foreign(desk: Any, **changes: Any) -> str:
    """An order at the venue that our book does not know; returns its client id."""
    mark = desk.refresh_price()
    body: dict[str, Any] = {
        "venue": desk.place.venue,
        "account": desk.place.account.name,
        "symbol": "ETHUSDT",
        "client_order_id": f"foreign{uuid.uuid4().hex[:12]}",
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": D("0.04"),
        "price": round_to_grid(mark * D("0.96"), D("0.01"), "ROUND_FLOOR"),
    }
    request = OrderRequest(**(body | changes))
    assert open_venue(desk.place).submit_order(request).kind == "accepted"
    return str(request.client_order_id)


def stop_entry(desk: Any) -> str:
    """A foreign conditional order that would open a position when it triggers."""
    mark = desk.refresh_price()
    return foreign(
        desk,
        order_type=OrderType.STOP_MARKET,
        price=None,
        trigger_price=round_to_grid(mark * D("1.05"), D("0.01"), "ROUND_FLOOR"),
    )


def open_ids(desk: Any) -> set[str]:
    return {report.client_order_id for report in dispatch.read_open_orders(venue_account=desk.place)}


def steps(event: models.StopEvent) -> set[tuple[str, str]]:
    return set(models.StopStep.objects.filter(event=event).values_list("action", "status"))


def test_a_resting_entry_is_cancelled_and_the_stop_confirmed(desk):
    order = rest(desk)
    event = run(trip())

    assert event.progress == "STOPPED"
    assert event.stopped_at is not None
    order.refresh_from_db()
    assert order.state == "cancelled"
    assert open_ids(desk) == set()
    assert steps(event) == {("cancel", "done"), ("confirm", "done")}
    assert AuditEvent.objects.get(action="risk.stop_confirm").subject_id == "all"


def test_positions_keep_both_protections(desk):
    intent = desk.approve()
    dispatch.send_intent(intent_id=intent.id)
    before = desk.resting()

    event = run(trip("account:" + desk.place.account.name))

    assert event.progress == "STOPPED"
    assert desk.resting() == before == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    assert desk.held() == intent.quantity
    assert steps(event) == {("confirm", "done")}


def test_foreign_orders_that_can_add_risk_go_and_reducing_ones_stay(desk):
    dispatch.send_intent(intent_id=desk.approve().id)
    resting, conditional = foreign(desk), stop_entry(desk)
    mark = desk.refresh_price()
    reducing = foreign(
        desk,
        side=Side.SELL,
        price=round_to_grid(mark * D("1.05"), D("0.01"), "ROUND_FLOOR"),
        reduce_only=True,
    )

    assert run(trip()).progress == "STOPPED"

    assert {resting, conditional}.isdisjoint(open_ids(desk))
    assert reducing in open_ids(desk)
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_a_stop_of_one_symbol_or_strategy_leaves_the_others(desk):
    ether, sol, other = rest(desk), rest(desk, "SOLUSDT"), foreign(desk)

    assert run(trip("symbol:SOLUSDT")).progress == "STOPPED"
    sol.refresh_from_db()
    ether.refresh_from_db()
    assert (sol.state, ether.state) == ("cancelled", "open")

    assert run(trip("strategy:trend")).progress == "STOPPED"
    ether.refresh_from_db()
    assert ether.state == "cancelled"
    assert other in open_ids(desk)


def test_an_unreachable_venue_stays_stopping_and_is_finished_when_it_is_back(desk):
    order = rest(desk)
    event = trip()
    desk.fault("error_before", times=10_000)

    event = run(event)
    assert event.progress == "STOPPING"
    assert ("confirm", "retrying") in steps(event)
    later = Clocks(wall_at=event.tripped_at + timedelta(seconds=31), market_at=event.market_at)
    sweep_stop(event_id=event.pk, clocks=later)
    assert Alert.objects.filter(code="emergency_stop_unconfirmed").count() == 1

    desk.clear_faults()
    assert sweep_stop(event_id=event.pk, clocks=later).progress == "STOPPED"
    order.refresh_from_db()
    assert order.state == "cancelled"
    assert Alert.objects.get(code="emergency_stop_unconfirmed").resolved_at == later.wall_at


def test_an_entry_whose_answer_was_lost_is_looked_up_and_cancelled(desk):
    mark = desk.refresh_price()
    desk.fault("lost_answer", method="POST", path="/fapi/v1/order")
    intent = desk.approve(
        order_type="limit", price=round_to_grid(mark * D("0.97"), D("0.01"), "ROUND_FLOOR"), stop_loss=None
    )
    order = dispatch.send_intent(intent_id=intent.id)
    assert isinstance(order, facts.Order)
    facts.Order.objects.filter(pk=order.pk).update(state="unknown")

    event = run(trip())

    order.refresh_from_db()
    assert (event.progress, order.state) == ("STOPPED", "cancelled")
    assert ("settle", "done") in steps(event)


def test_an_entry_that_may_still_arrive_keeps_the_stop_open(desk):
    order = rest(desk)
    open_venue(desk.place).cancel_order(order.symbol, order.client_order_id, False)
    facts.Order.objects.filter(pk=order.pk).update(
        state="sending", client_order_id="neverarrived", sent_at=get_clocks().wall_at
    )

    event = run(trip())

    assert event.progress == "STOPPING"
    assert ("settle", "retrying") in steps(event)


def test_a_sweep_may_be_repeated_and_two_do_not_work_at_once(desk):
    rest(desk)
    event = run(trip())
    before = list(models.StopStep.objects.values("pk", "attempts", "status"))

    assert run(event).progress == "STOPPED"
    assert list(models.StopStep.objects.values("pk", "attempts", "status")) == before
    assert AuditEvent.objects.filter(action="risk.stop_confirm").count() == 1


def test_nothing_is_confirmed_while_an_order_cannot_be_cancelled(desk):
    order = rest(desk)
    desk.fault("error_before", method="DELETE", path="/fapi/v1/order", times=10_000)

    event = run(trip())

    assert event.progress == "STOPPING"
    order.refresh_from_db()
    assert order.state == "open"
    assert find(desk) == {order.client_order_id}
    desk.clear_faults()
    assert run(event).progress == "STOPPED"
    assert models.StopStep.objects.exclude(status="done").count() == 0


def find(desk: Any) -> set[str]:
    resting = sweep_orders.find_resting(parse_scope("all"), desk.place)
    return {report.client_order_id for report, _ in resting}


def test_one_venue_that_cannot_be_read_holds_up_the_stop_but_not_the_other_venue(desk):
    order = rest(desk)
    elsewhere = facts.VenueAccount.objects.create(account=desk.place.account, venue="nowhere", priority=1)
    event = run(trip())
    order.refresh_from_db()
    assert (event.progress, order.state) == ("STOPPING", "cancelled")
    reads = desk.requests_to("GET", "/fapi/v1/openOrders")

    assert run(event).progress == "STOPPING"
    assert desk.requests_to("GET", "/fapi/v1/openOrders") == reads
    confirmations = models.StopStep.objects.filter(event=event, action="confirm")
    assert set(confirmations.values_list("venue", "status")) == {
        ("binanceusdm", "done"),
        ("nowhere", "retrying"),
    }

    elsewhere.delete()
    assert run(event).progress == "STOPPED"


def test_one_stop_that_cannot_be_confirmed_holds_up_no_other(desk):
    facts.VenueAccount.objects.create(account=desk.place.account, venue="nowhere", priority=1)
    TradingStateFactory(scope="venue:nowhere")
    order = rest(desk)
    stuck, other = trip("venue:nowhere"), trip(f"venue:{desk.place.venue}")

    sweep_stops(clocks=get_clocks())

    for event in (stuck, other):
        event.refresh_from_db()
    order.refresh_from_db()
    assert (stuck.progress, other.progress, order.state) == ("STOPPING", "STOPPED", "cancelled")
    assert set(stuck.steps.values_list("venue", "status")) == {("nowhere", "retrying")}


def test_a_foreign_order_that_comes_while_the_stop_stands_is_cancelled_too(desk):
    event = run(trip())
    adding = foreign(desk)
    reconcile_venue_account(venue_account=desk.place, market_at=get_clocks().market_at)

    watch_stops(clocks=get_clocks())

    event.refresh_from_db()
    assert event.progress == "STOPPING"
    assert run(event).progress == "STOPPED"
    assert adding not in open_ids(desk)
    watch_stops(clocks=get_clocks())
    event.refresh_from_db()
    assert event.progress == "STOPPED"
    assert len(event.evidence["resumed"]) == 1


def test_a_stop_of_a_venue_leaves_another_venue_alone(desk):
    facts.VenueAccount.objects.create(account=desk.place.account, venue="nowhere", priority=1)
    order = rest(desk)
    assert run(trip(f"venue:{desk.place.venue}")).progress == "STOPPED"
    order.refresh_from_db()
    assert order.state == "cancelled"


def test_a_foreign_order_that_cannot_be_cancelled_stays_outstanding(desk):
    foreign(desk)
    desk.fault("error_before", method="DELETE", path="/fapi/v1/order", times=10_000)
    event = run(trip())
    assert event.progress == "STOPPING"
    assert ("cancel", "retrying") in steps(event)


def test_two_sweepers_do_not_work_on_one_stop(desk):
    event = trip()
    parameters = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    with psycopg.connect(
        **{name: parameters[name] for name in names if name in parameters}, autocommit=True
    ) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"emergency_stop:{event.pk}"])
        assert run(event).progress == "STOPPING"
        assert steps(event) == set()
    assert run(event).progress == "STOPPED"


def test_the_command_sweeps_every_unfinished_stop_and_says_how_far_it_is(desk):
    order = rest(desk)
    event = trip()
    desk.fault("error_before", method="DELETE", path="/fapi/v1/order", times=10_000)
    with pytest.raises(CommandError, match="not every venue has confirmed"):
        call_command("emergency_stop", "sweep", "--once", stdout=StringIO())
    desk.clear_faults()

    out = StringIO()
    call_command("emergency_stop", "sweep", str(event.pk), "--json", stdout=out)

    (stop,) = json.loads(out.getvalue())["stops"]
    assert (stop["event_id"], stop["progress"]) == (event.pk, "STOPPED")
    assert stop["steps"][0].keys() == {"venue", "account", "symbol", "action", "status", "detail"}
    order.refresh_from_db()
    assert order.state == "cancelled"
    out = StringIO()
    call_command("emergency_stop", "sweep", str(event.pk), stdout=out)
    assert out.getvalue().startswith(f"stop {event.pk} of all: STOPPED\n")
    out = StringIO()
    call_command("emergency_stop", "sweep", stdout=out)
    assert out.getvalue() == "no stop is unfinished\n"


@pytest.mark.django_db
def test_an_unknown_stop_is_refused():
    with pytest.raises(CommandError, match="stop_event_not_found"):
        call_command("emergency_stop", "sweep", "12345")


# Who sweeps ----------------------------------------------------------------------------------------


def sweep_unless_answered(event: models.StopEvent) -> str:
    out = StringIO()
    call_command("emergency_stop", "sweep", str(event.pk), "--unless-answered", stdout=out)
    return out.getvalue()


def test_a_process_of_its_own_sweeps_where_a_guard_died_a_moment_ago(desk):
    record_heartbeat(name="guard:sweep")
    order, event = rest(desk), trip()
    assert "STOPPED" in sweep_unless_answered(event)
    order.refresh_from_db()
    assert order.state == "cancelled"


def test_it_leaves_the_stop_to_whoever_answers(desk):
    rest(desk)
    event = trip()
    desk.fault("error_before", times=10_000)
    run(event)
    before = desk.requests_to("GET", "/fapi/v1/openOrders")
    assert sweep_unless_answered(event) == "a guard sweeps it\n"
    assert desk.requests_to("GET", "/fapi/v1/openOrders") == before


def test_what_was_noted_before_a_stop_was_taken_up_again_is_no_answer(desk):
    event = run(trip())
    assert is_answered([event])
    resume_stop(event, reason="a test of taking it up again")
    assert not is_answered([event])
    assert "STOPPED" in sweep_unless_answered(event)
