"""The first start, designations as requests, second factors, and the change of the approval mode."""

from datetime import timedelta

import pytest
from django.contrib.auth import authenticate
from django.db.models.functions import Now

from controlplane.approvals import people, selectors, voting
from controlplane.approvals.core import BOOTSTRAP, SYSTEM, Mode, Role, VoteDecision
from controlplane.approvals.models import Designation
from controlplane.audit.models import AuditEvent
from controlplane.errors import DomainError
from tests import factories
from tests.approvals.conftest import REASON, code_of, forget, let_time_pass, make_person

pytestmark = pytest.mark.django_db(transaction=True)
BOTH = (Role.REQUESTER, Role.APPROVER)


def refused(code: str):
    return pytest.raises(DomainError, check=lambda error: error.code == code)


def start(mode: Mode = Mode.DUAL, **named):
    return people.start_desk(mode=mode, people=named, reason=REASON)


def approve(row, user):
    return voting.vote_on_request(
        request_id=row.pk,
        decision=VoteDecision.APPROVE,
        otp=code_of(user),
        reason=REASON,
        actor=selectors.actor_of_user(user),
    )


def last_event(action):
    return AuditEvent.objects.filter(action=action).order_by("-seq").first()


def test_the_first_start_makes_people_shows_their_secrets_once_and_is_audited():
    invited = start(ann=[Role.REQUESTER], bob=[Role.APPROVER])
    assert [one.name for one in invited] == ["ann", "bob"]
    for one in invited:
        assert authenticate(username=one.name, password=one.password) is not None
        assert one.password not in repr(one)
    assert selectors.find_mode() is Mode.DUAL
    assert selectors.get_actor("bob").roles == {Role.APPROVER}
    event = last_event("approvals.first_start")
    assert (event.actor_kind, event.actor) == ("system", "bootstrap")
    bodies = "".join(AuditEvent.objects.values_list("body", flat=True))
    assert not any(one.password in bodies or one.totp_secret in bodies for one in invited)


def test_people_who_are_there_keep_their_secrets():
    make_person("ann")
    assert [one.name for one in start(ann=[Role.REQUESTER], bob=[Role.APPROVER])] == ["bob"]


def test_it_takes_place_once():
    start(ann=[Role.REQUESTER], bob=[Role.APPROVER])
    with refused("first_start_over"):
        start(eve=[Role.REQUESTER], eva=[Role.APPROVER])
    assert AuditEvent.objects.filter(action="approvals.first_start.denied").count() == 1
    assert selectors.find_user("eve") is None


def test_deleted_designations_do_not_open_it_again():
    start(ann=[Role.REQUESTER], bob=[Role.APPROVER])
    forget("approvals_designation", "approvals_approvalmode")
    with refused("first_start_over"):
        start(eve=[Role.REQUESTER], eva=[Role.APPROVER])


@pytest.mark.parametrize(
    ("mode", "named"),
    [
        (Mode.DUAL, {}),
        (Mode.DUAL, {"ann": [Role.REQUESTER]}),
        (Mode.DUAL, {"ann": BOTH}),
        (Mode.DUAL, {"ann": [Role.REQUESTER], "bob": [Role.ADMIN]}),
        (Mode.SOLO, {"ann": [Role.REQUESTER], "bob": [Role.APPROVER]}),
        (Mode.SOLO, {"ann": BOTH, "bob": [Role.APPROVER]}),
        (Mode.SOLO, {"ann": [Role.APPROVER]}),
    ],
)
def test_people_who_could_never_approve_for_each_other_are_refused(mode, named):
    with refused("too_few_people"):
        start(mode, **named)
    assert not Designation.objects.exists()


def test_a_designation_is_a_request_that_another_approves(desk):
    factories.UserFactory(username="dan")
    row = people.request_designation(
        name="dan", role=Role.OPERATOR, reason=REASON, actor=selectors.get_actor("ann")
    )
    assert selectors.get_actor("dan").roles == frozenset()
    assert approve(row, desk["bob"]).state == "executed"
    assert selectors.get_actor("dan").roles == {Role.OPERATOR}
    event = last_event("approvals.designate")
    assert (event.actor, event.subject_id, event.reason) == ("bob", "dan", REASON)


def test_nobody_designates_who_is_not_designated_to_ask(desk):
    factories.UserFactory(username="dan")
    with refused("not_designated"):
        people.request_designation(
            name="dan", role=Role.APPROVER, reason=REASON, actor=selectors.get_actor("bob")
        )
    with refused("user_not_found"):
        people.request_designation(
            name="nobody", role=Role.APPROVER, reason=REASON, actor=selectors.get_actor("ann")
        )


def test_inviting_gives_a_sign_in_and_nothing_else(desk):
    made = people.invite_person(name="dan", actor=selectors.get_actor("ann"), reason=REASON)
    assert authenticate(username="dan", password=made.password) is not None
    assert selectors.get_actor("dan").roles == frozenset()
    with refused("user_exists"):
        people.invite_person(name="dan", actor=selectors.get_actor("ann"), reason=REASON)
    with refused("not_designated"):
        people.invite_person(name="eve", actor=selectors.get_actor("dan"), reason=REASON)
    with refused("not_a_person"):
        people.invite_person(name="eve", actor=SYSTEM, reason=REASON)
    assert last_event("approvals.user_create.denied") is not None


def test_a_second_factor_is_ones_own_or_an_admins_to_renew(desk, settings):
    let_time_pass(timedelta(hours=25))
    admin = make_person("adm", Role.ADMIN)
    with refused("not_designated"):
        people.enrol_person(name="bob", actor=selectors.get_actor("cat"), reason=REASON)
    own = people.enrol_person(name="bob", actor=selectors.get_actor("bob"), reason=REASON)
    other = people.enrol_person(name="cat", actor=selectors.actor_of_user(admin), reason=REASON)
    assert own.totp_secret != other.totp_secret
    settings.TRADING_ENVIRONMENT = "demo"
    factories.UserFactory(username="dan")
    row = people.request_designation(
        name="dan", role=Role.AUDITOR, reason=REASON, actor=selectors.get_actor("ann")
    )
    desk["bob"].refresh_from_db()
    with refused("cooling_off"):
        approve(row, desk["bob"])


def test_a_second_approver_or_a_witness_makes_a_desk_of_one_dual_at_once():
    (made,) = start(Mode.SOLO, ann=BOTH)
    ann = selectors.get_user("ann")
    assert made.totp_secret == ann.second_factor.totp_secret
    factories.UserFactory(username="wit")
    actor = selectors.get_actor("ann")
    row = people.request_designation(
        name="wit", role=Role.APPROVER, reason=REASON, actor=actor, otp=code_of(ann)
    )
    let_time_pass(timedelta(hours=25))
    approve(row, ann)
    assert selectors.find_mode() is Mode.DUAL
    assert last_event("approvals.mode_change").subject_id == "dual"


def test_a_desk_becomes_one_persons_with_two_people_and_seven_days(desk):
    row = people.request_solo(name="ann", reason=REASON, actor=selectors.get_actor("ann"))
    let_time_pass(timedelta(days=6, hours=23))
    with refused("solo_delay"):
        approve(row, desk["bob"])
    let_time_pass(timedelta(hours=2))
    with refused("self_approval"):
        approve(row, desk["ann"])
    assert approve(row, desk["bob"]).state == "executed"
    assert selectors.find_mode() is Mode.SOLO
    assert list(selectors.list_people([Role.APPROVER]).values_list("username", flat=True)) == ["ann"]
    assert AuditEvent.objects.filter(action="approvals.designation_end").count() == 2


def test_the_one_who_stays_must_be_able_to_ask_and_to_approve(desk):
    row = people.request_solo(name="cat", reason=REASON, actor=selectors.get_actor("ann"))
    let_time_pass(timedelta(days=8))
    with refused("not_designated"):
        approve(row, desk["bob"])
    assert selectors.find_mode() is Mode.DUAL


def test_an_ended_role_can_be_given_again(desk):
    Designation.objects.filter(user=desk["cat"]).update(valid_to=Now())
    row = people.request_designation(
        name="cat", role=Role.APPROVER, reason=REASON, actor=selectors.get_actor("ann")
    )
    approve(row, desk["bob"])
    assert selectors.get_actor("cat").roles == {Role.APPROVER}


def test_the_bootstrap_acts_before_the_first_start_only_as_the_ceremony(desk):
    with refused("first_start_over"):
        people.hold_first_start(
            mode=Mode.DUAL, people={"ann": [Role.REQUESTER], "bob": [Role.APPROVER]}, reason=REASON
        )
    assert not AuditEvent.objects.filter(action="approvals.first_start", actor=BOOTSTRAP.name).exists()
