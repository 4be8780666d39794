"""The fence around an entry's request: a trip comes before its first byte, or waits for its last."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Event
from time import monotonic
from typing import Any

import pytest
from django.db import connection, transaction
from urllib3.util import connection as urllib3_connection

from tests.factories import PermitFactory
from trading import dispatch, models
from trading.dispatch import claim
from trading.dispatch.claim import hold_fence
from trading.venues import close_gateways

ORDER = "/fapi/v1/order"
WAITS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
  AND query LIKE 'UPDATE "trading_tradingstate"%'
"""


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def start(pool: ThreadPoolExecutor, work: Callable[[], Any]) -> Future[Any]:
    """Run with a database connection of another session."""

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    return pool.submit(run)


def halt() -> None:
    models.TradingState.objects.filter(scope="all").update(state="HALTED")


def send(intent: models.OrderIntent) -> models.Order:
    order = dispatch.send_intent(intent_id=intent.id)
    assert isinstance(order, models.Order), order
    return order


def is_someone_waiting() -> bool:
    """Asked within a transaction, which would otherwise see what it saw first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(WAITS)
        return bool(cursor.fetchone() != (0,))


@pytest.fixture
def at_connect(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Have something happen when the next gateway connects to the venue: after the claim."""

    def arrange(work: Callable[[], Any]) -> None:
        real, waiting = urllib3_connection.create_connection, [work]

        def connect(*arguments: Any, **options: Any) -> socket.socket:
            while waiting:
                waiting.pop()()
            return real(*arguments, **options)

        monkeypatch.setattr(urllib3_connection, "create_connection", connect)
        close_gateways()

    return arrange


@pytest.fixture
def at_write(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Have something happen in the first write to the venue: with the fence held, before a byte."""

    def arrange(work: Callable[[], Any]) -> None:
        real, waiting = urllib3_connection.create_connection, [work]

        class Slow(socket.socket):
            def sendall(self, *arguments: Any) -> None:
                while waiting:
                    waiting.pop()()
                super().sendall(*arguments)

        def connect(*arguments: Any, **options: Any) -> socket.socket:
            made = real(*arguments, **options)
            timeout, slow = made.gettimeout(), Slow(fileno=made.detach())
            slow.settimeout(timeout)
            return slow

        monkeypatch.setattr(urllib3_connection, "create_connection", connect)
        close_gateways()

    return arrange


def assert_fenced(desk: Any, order: models.Order, reason: str) -> None:
    assert (order.state, order.venue_code) == ("never_placed", "FENCED")
    assert reason in order.events.order_by("id").last().detail
    assert desk.requests_to("POST", ORDER) == 0
    order.intent.refresh_from_db()
    assert order.intent.state == "done"


def test_a_trip_between_the_claim_and_the_first_byte_keeps_the_request_back(
    desk: Any, pool: ThreadPoolExecutor, at_connect: Any
) -> None:
    intent = desk.approve()
    at_connect(lambda: start(pool, halt).result(5))
    order = send(intent)
    assert_fenced(desk, order, "STATE_HALTED")
    assert desk.held() == 0


def replace_permit() -> None:
    models.Permit.objects.update(active=False)
    PermitFactory(account=models.Account.objects.get(), fencing_token=10**6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (replace_permit, "PERMIT_MISMATCH"),
        (lambda: models.Permit.objects.update(active=False), "PERMIT_MISSING"),
    ],
)
def test_a_newer_permit_between_the_claim_and_the_first_byte_keeps_it_back(
    desk: Any, pool: ThreadPoolExecutor, at_connect: Any, change: Callable[[], object], reason: str
) -> None:
    intent = desk.approve()
    at_connect(lambda: start(pool, change).result(5))
    assert_fenced(desk, send(intent), reason)


def test_a_decision_that_grew_old_while_it_connected_stays(
    desk: Any, pool: ThreadPoolExecutor, at_connect: Any
) -> None:
    intent = desk.approve()
    grow_old = {"valid_until": intent.signal_at}
    at_connect(lambda: start(pool, lambda: models.OrderIntent.objects.update(**grow_old)).result(5))
    assert_fenced(desk, send(intent), "STALE_DECISION")


def test_a_trip_waits_for_the_bytes_of_a_request_that_starts_and_not_for_its_answer(
    desk: Any, pool: ThreadPoolExecutor, at_write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "MAX_HOLD", timedelta(seconds=30))
    intent, trips, halted = desk.approve(), [], Event()
    real = desk.venue.record_request

    def trip_while_writing() -> None:
        trips.append(start(pool, lambda: (halt(), halted.set())))
        until = monotonic() + 20
        while not is_someone_waiting():
            assert not halted.is_set(), "the trip did not wait"
            assert monotonic() < until, "no trip came"

    def answer_after_the_trip(entry: dict[str, Any]) -> None:
        """The venue answers when the trip has committed: it waited for nothing of the venue's."""
        if entry["path"] == ORDER:
            assert halted.wait(10)
        real(entry)

    desk.venue.record_request = answer_after_the_trip
    at_write(trip_while_writing)
    order = send(intent)
    trips[0].result(10)
    assert (order.state, desk.requests_to("POST", ORDER)) == ("filled", 1)
    assert models.TradingState.objects.get(scope="all").state == "HALTED"


def test_a_process_that_is_paused_within_does_not_stop_the_trip(
    desk: Any, pool: ThreadPoolExecutor, at_write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database ends its session; what it writes later is booked over a new one."""
    monkeypatch.setattr(claim, "MAX_HOLD", timedelta(milliseconds=100))
    intent = desk.approve()
    at_write(lambda: start(pool, halt).result(10))
    order = send(intent)
    assert models.TradingState.objects.get(scope="all").state == "HALTED"
    assert (order.state, desk.requests_to("POST", ORDER)) == ("filled", 1)
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    assert not connection.in_atomic_block


def test_a_process_that_finds_its_time_over_writes_nothing(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = desk.approve()
    monkeypatch.setattr(claim, "MAX_HOLD", timedelta(0))
    assert_fenced(desk, send(intent), "paused")


def test_a_trip_that_does_not_end_is_not_waited_for(
    desk: Any, pool: ThreadPoolExecutor, at_connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "MAX_FENCE_WAIT", timedelta(milliseconds=50))
    intent = desk.approve()
    with unfinished_trip(pool) as begin:
        at_connect(begin)
        order = send(intent)
    assert_fenced(desk, order, "FENCE_BUSY")


@contextmanager
def unfinished_trip(pool: ThreadPoolExecutor) -> Iterator[Callable[[], None]]:
    """A trip that, once begun, holds its row until the end of the block."""
    begun, ended, trips = Event(), Event(), []

    def trip() -> None:
        with transaction.atomic():
            halt()
            begun.set()
            ended.wait(10)

    def begin() -> None:
        trips.append(start(pool, trip))
        assert begun.wait(5)

    try:
        yield begin
    finally:
        ended.set()
        for done in trips:
            done.result(10)


def test_a_way_out_takes_no_fence(desk: Any, pool: ThreadPoolExecutor, at_connect: Any) -> None:
    send(desk.approve())
    intent = desk.approve_exit()
    with unfinished_trip(pool) as begin:
        at_connect(begin)
        order = send(intent)
    assert (order.state, desk.held()) == ("filled", 0)


def test_a_connection_that_cannot_be_made_takes_no_fence(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    intent = desk.approve()

    def wait_for_ever(*_: Any, **__: Any) -> Any:
        raise TimeoutError("timed out")

    close_gateways()
    monkeypatch.setattr(urllib3_connection, "create_connection", wait_for_ever)
    order = send(intent)
    assert (order.state, order.venue_code) == ("never_placed", "")
    # When the claim was made: no time of sending was ever written.
    assert order.sent_at == order.events.get(state="sending").at


def test_the_time_of_sending_is_read_within_the_fence(desk: Any, pool: ThreadPoolExecutor) -> None:
    order = send(desk.approve())
    claimed_at = order.events.get(state="sending").at
    assert claimed_at < order.sent_at < order.events.get(state="filled").at


def test_the_connection_is_left_as_it_was(desk: Any) -> None:
    send(desk.approve())
    assert not connection.in_atomic_block
    assert connection.get_autocommit()
    with connection.cursor() as cursor:
        for name in ("lock_timeout", "idle_in_transaction_session_timeout", "synchronous_commit"):
            cursor.execute("SELECT setting = reset_val FROM pg_settings WHERE name = %s", [name])
            assert cursor.fetchone() == (True,), name


def test_the_fence_is_refused_within_another_transaction(desk: Any) -> None:
    order = send(desk.approve())
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"), hold_fence(order.intent, order):
        raise AssertionError("entered")
    assert models.Order.objects.get(pk=order.pk).state == "filled"
