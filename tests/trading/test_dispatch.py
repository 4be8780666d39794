"""The door and what follows: sent once, recorded, protected, closed where that is impossible."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from threading import Event
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from controlplane.alerts.models import Alert
from controlplane.errors import NotFound
from tests.factories import DecisionFactory, TargetOrderFactory
from trading import dispatch, locks, models
from trading.core.values import OrderPurpose
from trading.venues import close_gateways

SYMBOL = "ETHUSDT"
ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"
SCOPES = ("all", "venue:binanceusdm", "account:paper-main", "strategy:trend", "symbol:ETHUSDT")


def send(intent: models.OrderIntent) -> models.Order:
    order = dispatch.send_intent(intent_id=intent.id)
    assert isinstance(order, models.Order), order
    return order


def refuse(intent: models.OrderIntent, **arguments: Any) -> str:
    refusal = dispatch.send_intent(intent_id=intent.id, **arguments)
    assert isinstance(refusal, dispatch.Refusal)
    return refusal.code


def events_of(order: models.Order) -> list[str]:
    return list(order.events.order_by("id").values_list("state", flat=True))


def test_an_entry_is_sent_filled_protected_and_booked(desk: Any) -> None:
    intent = desk.approve()
    order = send(intent)
    assert (order.state, order.filled_quantity) == ("filled", intent.quantity)
    assert events_of(order) == ["sending", "filled"]
    position = desk.position()
    assert (position.quantity, position.strategy) == (intent.quantity, "trend")
    assert position.unprotected_since is None
    assert desk.held() == intent.quantity
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    trade = models.Trade.objects.get()
    assert trade.stop_verified_at is not None
    assert trade.target_verified_at is not None
    assert trade.risk_amount is not None
    assert trade.entry_price == order.average_price
    intent.refresh_from_db()
    assert intent.state == "done"
    stop, target = models.Order.objects.filter(state="open").order_by("purpose")
    assert (stop.purpose, stop.close_position, stop.quantity, stop.trigger_price) == (
        "stop_loss",
        True,
        None,
        intent.stop_loss,
    )
    assert (target.reduce_only, target.quantity, target.trigger_price) == (
        True,
        intent.quantity,
        intent.take_profit,
    )
    assert stop.verified_at is not None
    assert target.verified_at is not None
    algos = desk.venue.engine.state.algos.values()
    assert {algo.working_type for algo in algos} == {"MARK_PRICE"}
    assert not any(algo.price_protect for algo in algos)


def test_a_short_entry_is_protected_on_the_other_side(desk: Any) -> None:
    send(desk.approve(side="sell"))
    assert desk.held() == Decimal("-0.04")
    assert {algo.side for algo in desk.venue.engine.state.algos.values()} == {"BUY"}


def test_an_exit_closes_and_clears_the_siblings(desk: Any) -> None:
    send(desk.approve())
    order = send(desk.approve_exit())
    assert order.state == "filled"
    assert (desk.held(), desk.resting()) == (0, [])
    trade = models.Trade.objects.get()
    assert (trade.closed_by, desk.position().quantity) == ("exit", 0)
    assert trade.net_pnl == trade.gross_pnl - trade.fees
    assert not dispatch.has_orphan_protections(venue_account=desk.place, symbol=SYMBOL)
    assert not models.Order.objects.filter(state__in=["sending", "unknown", "open"]).exists()


def test_an_intent_leaves_once(desk: Any) -> None:
    intent = desk.approve()
    send(intent)
    assert refuse(intent) == "NOT_APPROVED"
    assert desk.requests_to("POST", ORDER) == 1
    intent.refresh_from_db()
    assert intent.state == "done"


def test_an_unknown_intent_is_an_error(desk: Any) -> None:
    with pytest.raises(NotFound):
        dispatch.send_intent(intent_id="00000000-0000-4000-8000-000000000000")  # type: ignore[arg-type]


def halt(scope: str, state: str = "HALTED") -> None:
    models.TradingState.objects.filter(scope=scope).update(state=state)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"state": "proposed", "decision_id": None}, "NOT_APPROVED"),
        ({"execute": False}, "JUDGEMENT_ONLY"),
        ({"valid_until": timezone.now() - timedelta(seconds=1)}, "STALE_DECISION"),
        ({"valid_until": None}, "STALE_DECISION"),
        ({"fencing_token": None}, "PERMIT_MISMATCH"),
        ({"fencing_token": -1}, "PERMIT_MISMATCH"),
        ({"limit_set_digest": "1" * 64}, "PERMIT_MISMATCH"),
        ({"stop_loss": Decimal(9000)}, "PRICE_COLLAR"),
        ({"take_profit": Decimal(10)}, "PRICE_COLLAR"),
        ({"order_type": "limit", "price": Decimal(9000), "take_profit": None}, "PRICE_COLLAR"),
        ({"strategy": "never-registered"}, "STATE_HALTED"),
    ],
)
def test_the_door_stays_shut_for_what_was_not_approved_as_it_stands(
    desk: Any, changes: dict[str, Any], code: str
) -> None:
    intent = desk.approve(**changes)
    assert refuse(intent) == code
    intent.refresh_from_db()
    assert intent.state == ("proposed" if code == "NOT_APPROVED" else "lapsed")
    assert desk.requests_to("POST", ORDER) == 0
    assert not models.Order.objects.exists()


def test_the_door_asks_for_the_stored_decision_of_this_intent(desk: Any) -> None:
    other = desk.approve()
    borrowed = desk.approve()
    models.OrderIntent.objects.filter(pk=other.pk).update(decision_id=None, state="lapsed")
    models.OrderIntent.objects.filter(pk=borrowed.pk).update(decision_id=other.decision_id)
    assert refuse(borrowed) == "NOT_APPROVED"

    forged = desk.approve()
    models.OrderIntent.objects.filter(pk=forged.pk).update(decision_id=10**12)
    assert refuse(forged) == "NOT_APPROVED"
    assert desk.requests_to("POST", ORDER) == 0


def test_the_door_asks_whether_the_decision_allowed_it(desk: Any) -> None:
    denied = desk.approve(state="proposed", decision_id=None)
    decision = DecisionFactory(intent=denied, id=10**12, allowed=False, reason="STATE_HALTED")
    models.OrderIntent.objects.filter(pk=denied.pk).update(state="approved", decision_id=decision.id)
    assert refuse(denied) == "NOT_APPROVED"
    assert desk.requests_to("POST", ORDER) == 0


def test_every_scope_can_shut_the_door_for_entries(desk: Any) -> None:
    for scope in SCOPES:
        for state in ("HALTED", "REDUCING"):
            halt(scope, state)
            assert refuse(desk.approve()) == f"STATE_{state}", scope
        halt(scope, "ACTIVE")


def test_a_scope_without_a_row_is_halted(desk: Any) -> None:
    models.TradingState.objects.filter(scope="symbol:ETHUSDT").delete()
    assert refuse(desk.approve()) == "STATE_HALTED"


def test_an_entry_needs_a_living_permit(desk: Any) -> None:
    models.Permit.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert refuse(desk.approve()) == "PERMIT_EXPIRED"
    models.Permit.objects.update(active=False)
    assert refuse(desk.approve()) == "PERMIT_MISSING"


def test_an_entry_needs_a_fresh_price_near_the_decisions(desk: Any) -> None:
    intent = desk.approve()
    mark = models.MarketPrice.objects.get(symbol=SYMBOL).mark
    assert refuse(intent, reference_price=mark * Decimal("1.006")) == "PRICE_COLLAR"
    intent = desk.approve()
    models.MarketPrice.objects.update(read_at=timezone.now() - timedelta(seconds=6))
    assert refuse(intent) == "PRICE_STALE"
    intent = desk.approve()
    models.MarketPrice.objects.update(at=timezone.now() - timedelta(seconds=16))
    assert refuse(intent) == "PRICE_STALE"
    intent = desk.approve()
    models.MarketPrice.objects.filter(symbol=SYMBOL).delete()
    assert refuse(intent) == "PRICE_UNKNOWN"


def test_an_exit_passes_while_reducing_and_without_a_permit(desk: Any) -> None:
    send(desk.approve())
    halt("all", "REDUCING")
    models.Permit.objects.update(active=False)
    assert send(desk.approve_exit()).state == "filled"


def test_a_strategys_exit_is_refused_while_halted_and_a_persons_is_not(desk: Any) -> None:
    send(desk.approve())
    halt("symbol:ETHUSDT")
    assert refuse(desk.approve_exit()) == "STATE_HALTED"
    assert send(desk.approve_exit(source="operator")).state == "filled"


@pytest.mark.parametrize("purpose", ["flatten", "safety_close"])
def test_safety_closes_pass_whatever_the_states_say(desk: Any, purpose: str) -> None:
    send(desk.approve())
    halt("all")
    models.TradingState.objects.exclude(scope="all").delete()
    assert send(desk.approve_exit(purpose=purpose)).state == "filled"
    assert models.Trade.objects.get().closed_by == purpose


def test_an_entry_waits_until_the_siblings_of_the_last_trip_are_gone(desk: Any) -> None:
    earlier = desk.approve(state="done")
    TargetOrderFactory(intent=earlier, client_order_id="left")
    assert dispatch.has_orphan_protections(venue_account=desk.place, symbol=SYMBOL)
    assert refuse(desk.approve()) == "ORPHAN_PROTECTION"


def test_a_desk_without_keys_refuses_before_anything_is_claimed(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = desk.approve()
    close_gateways()
    monkeypatch.delenv("BINANCE_API_KEY")
    assert refuse(intent) == "VENUE_KEYS_MISSING"
    assert not models.Order.objects.exists()


def test_a_rejected_entry_is_recorded_with_the_venues_code(desk: Any) -> None:
    order = send(desk.approve(quantity=Decimal("90000")))
    assert order.state == "rejected"
    assert order.venue_code.startswith("-")
    assert events_of(order) == ["sending", "rejected"]
    assert desk.held() == 0
    order.intent.refresh_from_db()
    assert order.intent.state == "done"


TAKEN = [
    {"kind": "lost_answer"},
    {"kind": "error_after", "status": 503, "code": -1000},
    {"kind": "error_after", "status": 502},
    {"kind": "empty_body"},
]


@pytest.mark.parametrize("fault", TAKEN, ids=lambda fault: str(fault["kind"]))
def test_an_entry_that_was_taken_but_not_answered_is_found_and_protected(
    desk: Any, fault: dict[str, Any]
) -> None:
    intent = desk.approve()
    desk.fault(**fault, method="POST", path=ORDER)
    order = send(intent)
    assert events_of(order) == ["sending", "unknown", "filled"]
    assert desk.requests_to("POST", ORDER) == 1
    assert desk.held() == intent.quantity
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_an_entry_that_was_not_taken_stays_unknown_and_is_not_sent_again(desk: Any) -> None:
    desk.fault("error_before", method="POST", path=ORDER, status=503, code=-1000)
    order = send(desk.approve())
    assert (order.state, order.lookups) == ("unknown", 1)
    assert desk.requests_to("POST", ORDER) == 1


def test_a_request_refused_for_its_time_stamp_is_sent_again_under_the_same_id(desk: Any) -> None:
    desk.fault("error_before", method="POST", path=ORDER, status=400, code=-1021, times=1)
    order = send(desk.approve())
    assert order.state == "filled"
    assert len(desk.venue_orders()) == 1


def test_an_entry_that_provably_never_left_was_never_placed(desk: Any) -> None:
    desk.fault("error_before", method="POST", path=ORDER, status=400, code=-1021, times=9)
    order = send(desk.approve())
    assert (order.state, order.venue_code) == ("never_placed", "-1021")


def test_what_is_fenced_between_the_claim_and_the_request_never_leaves(
    desk: Any,
) -> None:
    """The first request is refused as unsent; before the second one the permit has ended."""
    intent = desk.approve()
    desk.fault("error_before", method="POST", path=ORDER, status=400, code=-1021)
    real = desk.venue.record_request

    def end_permit(entry: dict[str, Any]) -> None:
        real(entry)
        if entry["path"] == ORDER:
            halt("all")
            connection.close()

    desk.venue.record_request = end_permit
    order = send(intent)
    assert order.state == "never_placed"
    assert desk.requests_to("POST", ORDER) == 1


@pytest.mark.parametrize("fault", TAKEN, ids=lambda fault: str(fault["kind"]))
def test_a_stop_whose_answer_is_lost_is_found(desk: Any, fault: dict[str, Any]) -> None:
    intent = desk.approve()
    desk.fault(**fault, method="POST", path=ALGO)
    send(intent)
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    assert desk.position().unprotected_since is None
    assert models.Order.objects.filter(purpose="stop_loss").count() == 1


def test_a_stop_that_was_not_taken_is_placed_again_under_another_id(desk: Any) -> None:
    intent = desk.approve()
    desk.fault("error_before", method="POST", path=ALGO, status=503)
    send(intent)
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    assert models.Order.objects.filter(purpose="stop_loss").count() == 2


def test_an_entry_whose_stop_is_refused_is_closed_at_once(desk: Any) -> None:
    desk.fault("error_before", method="POST", path=ALGO, status=400, code=-2021)
    send(desk.approve())
    assert (desk.held(), desk.resting()) == (0, [])
    trade = models.Trade.objects.get()
    assert trade.closed_by == "safety_close"
    assert trade.stop_verified_at is None
    assert not Alert.objects.exists()


def test_a_target_that_would_trigger_at_once_is_taken_at_market(desk: Any) -> None:
    intent = desk.approve()
    real = desk.venue.record_request

    def refuse_second(entry: dict[str, Any]) -> None:
        real(entry)
        if (entry["method"], entry["path"]) == ("POST", ALGO) and desk.requests_to("POST", ALGO) == 1:
            desk.fault("error_before", method="POST", path=ALGO, status=400, code=-2021)

    desk.venue.record_request = refuse_second
    send(intent)
    assert (desk.held(), desk.resting()) == (0, [])
    assert models.Trade.objects.get().closed_by == "safety_close"


def test_a_position_that_can_be_neither_protected_nor_closed_raises_an_alert(desk: Any) -> None:
    intent = desk.approve()
    desk.fault("error_before", method="POST", path=ALGO, status=400, code=-2021)
    real = desk.venue.record_request

    def refuse_closing(entry: dict[str, Any]) -> None:
        real(entry)
        if entry["path"] == ALGO:
            desk.fault("error_before", method="POST", path=ORDER, status=400, code=-1102)

    desk.venue.record_request = refuse_closing
    send(intent)
    assert desk.held() == intent.quantity
    assert desk.position().unprotected_since is not None
    alert = Alert.objects.get()
    assert (alert.code, alert.severity) == ("position_unprotected", "critical")
    desk.venue.record_request = real
    desk.clear_faults()
    dispatch.protect_position(position_id=desk.position().pk)
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    assert desk.position().unprotected_since is None
    alert.refresh_from_db()
    assert alert.resolved_at is not None


def test_another_closing_stop_at_the_venue_makes_room_for_ours(desk: Any) -> None:
    intent = desk.approve()
    desk.fault("error_before", method="POST", path=ALGO, status=400, code=-4130)
    send(intent)
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_a_resting_limit_entry_is_cancelled_on_request(desk: Any) -> None:
    mark = desk.refresh_price()
    price = (mark * Decimal("0.97")).quantize(Decimal("0.1"))
    order = send(desk.approve(order_type="limit", price=price, stop_loss=price * Decimal("0.95")))
    assert order.state == "open"
    cancelled = dispatch.cancel_order(order_id=order.pk)
    assert cancelled.state == "cancelled"
    assert dispatch.read_open_orders(venue_account=desk.place) == ()
    assert dispatch.cancel_order(order_id=order.pk).state == "cancelled"


def test_a_cancel_whose_answer_is_lost_is_looked_up(desk: Any) -> None:
    mark = desk.refresh_price()
    price = (mark * Decimal("0.97")).quantize(Decimal("0.1"))
    order = send(desk.approve(order_type="limit", price=price, stop_loss=price * Decimal("0.95")))
    desk.fault("lost_answer", method="DELETE", path=ORDER)
    assert dispatch.cancel_order(order_id=order.pk).state == "cancelled"


def test_a_position_is_flattened_on_request_whatever_the_states(desk: Any) -> None:
    send(desk.approve())
    models.TradingState.objects.all().delete()
    position = dispatch.close_position(position_id=desk.position().pk, purpose=OrderPurpose.FLATTEN)
    assert (position.quantity, desk.held(), desk.resting()) == (0, 0, [])
    assert models.Trade.objects.get().closed_by == "flatten"


def test_a_target_follows_the_size_of_the_position(desk: Any) -> None:
    send(desk.approve())
    send(desk.approve_exit(quantity=Decimal("0.01"), purpose="exit"))
    (target,) = models.Order.objects.filter(purpose="take_profit", state="open")
    assert target.quantity == Decimal("0.03")
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_a_symbol_that_another_worker_holds_is_refused(desk: Any) -> None:
    intent, taken, done = desk.approve(), Event(), Event()

    def hold() -> None:
        with locks.hold(locks.symbol_key(desk.place, SYMBOL), patience=timedelta(seconds=1)):
            taken.set()
            done.wait(10)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold)
        assert taken.wait(5)
        assert refuse(intent) == "SYMBOL_BUSY"
        done.set()


def test_the_database_refuses_an_order_that_adds_risk_without_being_an_entry(desk: Any) -> None:
    order = send(desk.approve())
    with pytest.raises(IntegrityError):
        models.Order.objects.filter(pk=order.pk).update(purpose="exit", reduce_only=False)


def test_an_exit_that_the_stop_has_forestalled_books_the_stop(desk: Any) -> None:
    send(desk.approve())
    desk.gap("-3")
    order = send(desk.approve_exit())
    assert (order.state, order.venue_code) == ("rejected", "-2022")
    assert (desk.position().quantity, desk.resting()) == (0, [])
    assert models.Trade.objects.get().closed_by == "stop_loss"


def enter_in_part(desk: Any) -> models.Order:
    """A limit order at the best ask that takes what stands there and rests with the remainder."""
    desk.venue.execute("deposit", amount="10000000")
    desk.refresh_price()
    ask = models.MarketPrice.objects.get(symbol=SYMBOL).ask
    return send(
        desk.approve(
            order_type="limit", price=ask, quantity=Decimal(1000), stop_loss=round(ask * Decimal("0.97"), 2)
        )
    )


def test_the_first_partial_fill_is_protected(desk: Any) -> None:
    order = enter_in_part(desk)
    assert order.state == "open"
    assert 0 < order.filled_quantity < 1000
    # The rest may fill on while we look.
    assert desk.held() >= desk.position().quantity == order.filled_quantity
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    assert desk.position().unprotected_since is None


def test_when_the_stop_is_refused_the_rest_of_the_entry_is_cancelled_and_the_part_closed(desk: Any) -> None:
    desk.fault("error_before", method="POST", path=ALGO, status=400, code=-2021)
    order = enter_in_part(desk)
    assert order.state == "cancelled"
    assert (desk.held(), desk.position().quantity) == (0, 0)
    assert not desk.venue.engine.state.orders
    assert models.Trade.objects.get().closed_by == "safety_close"


def test_while_an_order_is_unknown_no_entry_leaves_and_exits_do(desk: Any) -> None:
    send(desk.approve())
    desk.fault("error_before", method="POST", path=ORDER, status=503)
    unknown = send(desk.approve(quantity=Decimal("0.02")))
    assert unknown.state == "unknown"
    assert refuse(desk.approve()) == "UNSETTLED_ORDER"
    assert send(desk.approve_exit()).state == "filled"


def test_what_a_dead_worker_left_is_settled_before_the_next_order(desk: Any) -> None:
    desk.fault("lost_answer", method="POST", path=ORDER)
    desk.fault("error_before", method="GET", path=ORDER, status=503)
    left = send(desk.approve())
    assert left.state == "unknown"
    assert send(desk.approve()).state == "filled"
    left.refresh_from_db()
    assert left.state == "filled"
    assert desk.held() == desk.position().quantity == Decimal("0.08")
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    (target,) = models.Order.objects.filter(purpose="take_profit", state="open")
    assert target.quantity == Decimal("0.08")


def test_an_exit_that_a_dead_workers_exit_has_forestalled_raises_no_alarm(desk: Any) -> None:
    """The first exit was taken, unseen by us, between the look-up and the second one."""
    send(desk.approve())
    desk.fault("lost_answer", method="POST", path=ORDER)
    desk.fault("error_before", method="GET", path=ORDER, status=503)
    first = send(desk.approve_exit())
    assert first.state == "unknown"
    second = send(desk.approve_exit())
    assert (second.state, second.venue_code) == ("rejected", "-2022")
    first.refresh_from_db()
    assert first.state == "filled"
    assert (desk.position().quantity, desk.resting()) == (0, [])
    assert not Alert.objects.exists()
    assert not models.Order.objects.filter(purpose="safety_close").exists()
