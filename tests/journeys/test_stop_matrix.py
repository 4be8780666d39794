"""Every way to stop, of every scope, in every situation: the venue's book is as promised afterwards.

Whatever happens, a position elsewhere keeps both its protections, and nothing that could add risk is
left at the venue within the scope.
"""

from typing import Any

import pytest

from controlplane.approvals.core import Actor, ActorKind
from risk import models
from risk.services import trip_emergency_stop
from tests.journeys.stop_desk import (
    ENTRY,
    HELD,
    SITUATIONS,
    Situation,
    at,
    hold,
    submit,
)
from tests.journeys.stop_triggers import TRIGGERS, Trigger, make_ready
from trading import dispatch
from trading import models as facts
from trading.selectors import get_clocks

GUARD = Actor(name="watch", kind=ActorKind.GUARD)
# Of these scopes a stop cancels what is not ours too (RISK.md 3.16).
WIDE = ("all", "venue:binanceusdm", "account:")
SCOPES = (*WIDE, "strategy:trend", f"symbol:{ENTRY}")


@pytest.fixture
def desk(venue_desk: Any) -> Any:
    return venue_desk


def trip(desk: Any, scope: str) -> models.StopEvent:
    return trip_emergency_stop(
        scope=scope,
        reason="a cell of the matrix",
        actor=GUARD,
        clocks=get_clocks(),
        call_sweeper=lambda _: None,
    )


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
@pytest.mark.parametrize("kind", SCOPES)
def test_a_stop_by_hand_ends_as_promised(desk: Any, kind: str, situation: Situation, request: Any) -> None:
    scope = f"account:{desk.place.account.name}" if kind == "account:" else kind
    foreign = begin(desk, situation, request)
    event = situation.sweep(desk, trip(desk, scope))
    check(desk, event, situation, foreign=None if kind in WIDE else foreign)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
@pytest.mark.parametrize("trigger", TRIGGERS, ids=str)
def test_a_stop_that_trips_by_itself_ends_as_promised(
    desk: Any, trigger: Trigger, situation: Situation, request: Any
) -> None:
    make_ready(desk)
    foreign = begin(desk, situation, request)
    trigger.fire(desk)
    event = models.StopEvent.objects.get()
    assert (event.source, event.scope.partition(":")[0]) == (trigger.source, trigger.kind)
    event = situation.sweep(desk, event)
    check(desk, event, situation, foreign=foreign if trigger.kind == "strategy" else None)


def begin(desk: Any, situation: Situation, request: Any) -> str:
    """A protected position, what the situation is about, and somebody else's order; returns its id."""
    if situation.without_redis:
        request.getfixturevalue("no_redis")
    hold(desk)
    situation.begin(desk)
    return submit(desk, price=at(desk.refresh_price(ENTRY), "0.9"))


def check(desk: Any, event: models.StopEvent, situation: Situation, *, foreign: str | None) -> None:
    """The stop is confirmed, and the venue itself shows what was promised."""
    assert event.progress == "STOPPED"
    assert not event.steps.exclude(status="done").exists()
    open_orders = dispatch.read_open_orders(venue_account=desk.place)
    adding = {
        report.client_order_id for report in open_orders if not (report.reduce_only or report.close_position)
    }
    assert adding == (set() if foreign is None else {foreign})
    entries = facts.Order.objects.filter(purpose="entry", symbol=ENTRY)
    assert not entries.filter(state__in=["sending", "unknown", "open"]).exists()
    for symbol in (HELD, ENTRY):
        check_protected(desk, symbol)
    assert desk.held(HELD) > 0
    assert (desk.held(ENTRY) > 0) == (situation.name == "partially filled entry")
    check_shut(desk)


def check_protected(desk: Any, symbol: str) -> None:
    """What the venue holds is what our book holds, and has a stop that was read back."""
    position = facts.Position.objects.filter(symbol=symbol).first()
    assert desk.held(symbol) == (0 if position is None else position.quantity)
    wanted = ["STOP_MARKET", "TAKE_PROFIT_MARKET"] if desk.held(symbol) else []
    assert desk.resting(symbol) == wanted
    if position is not None and position.quantity:
        assert position.unprotected_since is None


def check_shut(desk: Any) -> None:
    """An entry that was approved all the same is refused at the door, and nothing reaches the venue."""
    before = desk.requests_to("POST", "/fapi/v1/order")
    refusal = dispatch.send_intent(intent_id=desk.approve(symbol=ENTRY).id)
    assert isinstance(refusal, dispatch.Refusal)
    assert refusal.code == "STATE_HALTED"
    assert desk.requests_to("POST", "/fapi/v1/order") == before
