"""States under many hands at once: what stands decides at every quiet moment, and nobody waits for ever."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connections, transaction

from controlplane.approvals.core import Actor, ActorKind
from risk import models
from risk.core.emergency_stop import Cause
from risk.reducing.restrictions import lift, restrict
from risk.stops import emergency
from risk.stops.rearm import StopOver, end_stop, lock_stop
from tests.risk import desk
from trading import models as facts
from trading.core.values import TradingStateName
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db(transaction=True)
SCOPE = "account:main"
GUARD = Actor(name="watch", kind=ActorKind.GUARD)
CAUSES = (Cause.STALE_READING, Cause.REARMED, Cause.OVERSIZE)
HANDS, ROUNDS, STEPS = 4, 12, 8


def trip(source: str = "manual") -> models.StopEvent:
    return emergency.trip_emergency_stop(
        scope=SCOPE,
        reason="raced",
        source=source,
        actor=GUARD,
        clocks=get_clocks(),
        call_sweeper=lambda _: None,
    )


def begin(cause: Cause) -> models.Restriction:
    return restrict(scope=SCOPE, cause=cause, reason="raced", actor="guard:test", clocks=get_clocks())


def end(cause: Cause) -> bool:
    return lift(scope=SCOPE, cause=cause, because="raced", actor="guard:test", clocks=get_clocks())


def rearm() -> None:
    """As an approval ends a stop: locks, a time of reducing, the end; a drill's, as the database lets it."""
    event = models.StopEvent.objects.filter(scope=SCOPE, ended_at__isnull=True).first()
    if event is None:
        return
    models.StopEvent.objects.filter(pk=event.pk, progress="STOPPING").update(
        progress="STOPPED", stopped_at=get_clocks().wall_at
    )
    with transaction.atomic():
        own = lock_stop(event.pk)
        if own.progress != "STOPPED":
            return
        end(Cause.REARMED)
        begin(Cause.REARMED)
        end_stop(own, ended_by="guard:drill", root_cause="raced", source="drill", clocks=get_clocks())


def apart(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connections.close_all()


def act(seed: int, gate: threading.Barrier) -> None:
    chance = random.Random(seed)
    gate.wait(20)
    for _ in range(STEPS):
        kind = chance.choice(("trip", "rearm", "begin", "begin", "end", "end"))
        try:
            if kind == "trip":
                trip("drill")
            elif kind == "rearm":
                rearm()
            else:
                (begin if kind == "begin" else end)(chance.choice(CAUSES))
        except StopOver:
            # Another was faster.
            continue


def wanted() -> TradingStateName:
    if models.StopEvent.objects.filter(scope=SCOPE, ended_at__isnull=True).exists():
        return TradingStateName.HALTED
    stands = models.Restriction.objects.filter(scope=SCOPE, lifted_at__isnull=True).exists()
    return TradingStateName.REDUCING if stands else TradingStateName.ACTIVE


def test_what_stands_decides_whoever_acts_at_the_same_time():
    desk.make_desk()
    for number in range(ROUNDS):
        gate = threading.Barrier(HANDS)
        with ThreadPoolExecutor(HANDS) as pool:
            seeds = range(number * HANDS, number * HANDS + HANDS)
            hands = [pool.submit(apart, partial(act, seed, gate)) for seed in seeds]
        for hand in hands:
            hand.result()
        assert facts.TradingState.objects.get(scope=SCOPE).state == wanted()


def test_a_cause_that_begins_while_it_is_being_lifted_stands_afterwards():
    """Whoever restricts waits for the one that lifts: it may not lean on a row that is about to end."""
    desk.make_desk()
    begin(Cause.STALE_READING)
    lifted, asked = threading.Event(), threading.Event()

    def lift_slowly() -> None:
        with transaction.atomic():
            assert end(Cause.STALE_READING)
            lifted.set()
            # Long enough for the other to be at the lock; without one it is through already.
            asked.wait(1)

    def begin_again() -> None:
        assert lifted.wait(20)
        begin(Cause.STALE_READING)
        asked.set()

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(apart, work) for work in (lift_slowly, begin_again)]
    for one in both:
        one.result()

    assert models.Restriction.objects.filter(scope=SCOPE, lifted_at__isnull=True).count() == 1
    assert facts.TradingState.objects.get(scope=SCOPE).state == "REDUCING"
