"""What a dead worker or a silent venue left: settled, protected, cleared, lapsed; once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.trading.foreign import trade_by_hand
from trading import dispatch, locks, models, recovery, selectors

SYMBOL = "ETHUSDT"
ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"
CHILD = """
import django
django.setup()
import sys, uuid
from trading import dispatch, market
market.refresh_prices(venue="binanceusdm", account="paper-main", symbols=["ETHUSDT"])
dispatch.send_intent(intent_id=uuid.UUID(sys.argv[1]))
"""


def recover(desk: Any) -> int:
    return recovery.recover_venue_account(venue_account=desk.place, wall_at=selectors.get_clocks().wall_at)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def send_and_kill(desk: Any, intent: models.OrderIntent, is_due: Callable[[], bool]) -> None:
    """A worker that sends the intent and is killed as soon as the venue has seen what we wait for."""
    environment = os.environ | {
        "SIMULATED_VENUES": f"binanceusdm={desk.address}",
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
    }
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(intent.id)], env=environment)
    try:
        wait_for(is_due, "the worker's request")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)


def assert_whole(desk: Any, intent: models.OrderIntent) -> None:
    """Exactly one entry at the venue, protected there, and the same in our book."""
    entry = models.Order.objects.get(intent=intent, purpose="entry")
    sent = [order for order in desk.venue_orders() if order.client_id == entry.client_order_id]
    assert len(sent) == 1
    assert entry.state == "filled"
    assert desk.held() == desk.position().quantity == intent.quantity
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    assert desk.position().unprotected_since is None


def test_with_nothing_to_do_it_asks_the_database_little_and_the_venue_nothing(desk: Any) -> None:
    dispatch.send_intent(intent_id=desk.approve().id)
    before = desk.venue.request_count
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert recover(desk) == 0
    assert len(queries) <= 3  # the clock is one of them
    assert desk.venue.request_count == before


@pytest.mark.parametrize(
    ("path", "kind"), [(ORDER, "after"), (ORDER, "before"), (ALGO, "after"), (ALGO, "before")]
)
def test_a_worker_killed_while_the_venue_answers_leaves_what_recovery_settles(
    desk: Any, path: str, kind: str
) -> None:
    """The venue applies the request and does not answer (after), or has not yet applied it (before)."""
    intent = desk.approve(valid_until=timezone.now() + timedelta(seconds=30))
    if kind == "before":
        desk.fault("delay", method="POST", path=path, seconds=1.0)
        fired = desk.venue.faults.fired
        send_and_kill(desk, intent, lambda: bool(fired))
        seen = 1 if path == ORDER else 2
        wait_for(lambda: len(desk.venue_orders()) + len(desk.resting()) >= seen, "the late request")
    else:
        desk.fault("lost_answer", method="POST", path=path)
        send_and_kill(desk, intent, lambda: desk.requests_to("POST", path) > 0)
    desk.clear_faults()
    wait_for(lambda: recover(desk) >= 0 and is_settled(desk), "recovery")
    assert_whole(desk, intent)


def is_settled(desk: Any) -> bool:
    position = selectors.get_position(desk.place, SYMBOL)
    return (
        position is not None
        and position.quantity != 0
        and len(desk.resting()) == 2
        and (position.unprotected_since is None)
    )


def test_a_living_worker_is_left_alone(desk: Any) -> None:
    desk.fault("error_before", method="POST", path=ORDER, status=503)
    dispatch.send_intent(intent_id=desk.approve().id)
    before = desk.venue.request_count
    with other_session_holds(locks.symbol_key(desk.place, SYMBOL)):
        assert recover(desk) == 0
    assert desk.venue.request_count == before
    assert recover(desk) == 1


class other_session_holds:  # noqa: N801 - reads as a sentence
    """Another database session holds the lock, as a living worker does."""

    def __init__(self, key: str) -> None:
        self.connection, self.key = connection.copy(), key

    def __enter__(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [self.key])

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def test_an_order_not_found_is_final_only_after_time_look_ups_and_an_unchanged_position(
    desk: Any,
) -> None:
    desk.fault("error_before", method="POST", path=ORDER, status=503)
    order = dispatch.send_intent(intent_id=desk.approve().id)
    assert isinstance(order, models.Order)
    for _ in range(3):
        recover(desk)
    order.refresh_from_db()
    assert (order.state, order.lookups) == ("unknown", 4)
    models.Order.objects.filter(pk=order.pk).update(sent_at=timezone.now() - timedelta(seconds=13), lookups=1)
    recover(desk)
    order.refresh_from_db()
    assert (order.state, order.lookups) == ("unknown", 2)
    desk.fault("error_before", method="GET", path="/fapi/v3/positionRisk", status=503)
    recover(desk)
    order.refresh_from_db()
    assert (order.state, order.lookups) == ("unknown", 3)
    recover(desk)
    order.refresh_from_db()
    assert order.state == "never_placed"
    order.intent.refresh_from_db()
    assert order.intent.state == "done"


def test_an_order_stays_unknown_while_the_venue_holds_another_position(desk: Any) -> None:
    desk.fault("error_before", method="POST", path=ORDER, status=503)
    order = dispatch.send_intent(intent_id=desk.approve().id)
    assert isinstance(order, models.Order)
    trade_by_hand(desk.venue, SYMBOL, "BUY", "0.01")
    models.Order.objects.filter(pk=order.pk).update(sent_at=timezone.now() - timedelta(seconds=60), lookups=9)
    recover(desk)
    order.refresh_from_db()
    assert order.state == "unknown"


def test_approved_intents_that_nobody_sent_in_time_lapse(desk: Any) -> None:
    late = desk.approve(valid_until=timezone.now() - timedelta(seconds=1))
    fresh = desk.approve()
    recover(desk)
    late.refresh_from_db()
    fresh.refresh_from_db()
    assert (late.state, fresh.state) == ("lapsed", "approved")


def test_a_resting_entry_that_fills_is_protected_by_the_next_look(desk: Any) -> None:
    mark = desk.refresh_price()
    price = (mark * Decimal("0.99")).quantize(Decimal("0.1"))
    order = dispatch.send_intent(
        intent_id=desk.approve(
            order_type="limit", price=price, stop_loss=round(price * Decimal("0.97"), 2)
        ).id
    )
    assert isinstance(order, models.Order)
    assert order.state == "open"
    desk.gap("-1.5")
    wait_for(lambda: desk.held() != 0, "the fill")
    recover(desk)
    assert desk.position().quantity != 0
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_a_position_without_its_stop_for_too_long_is_closed(desk: Any) -> None:
    intent = desk.approve()
    desk.fault("error_before", method="POST", path=ALGO, status=503, times=2)
    dispatch.send_intent(intent_id=intent.id)
    assert desk.position().unprotected_since is not None
    models.Position.objects.update(unprotected_since=timezone.now() - timedelta(seconds=6))
    desk.fault("error_before", method="POST", path=ALGO, status=503, times=2)
    recover(desk)
    assert (desk.held(), desk.position().quantity) == (0, 0)
    assert models.Trade.objects.get().closed_by == "safety_close"


def test_a_venue_that_does_not_answer_leaves_things_as_they_are(desk: Any) -> None:
    intent = desk.approve()
    desk.fault("error_before", path="/fapi/*", status=503, times=1000)
    order = dispatch.send_intent(intent_id=intent.id)
    assert isinstance(order, models.Order)
    assert recover(desk) == 0
    order.refresh_from_db()
    assert (order.state, order.lookups) == ("unknown", 0)
