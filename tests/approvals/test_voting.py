"""The quorum: who may approve, when it counts, and that it is counted once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models.functions import Now

from controlplane.approvals import requests, selectors, voting
from controlplane.approvals.core import (
    SYSTEM,
    Actor,
    ActorKind,
    Mode,
    Role,
    VoteDecision,
    totp_code,
    totp_step,
)
from controlplane.approvals.kinds import KINDS, RequestKind
from controlplane.approvals.models import ApprovalRequest, Designation, SecondFactorUse, Vote
from controlplane.approvals.second_factor import keeping_codes
from controlplane.audit.models import AuditEvent
from controlplane.errors import Conflict, DomainError
from tests import factories
from tests.approvals.conftest import (
    REASON,
    SECRET,
    choose_mode,
    code_of,
    forget,
    forget_codes,
    let_time_pass,
    make_person,
    run_out,
)

pytestmark = pytest.mark.django_db(transaction=True)
APPROVE, REJECT, REVOKE = VoteDecision.APPROVE, VoteDecision.REJECT, VoteDecision.REVOKE


def give(request: ApprovalRequest, actor: Actor) -> None:
    """An effect that can be seen and counted: the named person becomes auditor."""
    user = get_user_model().objects.get(username=request.subject["person"])
    if request.subject.get("fails"):
        raise Conflict("the world has changed", code="world_changed")
    Designation.objects.create(user=user, role=Role.AUDITOR.value, designated_by=actor.name)


def kind(**changes) -> RequestKind:
    plain = RequestKind(
        name="tests.give",
        title="Give",
        requester_roles=frozenset({Role.REQUESTER}),
        approver_roles=frozenset({Role.APPROVER}),
        quorum=1,
        approval_ttl=timedelta(hours=2),
        execution_ttl=timedelta(hours=1),
        solo_allowed=True,
        effect=give,
    )
    return replace(plain, **changes)


GIVE = kind()
PAIR = kind(name="tests.pair", quorum=2)
LATER = kind(name="tests.later", effect=None)
DUAL_ONLY = kind(name="tests.dual_only", solo_allowed=False)
SLOW = kind(name="tests.slow", waits=timedelta(days=7))


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    monkeypatch.setattr(KINDS, "_kinds", {one.name: one for one in (GIVE, PAIR, LATER, DUAL_ONLY, SLOW)})


def ask(name: str = "tests.give", by: str | Actor = "ann", **subject) -> ApprovalRequest:
    actor = by if isinstance(by, Actor) else selectors.get_actor(by)
    return requests.open_request(
        kind=name,
        subject={"person": "dan", **subject},
        reason=REASON,
        actor=actor,
        otp=subject.pop("otp", None),
    )


def vote(row: ApprovalRequest, user, decision=APPROVE, *, otp=None, digest=None) -> ApprovalRequest:
    return voting.vote_on_request(
        request_id=row.pk,
        decision=decision,
        otp=code_of(user) if otp is None else otp,
        reason=REASON,
        actor=selectors.actor_of_user(user),
        digest=digest,
    )


def refused(code: str):
    return pytest.raises(DomainError, check=lambda error: error.code == code)


def given() -> int:
    return Designation.objects.filter(role="auditor").count()


def denials() -> list[tuple[str, str, str]]:
    rows = AuditEvent.objects.filter(action__endswith=".denied").order_by("seq")
    return [(row.action, row.actor, row.payload["detail"]["code"]) for row in rows]


@pytest.fixture
def people(desk):
    return desk | {"dan": factories.UserFactory(username="dan")}


def test_another_persons_approval_carries_it_out_in_one_transaction(people):
    row = ask()
    assert (row.state, row.mode, row.required_approvals) == ("proposed", "dual", 1)
    done = vote(row, people["bob"], digest=row.digest)
    assert (done.state, done.approved_digest, done.version) == ("executed", row.digest, 3)
    assert given() == 1
    said = Vote.objects.get()
    assert (said.proposer, said.proposed_at, said.mode) == (people["ann"], row.proposed_at, "dual")
    events = list(AuditEvent.objects.order_by("seq").values_list("action", "actor"))
    assert events[-3:] == [
        ("approvals.request_open", "ann"),
        ("approvals.vote", "bob"),
        ("approvals.request_execute", "bob"),
    ]
    assert AuditEvent.objects.order_by("-seq").first().payload["detail"]["approval"] == "another person"


def execute(**take):
    """Carry out with nothing to change."""
    with keeping_codes(), voting.executing_request(**take) as row:
        return row


def test_a_kind_without_an_effect_waits_to_be_executed_once(people):
    row = vote(ask("tests.later"), people["bob"])
    assert row.state == "approved"
    take = {"request_id": row.pk, "kind": "tests.later", "actor": selectors.get_actor("ann")}
    with refused("step_up_required"):
        execute(**take, otp=None)
    with refused("digest_mismatch"):
        execute(**take | {"kind": "tests.give"}, otp=code_of(people["ann"]))
    assert execute(**take, otp=code_of(people["ann"])).state == "executed"
    with refused("state_changed"):
        execute(**take, otp=code_of(people["ann"]))


def test_whoever_asked_cannot_approve_and_the_attempt_is_remembered(people):
    row = ask()
    with refused("self_approval"):
        vote(row, people["ann"])
    assert denials() == [("approvals.vote.denied", "ann", "self_approval")]
    assert not SecondFactorUse.objects.exists()
    assert given() == 0


def test_the_person_behind_a_token_cannot_approve_what_the_token_asked(people):
    factories.ApiTokenFactory(name="bot", user=people["ann"])
    row = ask(by=Actor(name="bot", kind=ActorKind.TOKEN))
    assert (row.proposer, row.proposer_name) == (people["ann"], "token:bot")
    with refused("self_approval"):
        vote(row, people["ann"])


@pytest.mark.parametrize("actor", [Actor(name="bot", kind=ActorKind.TOKEN, roles=frozenset(Role)), SYSTEM])
def test_a_token_or_the_system_never_votes(people, actor):
    row = ask(by=SYSTEM)
    with refused("not_a_person"):
        voting.vote_on_request(
            request_id=row.pk, decision=APPROVE, otp=code_of(people["bob"]), reason=REASON, actor=actor
        )
    assert denials()[-1][2] == "not_a_person"


def test_a_superuser_is_nobody_special(people):
    root = make_person("root", is_superuser=True)
    with refused("not_designated"):
        vote(ask(), root)
    with refused("not_designated"):
        ask(by="root")
    root_and_both = make_person("both", Role.REQUESTER, Role.APPROVER, is_superuser=True)
    with refused("self_approval"):
        vote(ask(by="both"), root_and_both)


def test_a_quorum_of_two_takes_two_and_one_who_left_counts_no_more(people):
    row = ask("tests.pair")
    assert vote(row, people["bob"]).state == "proposed"
    get_user_model().objects.filter(username="bob").update(is_active=False)
    assert vote(row, people["cat"]).state == "proposed"
    assert given() == 0
    eve = make_person("eve", Role.APPROVER)
    assert vote(row, eve).state == "executed"


@pytest.mark.parametrize(
    "leave",
    [
        lambda bob: get_user_model().objects.filter(pk=bob.pk).update(is_active=False),
        lambda bob: Designation.objects.filter(user=bob).update(valid_to=Now()),
    ],
)
def test_an_approver_who_left_before_the_execution_voids_it(people, leave):
    row = vote(ask("tests.later"), people["bob"])
    leave(people["bob"])
    with refused("quorum_lost"):
        execute(
            request_id=row.pk,
            kind="tests.later",
            actor=selectors.get_actor("ann"),
            otp=code_of(people["ann"]),
        )


def test_the_same_person_counts_once_through_whichever_channel(people):
    row = ask("tests.pair")
    vote(row, people["bob"])
    with refused("already_voted"):
        vote(row, people["bob"])
    assert Vote.objects.count() == 1


def test_a_rejection_closes_it(people):
    row = ask("tests.pair")
    vote(row, people["bob"])
    assert vote(row, people["cat"], REJECT).state == "rejected"
    with refused("state_changed"):
        vote(row, make_person("eve", Role.APPROVER))
    assert given() == 0


def test_an_approval_can_be_taken_back_but_not_given_again(people):
    row = vote(ask("tests.later"), people["bob"])
    assert vote(row, people["bob"], REVOKE).state == "proposed"
    with refused("already_voted"):
        vote(row, people["bob"])
    with refused("state_changed"):
        vote(row, people["cat"], REVOKE)
    assert vote(row, people["cat"]).state == "approved"


def test_only_whoever_asked_withdraws(people):
    row = ask()
    by = {"request_id": row.pk, "reason": REASON}
    with refused("not_proposer"):
        requests.withdraw_request(**by, actor=selectors.get_actor("bob"))
    with refused("self_approval"):
        vote(row, people["ann"], REJECT)
    assert requests.withdraw_request(**by, actor=selectors.get_actor("ann")).state == "withdrawn"
    with refused("state_changed"):
        vote(row, people["bob"])


def test_a_code_serves_once(people):
    code = code_of(people["bob"])
    vote(ask("tests.pair"), people["bob"], otp=code)
    with refused("step_up_used"):
        vote(ask(), people["bob"], otp=code)
    assert given() == 0
    use = SecondFactorUse.objects.get()
    assert (use.action, use.digest) == ("vote.approve", Vote.objects.get().digest)


def test_codes_of_the_neighbouring_steps_are_taken_and_no_others(people):
    for shift in (-1, 0, 1):
        assert vote(ask(), people["bob"], REJECT, otp=shifted_code(shift)).state == "rejected"
    for shift in (-3, 3):
        with refused("step_up_wrong"):
            vote(ask(), people["cat"], otp=shifted_code(shift))


def shifted_code(shift: int) -> str:
    return totp_code(SECRET, totp_step(selectors.get_database_time()) + shift)


@pytest.mark.parametrize("otp", ["", "   "])
def test_without_a_code_or_a_factor_nothing_goes(people, otp):
    with refused("step_up_required"):
        vote(ask(), people["bob"], otp=otp)
    factor_less = factories.UserFactory(username="eve", roles=(Role.APPROVER,))
    with refused("step_up_required"):
        vote(ask(), factor_less, otp="123456")


def test_guessing_codes_is_stopped(people):
    row = ask()
    for _ in range(5):
        with refused("step_up_wrong"):
            vote(row, people["bob"], otp="12345x")
    with refused("step_up_locked"):
        vote(row, people["bob"])
    assert vote(row, people["cat"]).state == "executed"


def test_what_was_shown_must_be_what_is_stored(people):
    first, second = ask(), ask(other="thing")
    with refused("digest_mismatch"):
        vote(first, people["bob"], digest=second.digest)
    assert vote(first, people["bob"], digest=first.digest).state == "executed"


def test_the_digest_covers_every_fact_of_the_request(people):
    row = ask()
    digest = requests.compute_digest(row, GIVE)
    assert digest == row.digest
    changes = {
        "subject_text": '{"person":"eve"}',
        "kind": "tests.pair",
        "mode": "solo",
        "proposer_name": "bob",
        "required_approvals": 2,
        "approve_by": row.approve_by + timedelta(microseconds=1),
        "execute_by": row.execute_by + timedelta(microseconds=1),
    }
    for name, value in changes.items():
        changed = ApprovalRequest.objects.get(pk=row.pk)
        setattr(changed, name, value)
        assert requests.compute_digest(changed, GIVE) != digest, name
    for changed_kind in (
        kind(quorum=2),
        kind(solo_allowed=False),
        kind(approver_roles=frozenset({Role.APPROVER, Role.ADMIN})),
        kind(approval_ttl=timedelta(hours=3)),
    ):
        assert requests.compute_digest(row, changed_kind) != digest


def test_rules_that_changed_void_what_was_asked_under_others(people, monkeypatch):
    row = ask()
    monkeypatch.setattr(KINDS, "_kinds", {"tests.give": kind(execution_ttl=timedelta(hours=9))})
    with refused("digest_mismatch"):
        vote(row, people["bob"])


def test_the_time_to_approve_is_over_by_the_databases_clock(people):
    row = ask()
    run_out("approve_by")
    assert ApprovalRequest.objects.get().state == "proposed"
    with refused("request_expired"):
        vote(row, people["bob"])
    assert ApprovalRequest.objects.get().state == "expired"
    assert denials() == [("approvals.vote.denied", "bob", "request_expired")]
    assert given() == 0


def test_the_time_to_execute_is_over_with_the_sweeper_off(people):
    row = vote(ask("tests.later"), people["bob"])
    run_out("execute_by")
    with refused("request_expired"):
        execute(
            request_id=row.pk,
            kind="tests.later",
            actor=selectors.get_actor("ann"),
            otp=code_of(people["ann"]),
        )


def test_the_sweeper_tidies_and_says_so_once(people):
    ask()
    assert requests.expire_requests() == 0
    run_out("approve_by")
    assert requests.expire_requests() == 1
    assert requests.expire_requests() == 0
    assert AuditEvent.objects.filter(action="approvals.request_expire").count() == 1


def test_an_effect_that_is_refused_leaves_nothing_behind_but_the_denial(people):
    row = ask(fails=True)
    with refused("world_changed"):
        vote(row, people["bob"])
    row.refresh_from_db()
    assert (row.state, row.version, Vote.objects.count()) == ("proposed", 1, 0)
    assert denials() == [("approvals.vote.denied", "bob", "world_changed")]


@pytest.mark.parametrize("reason", ["", "   ", "too short", "x" + " " * 30])
def test_a_reason_that_says_nothing_is_refused(people, reason):
    with refused("reason_too_short"):
        requests.open_request(kind="tests.give", subject={}, reason=reason, actor=selectors.get_actor("ann"))
    with refused("reason_too_short"):
        voting.vote_on_request(
            request_id=ask().pk,
            decision=APPROVE,
            otp=code_of(people["bob"]),
            reason=reason,
            actor=selectors.get_actor("bob"),
        )


def test_nothing_can_be_asked_that_nobody_could_approve(people):
    Designation.objects.exclude(user=people["ann"]).update(valid_to=Now())
    with refused("too_few_approvers"):
        ask()


def test_nothing_can_be_asked_before_the_first_start(people):
    forget("approvals_approvalmode")
    with refused("mode_not_chosen"):
        ask()


def test_an_unknown_kind_or_request_is_not_found(people):
    with refused("request_kind_unknown"):
        ask("tests.nothing")
    with refused("request_not_found"):
        vote(ApprovalRequest(), people["bob"])


# Cooling-off: nothing on paper, a day elsewhere.


@pytest.fixture
def on_demo(settings):
    settings.TRADING_ENVIRONMENT = "demo"


def test_whoever_was_just_designated_cools_off(people, on_demo):
    row = ask()
    with refused("cooling_off"):
        vote(row, people["bob"])
    let_time_pass(timedelta(hours=25))
    assert vote(row, people["bob"]).state == "executed"


def change_factor(bob):
    bob.second_factor.totp_secret = "JBSWY3DPEHPK3PXP"
    bob.second_factor.save(update_fields=["totp_secret"])


def change_password(bob):
    get_user_model().objects.filter(pk=bob.pk).update(password="another")


def reactivate(bob):
    get_user_model().objects.filter(pk=bob.pk).update(is_active=False)
    get_user_model().objects.filter(pk=bob.pk).update(is_active=True)


def designate_anew(bob):
    Designation.objects.filter(user=bob).update(valid_to=Now())
    Designation.objects.create(user=bob, role="approver", designated_by="x", valid_from="2001-01-01T00:00Z")


@pytest.mark.parametrize("change", [change_factor, change_password, reactivate, designate_anew])
def test_every_change_of_credentials_starts_it_anew_however_it_is_made(people, on_demo, change):
    let_time_pass(timedelta(hours=25))
    row = ask()
    change(people["bob"])
    people["bob"].refresh_from_db()
    with refused("cooling_off"):
        vote(row, people["bob"])
    assert vote(row, people["cat"]).state == "executed"


def test_rejecting_waits_for_nothing(people, on_demo):
    assert vote(ask(), people["bob"], REJECT).state == "rejected"


def test_a_vote_stops_counting_when_its_voter_changes_credentials(people, on_demo):
    let_time_pass(timedelta(hours=25))
    row = ask("tests.pair")
    vote(row, people["bob"])
    change_password(people["bob"])
    assert vote(row, people["cat"]).state == "proposed"


# One person.


@pytest.fixture
def alone(db):
    choose_mode(Mode.SOLO)
    factories.UserFactory(username="dan")
    return make_person("ann", Role.REQUESTER, Role.APPROVER)


def ask_alone(ann, name="tests.give"):
    return requests.open_request(
        kind=name,
        subject={"person": "dan"},
        reason=REASON,
        actor=selectors.get_actor("ann"),
        otp=code_of(ann),
    )


def test_alone_a_day_lies_between_and_the_log_says_what_it_was(alone):
    row = ask_alone(alone)
    with refused("solo_delay"):
        vote(row, alone)
    let_time_pass(timedelta(hours=23, minutes=59))
    with refused("solo_delay"):
        vote(row, alone)
    let_time_pass(timedelta(minutes=2))
    assert vote(row, alone).state == "executed"
    detail = AuditEvent.objects.get(action="approvals.request_execute").payload["detail"]
    assert (detail["mode"], detail["approval"]) == ("solo", "same person, delayed")


def test_alone_the_asking_takes_a_code_of_its_own(alone):
    with refused("step_up_required"):
        ask()
    factories.ApiTokenFactory(name="bot", user=alone)
    with refused("step_up_required"):
        ask(by=Actor(name="bot", kind=ActorKind.TOKEN))
    ask_alone(alone)
    assert SecondFactorUse.objects.get().action == "request"


def test_what_a_guard_asks_waits_a_day_too_when_alone(alone):
    row = ask(by=SYSTEM)
    with refused("solo_delay"):
        vote(row, alone)


def test_some_kinds_are_not_for_one_person(alone):
    with refused("solo_refused"):
        ask_alone(alone, "tests.dual_only")


def test_what_was_asked_in_another_mode_is_void(alone):
    row = ask_alone(alone)
    let_time_pass(timedelta(hours=25))
    choose_mode(Mode.DUAL)
    with refused("mode_changed"):
        vote(row, alone)


def test_some_kinds_wait_longer(people):
    row = ask("tests.slow")
    let_time_pass(timedelta(days=6, hours=23))
    with refused("solo_delay"):
        vote(row, people["bob"])
    let_time_pass(timedelta(hours=2))
    assert vote(row, people["bob"]).state == "executed"


# Races.


def at_once(works):
    barrier = threading.Barrier(len(works))

    def run(work):
        try:
            barrier.wait(timeout=30)
            return work()
        except DomainError as refusal:
            return refusal.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def test_eight_approve_at_once_and_one_of_them_carries_it_out(people):
    eight = [make_person(f"p{number}", Role.APPROVER) for number in range(8)]
    for _ in range(3):
        before, row = given(), ask()
        results = at_once([lambda user=user, row=row: vote(row, user).state for user in eight])
        assert sorted(results) == ["executed"] + ["state_changed"] * 7
        assert given() == before + 1
        Designation.objects.filter(role="auditor", valid_to=None).update(valid_to=Now())
        forget_codes()


def test_a_quorum_of_two_reached_at_once_is_noticed(people):
    for _ in range(3):
        row = ask("tests.pair")
        results = at_once([lambda who=who, row=row: vote(row, people[who]).state for who in ("bob", "cat")])
        assert sorted(results) == ["executed", "proposed"]
        Designation.objects.filter(role="auditor", valid_to=None).update(valid_to=Now())
        forget_codes()


def test_one_code_used_at_once_for_eight_requests_serves_one(people):
    rows = [ask(number=number) for number in range(4)]
    code = code_of(people["bob"])
    results = at_once([lambda row=row: vote(row, people["bob"], REJECT, otp=code).state for row in rows])
    assert sorted(results) == ["rejected"] + ["step_up_used"] * 3


def test_one_person_through_many_channels_at_once_is_one_vote(people):
    row = ask("tests.pair")
    codes = [shifted_code(shift) for shift in (-1, 0, 1)]
    results = at_once([lambda code=code: vote(row, people["bob"], otp=code).state for code in codes])
    assert sorted(results) == ["already_voted"] * 2 + ["proposed"]
    assert Vote.objects.count() == 1
