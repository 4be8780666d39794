"""The guard's duties, each in its own thread; woken by a trip, silent where broken."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from controlplane import guard
from controlplane.alerts.models import Alert
from controlplane.guard import DUTIES, Duty, Guard
from risk.services import judge_intent
from tests.factories import HeartbeatFactory
from tests.risk.test_execution import ask
from trading import models
from trading.selectors import get_clocks

PATIENCE = 20.0


@contextmanager
def running(*duties: Duty) -> Iterator[Guard]:
    watch = Guard(duties)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


class Calls:
    """Counts calls and lets a test wait for one."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.seen = threading.Semaphore(0)
        self.then = then

    def __call__(self) -> None:
        self.seen.release()
        self.then()

    def wait(self) -> bool:
        return self.seen.acquire(timeout=PATIENCE)


def fail() -> None:
    raise ZeroDivisionError("a broken duty")


@pytest.mark.django_db(transaction=True)
def test_a_broken_duty_stays_silent_and_the_others_go_on() -> None:
    broken, fine = Calls(fail), Calls()
    with running(Duty(name="broken", every=0.01, run=broken), Duty(name="fine", every=0.01, run=fine)):
        assert broken.wait()
        assert broken.wait()
        assert fine.wait()
        assert fine.wait()
    names = set(models.Heartbeat.objects.values_list("name", flat=True))
    assert names == {"guard:fine"}


@pytest.mark.django_db(transaction=True)
def test_a_trip_wakes_the_sweep_before_its_time() -> None:
    sweep = Calls()
    with running(Duty(name="sweep", every=3600, run=sweep)):
        assert sweep.wait()
        woken = False
        for _ in range(200):
            # The guard may still be on its way to listening: a notice before that is lost.
            with connection.cursor() as cursor:
                cursor.execute(f"NOTIFY {guard.STOP_CHANNEL}")
            woken = sweep.seen.acquire(timeout=0.1)
            if woken:
                break
        assert woken


def test_the_stop_is_swept_before_anything_else_and_leases_depend_on_it() -> None:
    assert DUTIES[0].name == "sweep"
    assert {
        "sweep",
        "watch",
        "recovery",
        "risk",
        "leases",
        "seal",
        "alerts",
        "processes",
        "books",
        "intents",
    } <= {duty.name for duty in DUTIES}


@pytest.fixture
def long_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """This guard has watched for an hour."""
    monkeypatch.setattr(guard, "get_start", lambda: get_clocks().wall_at - timedelta(hours=1))


@pytest.mark.django_db
def test_life_from_before_a_pause_of_the_desk_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    HeartbeatFactory(name="worker", beat_at=get_clocks().wall_at - timedelta(hours=9))
    began_at = get_clocks().wall_at - timedelta(seconds=2)
    monkeypatch.setattr(guard, "get_start", lambda: began_at)
    guard.watch_processes()
    assert not Alert.objects.exists()

    monkeypatch.setattr(guard, "get_start", lambda: began_at - timedelta(seconds=14))
    guard.watch_processes()
    assert Alert.objects.get().code == "process_silent"


@pytest.mark.django_db
@pytest.mark.usefixtures("long_watch")
def test_a_silent_worker_is_reported_once_and_taken_back_when_it_lives() -> None:
    HeartbeatFactory(name="worker", beat_at=get_clocks().wall_at - timedelta(minutes=1))
    guard.watch_processes()
    guard.watch_processes()
    alert = Alert.objects.get(code="process_silent")
    assert (alert.scope, alert.severity, alert.resolved_at) == ("worker", "critical", None)

    models.Heartbeat.objects.update(beat_at=get_clocks().wall_at)
    guard.watch_processes()
    alert.refresh_from_db()
    assert alert.resolved_at is not None


@pytest.mark.django_db
def test_a_desk_that_is_starting_is_not_reported() -> None:
    guard.watch_processes()
    assert not Alert.objects.exists()


def leave_waiting(desk: Any, **changes: Any) -> models.OrderIntent:
    """An intent that the gate allowed two seconds ago, and nobody sent."""
    intent = ask(desk, **changes)
    assert judge_intent(intent_id=intent.pk, clocks=get_clocks()).allowed
    models.OrderIntent.objects.filter(pk=intent.pk).update(
        updated_at=get_clocks().wall_at - timedelta(seconds=2)
    )
    return intent


def test_an_approved_intent_that_nobody_sent_is_picked_up(desk: Any) -> None:
    waiting = leave_waiting(desk)
    guard.pick_up_intents()
    assert models.Order.objects.get(purpose="entry").intent == waiting
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_an_intent_that_was_just_approved_is_left_to_its_worker(desk: Any) -> None:
    intent = leave_waiting(desk)
    models.OrderIntent.objects.filter(pk=intent.pk).update(updated_at=get_clocks().wall_at)
    guard.pick_up_intents()
    assert not models.Order.objects.exists()


def test_a_judgement_without_execution_is_never_picked_up(desk: Any) -> None:
    leave_waiting(desk, execute=False)
    guard.pick_up_intents()
    assert not models.Order.objects.exists()
