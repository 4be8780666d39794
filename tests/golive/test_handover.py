"""Handover: a person confirms what the machine observed, and nothing shortens that."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now

from controlplane.audit.models import AuditEvent
from controlplane.errors import DomainError
from golive.core.words import ActivationState, Phase
from golive.models import Activation, Observation, Programme
from golive.services import confirm_activation
from tests.approvals.conftest import REASON, forget_codes
from tests.golive import walking
from tests.risk import desk as rows
from trading import models as facts
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db(transaction=True)


def refused(code: str):
    return pytest.raises(DomainError, check=lambda error: error.code == code)


@pytest.fixture
def account(db, settings, tmp_path):
    walking.write_manual(settings, tmp_path)
    return walking.make_desk()


def observe(done: Activation, *, but: int | None = None, verdict: str = "pass") -> None:
    at = get_clocks().market_at - timedelta(hours=3)
    Activation.objects.filter(pk=done.pk).update(market_at=at)
    Programme.objects.filter(pk=done.programme_id).update(phase_since_market_at=at)
    for minute in (0, 15, 30, 60, 90, 120):
        Observation.objects.create(
            activation=done,
            minute=minute,
            verdict=verdict if minute == but else "pass",
            due_market_at=at + timedelta(minutes=minute),
            market_at=at + timedelta(minutes=minute),
        )


def enter(account: facts.Account, **changes) -> facts.Trade:
    at = get_clocks().market_at - timedelta(hours=1)
    return walking.make_trade(
        account,
        **{"opened_at": at, "closed_at": at + timedelta(minutes=5), "stop_verified_at": Now()} | changes,
    )


def confirm(account: facts.Account, by: str = "ann") -> Activation:
    return confirm_activation(account=account, actor=walking.actor(by), reason=REASON)


def test_a_person_takes_over_what_was_observed(account):
    done = walking.go_live(account)
    observe(done)
    rows.refresh(account)
    enter(account)
    assert confirm(account).state == ActivationState.CONFIRMED
    row = Programme.objects.get()
    assert (row.state, row.phase, row.outcome) == ("confirmed", "handover", "confirmed")
    assert AuditEvent.objects.filter(action="golive.confirm").count() == 1
    with refused("nothing_to_confirm"):
        confirm(account)


@pytest.mark.parametrize("verdict", ["fail", "inconclusive", "error"])
@pytest.mark.parametrize("minute", [0, 60, 120])
def test_one_mark_that_did_not_pass_keeps_it(account, minute, verdict):
    done = walking.go_live(account)
    observe(done, but=minute, verdict=verdict)
    with refused("observation_open"):
        confirm(account)
    done.refresh_from_db()
    assert done.state == ActivationState.OBSERVING


def test_no_observation_at_all_keeps_it(account):
    done = walking.go_live(account)
    at = get_clocks().market_at - timedelta(hours=3)
    Programme.objects.update(phase_since_market_at=at)
    with refused("observation_open"):
        confirm(account)
    assert done.state == ActivationState.OBSERVING


def test_nothing_shortens_the_observation(account):
    done = walking.go_live(account)
    observe(done)
    Programme.objects.update(phase_since_market_at=get_clocks().market_at - timedelta(minutes=119))
    rows.refresh(account)
    enter(account)
    with refused("phase_too_short"):
        confirm(account)


def test_it_goes_on_until_a_live_entry_is_protected_and_no_longer_than_a_day(account):
    done = walking.go_live(account)
    observe(done)
    with refused("no_live_entry"):
        confirm(account)
    assert Programme.objects.get().phase == Phase.OBSERVATION
    Activation.objects.update(market_at=get_clocks().market_at - timedelta(hours=25))
    facts.Trade.objects.update(opened_at=F("opened_at") - timedelta(days=2))
    with refused("observation_over"):
        confirm(account)


def test_the_next_activation_supersedes_what_was_confirmed(account):
    first = walking.go_live(account)
    observe(first)
    rows.refresh(account)
    enter(account)
    confirm(account)
    forget_codes()
    second = walking.go_live(account)
    first.refresh_from_db()
    assert (first.state, second.state) == (ActivationState.SUPERSEDED, ActivationState.OBSERVING)
    assert first.confirmed_at is not None
    assert second.previous_limit_set_digest == first.limit_set_digest
