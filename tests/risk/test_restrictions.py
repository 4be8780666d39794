"""REDUCING by causes: each stands and is lifted by itself, and a stop is stricter than all of them."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from controlplane.alerts.models import Alert
from controlplane.approvals.core import Actor, ActorKind, Role
from controlplane.audit.models import AuditEvent
from controlplane.errors import NotPermitted
from risk import models
from risk.core.emergency_stop import Cause
from risk.reducing.restrictions import (
    AlreadyAcknowledged,
    acknowledge_restriction,
    lift,
    list_restrictions,
    restrict,
)
from risk.services import judge_intent, trip_emergency_stop
from tests.risk import desk
from trading.models import TradingState
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db(transaction=True)
SCOPE = "account:main"
GUARD = Actor(name="watch", kind=ActorKind.GUARD)
OPERATOR = Actor(name="nia", kind=ActorKind.PERSON, roles=frozenset({Role.OPERATOR}))
AUDITOR = Actor(name="ada", kind=ActorKind.PERSON, roles=frozenset({Role.AUDITOR}))


def begin(cause: Cause = Cause.DAILY_LOSS, *, needs: bool = False) -> models.Restriction:
    return restrict(
        scope=SCOPE,
        cause=cause,
        reason="a test of reducing",
        actor="guard:watch",
        clocks=get_clocks(),
        needs_acknowledgement=needs,
    )


def end(cause: Cause = Cause.DAILY_LOSS) -> bool:
    return lift(scope=SCOPE, cause=cause, because="over", actor="guard:watch", clocks=get_clocks())


def state() -> str:
    return TradingState.objects.get(scope=SCOPE).state


@pytest.fixture
def account():  # type: ignore[no-untyped-def]
    return desk.make_desk(name="main")


def test_an_entry_is_denied_while_any_cause_stands_and_a_way_out_is_not(account) -> None:  # type: ignore[no-untyped-def]
    assert judge(account).allowed
    begin()
    begin(Cause.MISMATCH)
    assert state() == "REDUCING"
    denied = judge(account)
    assert denied.reason == "STATE_REDUCING"
    assert end()
    assert state() == "REDUCING"
    assert judge(account).reason == "STATE_REDUCING"
    assert end(Cause.MISMATCH)
    assert state() == "ACTIVE"
    assert judge(account).allowed


def judge(account) -> models.Decision:  # type: ignore[no-untyped-def]
    intent = desk.ask(account, quantity=Decimal("0.1"), execute=False)
    return judge_intent(intent_id=intent.pk, clocks=get_clocks())


def test_the_same_cause_begins_once_and_is_told_once(account) -> None:  # type: ignore[no-untyped-def]
    assert begin().pk == begin().pk
    assert Alert.objects.filter(code="reducing_daily_loss", resolved_at=None).count() == 1
    assert AuditEvent.objects.filter(action="risk.restrict").count() == 1
    assert end()
    assert not end()
    assert not Alert.objects.filter(code="reducing_daily_loss", resolved_at=None).exists()
    begin()
    assert list_restrictions(SCOPE).count() == 1


def test_one_that_needs_a_person_is_not_lifted_without(account) -> None:  # type: ignore[no-untyped-def]
    row = begin(needs=True)
    assert not end()
    with pytest.raises(NotPermitted):
        acknowledge_restriction(restriction_id=row.pk, reason="looked at the losses", actor=AUDITOR)
    with pytest.raises(IntegrityError), transaction.atomic():
        models.Restriction.objects.filter(pk=row.pk).update(lifted_at=Now())
    acknowledge_restriction(restriction_id=row.pk, reason="looked at the losses", actor=OPERATOR)
    with pytest.raises(AlreadyAcknowledged):
        acknowledge_restriction(restriction_id=row.pk, reason="looked at the losses", actor=OPERATOR)
    assert state() == "REDUCING"
    assert end()
    assert state() == "ACTIVE"


def test_the_need_of_a_person_can_come_later_and_never_goes(account) -> None:  # type: ignore[no-untyped-def]
    begin()
    assert begin(needs=True).needs_acknowledgement
    assert begin().needs_acknowledgement
    assert not end()


def test_a_stop_is_stricter_and_stands_when_the_cause_is_over(account) -> None:  # type: ignore[no-untyped-def]
    begin()
    trip_emergency_stop(
        scope=SCOPE, reason="a test", actor=GUARD, clocks=get_clocks(), call_sweeper=lambda _: None
    )
    assert state() == "HALTED"
    begin(Cause.MISMATCH)
    assert state() == "HALTED"
    assert end()
    assert end(Cause.MISMATCH)
    assert state() == "HALTED"


def test_a_scope_whose_row_is_lost_stays_halted(account) -> None:  # type: ignore[no-untyped-def]
    TradingState.objects.filter(scope=SCOPE).delete()
    begin()
    assert end()
    assert not TradingState.objects.filter(scope=SCOPE).exists()
    assert judge(account).reason == "STATE_HALTED"
