"""The latch opens by two people with a reason, one time each, and by nothing else."""

import pytest

from controlplane.alerts.models import Alert
from controlplane.approvals.core import Actor, ActorKind, Role, VoteDecision
from controlplane.approvals.eligibility import NoPerson, SelfApproval
from controlplane.approvals.requests import ReasonTooShort
from controlplane.approvals.selectors import get_actor, get_user
from controlplane.approvals.services import NotDesignated
from controlplane.approvals.voting import vote_on_request
from controlplane.audit.models import AuditEvent
from golive import holds
from golive.holds import (
    AccountHeld,
    NotHeld,
    ReleaseAsked,
    RollbackRuns,
    find_hold,
    hold_account,
    list_holds,
    request_release,
    require_released,
)
from golive.models import Rollback
from golive.rollback import roll_back
from golive.services import resume_rollbacks
from tests.approvals.conftest import REASON, choose_mode, make_person
from tests.golive.live import OPERATOR, approve, go_live, permit_of, release
from tests.risk import desk
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(db):
    choose_mode()
    make_person("ann", Role.OPERATOR, Role.APPROVER)
    make_person("bob", Role.APPROVER)
    make_person("eve", Role.AUDITOR)


@pytest.fixture
def account(people):
    return desk.make_desk()


def hold(account, reason="a guard cannot see"):
    return hold_account(account=account, reason=reason, actor="guard:observing", clocks=get_clocks())


def ask(account, by="ann", **changes):
    return request_release(**{"account": account, "reason": REASON, "actor": get_actor(by)} | changes)


def test_it_falls_once_is_told_and_stops_increases(account):
    first = hold(account)
    assert hold(account, "again").pk == first.pk
    assert list(list_holds()) == [first]
    assert Alert.objects.filter(code="account_held", severity="critical", resolved_at=None).count() == 1
    assert AuditEvent.objects.filter(action="golive.hold").count() == 1
    with pytest.raises(AccountHeld):
        require_released(account)


def test_two_people_release_it(account):
    row = hold(account)
    request = release(account)
    row.refresh_from_db()
    assert (row.release_request, row.released_at is None) == (request.pk, False)
    assert find_hold(account) is None
    event = AuditEvent.objects.get(action="golive.release")
    assert (event.actor, event.reason) == ("bob", REASON)
    assert event.payload["detail"]["requested_by"] == "ann"
    assert not Alert.objects.filter(code="account_held", resolved_at=None).exists()
    require_released(account)


def test_nobody_alone_and_nobody_else(account):
    hold(account)
    with pytest.raises(NotDesignated):
        ask(account, by="eve")
    request = ask(account)
    with pytest.raises(SelfApproval):
        approve(request, "ann")
    with pytest.raises(NotDesignated):
        approve(request, "eve")
    guard = Actor(name="observing", kind=ActorKind.GUARD)
    words = {"decision": VoteDecision.APPROVE, "otp": "000000", "reason": REASON, "actor": guard}
    with pytest.raises(NoPerson):
        vote_on_request(request_id=request.pk, **words)
    assert find_hold(account) is not None


def test_superuser_alone_is_nobody(account):
    hold(account)
    request = ask(account)
    root = make_person("root", is_superuser=True)
    with pytest.raises(NotDesignated):
        approve(request, root.get_username())
    assert find_hold(account) is not None


def test_it_takes_a_reason_a_hold_and_one_request(account):
    with pytest.raises(NotHeld):
        ask(account)
    hold(account)
    with pytest.raises(ReasonTooShort):
        ask(account, reason="short")
    ask(account)
    with pytest.raises(ReleaseAsked):
        ask(account)
    assert AuditEvent.objects.filter(action="approvals.request_open.denied").count() == 3


def test_a_release_that_was_asked_before_another_rollback_is_void(account):
    hold(account)
    request = ask(account)
    roll_back(account=account, actor=OPERATOR, call_finisher=lambda _: None)
    request.refresh_from_db()
    assert request.state == "withdrawn"
    assert find_hold(account) is not None


def test_not_while_the_rollback_runs(account):
    go_live(account)
    row = roll_back(account=account, actor=OPERATOR, call_finisher=lambda _: None)
    request = ask(account)
    with pytest.raises(RollbackRuns):
        approve(request)
    resume_rollbacks()
    approve(request)
    row.refresh_from_db()
    assert row.resolved_by == "bob"


def test_a_release_gives_nothing_back(account):
    activation = go_live(account)
    roll_back(account=account, actor=OPERATOR, call_finisher=lambda _: None)
    resume_rollbacks()
    release(account)
    activation.refresh_from_db()
    assert (activation.state, permit_of(account)) == ("rolled_back", None)
    assert Rollback.objects.get().state == "done"


def test_a_hold_of_one_account_is_not_of_another(account):
    other = desk.make_desk(name="other")
    hold(account)
    require_released(other)
    assert not holds.is_held(other)
    assert get_user("ann").is_active
