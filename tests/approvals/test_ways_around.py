"""Ways around the quorum: other names, other people's tokens, old codes, old votes, other rules."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now

from controlplane.approvals import people, requests, selectors, services, voting
from controlplane.approvals.core import BOOTSTRAP, Actor, ActorKind, Mode, Role, VoteDecision
from controlplane.approvals.kinds import KINDS
from controlplane.approvals.models import ApiToken, ApprovalRequest, Designation, SecondFactorUse, Vote
from controlplane.approvals.second_factor import keeping_codes
from controlplane.audit.models import AuditEvent
from controlplane.errors import DomainError
from tests import factories
from tests.approvals.conftest import REASON, code_of, let_time_pass, make_person
from tests.approvals.test_voting import DUAL_ONLY, GIVE, LATER, PAIR, SLOW, ask, refused, vote

pytestmark = pytest.mark.django_db(transaction=True)
BY = {"actor": BOOTSTRAP, "reason": REASON}


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    shipped = dict(KINDS._kinds)
    monkeypatch.setattr(
        KINDS, "_kinds", shipped | {one.name: one for one in (GIVE, PAIR, LATER, DUAL_ONLY, SLOW)}
    )


@pytest.fixture
def desk_of_five(desk):
    made = {
        "dan": factories.UserFactory(username="dan"),
        "ada": make_person("ada", Role.ADMIN),
        "aud": make_person("aud", Role.AUDITOR),
    }
    return desk | made


def denied(action: str) -> list[str]:
    rows = AuditEvent.objects.filter(action=f"{action}.denied").order_by("seq")
    return [row.payload["detail"]["code"] for row in rows]


# Names.


@pytest.mark.parametrize(
    "name", ["system:clock", "token:bot", "guard:watch", "", "a b", "x" * 151, "\u0430nn"]
)
def test_nobody_is_named_like_a_guard_a_token_or_almost_like_another(desk, name):
    with refused("name_invalid"):
        services.create_user(name=name, password=factories.PASSWORD, **BY)
    with refused("name_invalid"):
        people.invite_person(name=name, actor=selectors.get_actor("ann"), reason=REASON)
    assert denied("approvals.user_create") == ["name_invalid"]


@pytest.mark.parametrize("name", ["ann", "Ann", "ANN"])
def test_two_names_do_not_differ_by_their_case_only(desk, name):
    with refused("user_exists"):
        services.create_user(name=name, password=factories.PASSWORD, **BY)


def test_a_new_name_does_not_make_another_person(desk_of_five):
    row = ask()
    get_user_model().objects.filter(username="ann").update(username="eve")
    with refused("self_approval"):
        vote(row, selectors.get_user("eve"))


def test_an_inherited_name_does_not_withdraw_what_somebody_else_asked(desk_of_five):
    row = ask()
    get_user_model().objects.filter(username="ann").update(username="eve")
    get_user_model().objects.filter(username="cat").update(username="ann")
    with refused("not_proposer"):
        requests.withdraw_request(request_id=row.pk, reason=REASON, actor=selectors.get_actor("ann"))
    by_eve = {"request_id": row.pk, "reason": REASON, "actor": selectors.get_actor("eve")}
    assert requests.withdraw_request(**by_eve).state == "withdrawn"


def test_an_inherited_token_name_does_not_withdraw_either(desk_of_five):
    bot = Actor(name="bot", kind=ActorKind.TOKEN)
    factories.ApiTokenFactory(name="bot", raw="first", user=desk_of_five["ann"])
    row = ask(by=bot)
    ApiToken.objects.update(revoked_at=Now())
    factories.ApiTokenFactory(name="bot", raw="second", user=desk_of_five["bob"])
    with refused("not_proposer"):
        requests.withdraw_request(request_id=row.pk, reason=REASON, actor=bot)


# Tokens: whoever holds one asks as its person.


def create(*words):
    call_command("tokens", "create", "x", "--scope", "intents", "--reason", REASON, *words)


@pytest.mark.parametrize("by", ["bob", "aud", "dan"])
def test_nobody_makes_a_token_of_somebody_else_to_ask_in_their_name(desk_of_five, by):
    with pytest.raises(CommandError, match=r"^token_of_another: "):
        create("--user", "ann", "--actor", by)
    assert not ApiToken.objects.exists()
    assert denied("approvals.token_create") == ["token_of_another"]


def test_an_admin_makes_tokens_of_others_unless_he_approves(desk_of_five):
    create("--user", "ann", "--actor", "ada")
    Designation.objects.create(user=desk_of_five["ada"], role="approver", designated_by="x")
    with pytest.raises(CommandError, match=r"^token_of_another: "):
        create("--user", "ann", "--actor", "ada")
    call_command("tokens", "create", "own", "--scope", "read", "--actor", "ada", "--reason", REASON)


def test_a_token_is_ended_by_its_person_or_by_whoever_may_stop(desk_of_five):
    for _ in range(2):
        factories.ApiTokenFactory(name="bot", raw=str(ApiToken.objects.count()), user=desk_of_five["dan"])
        by = "dan" if ApiToken.objects.count() == 1 else "bob"
        with pytest.raises(CommandError, match=r"^not_designated: "):
            call_command("tokens", "revoke", "bot", "--actor", "aud", "--reason", REASON)
        call_command("tokens", "revoke", "bot", "--actor", by, "--reason", REASON)
    assert not ApiToken.objects.filter(revoked_at=None).exists()
    assert denied("approvals.token_revoke") == ["not_designated"] * 2


# Codes.


def test_a_code_that_was_taken_for_a_refused_effect_is_spent(desk_of_five):
    """RFC 6238, 5.2: no code is taken a second time, whatever came of the first."""
    code, row = code_of(desk_of_five["bob"]), ask(fails=True)
    with refused("world_changed"):
        vote(row, desk_of_five["bob"], otp=code)
    assert not Vote.objects.exists()
    assert SecondFactorUse.objects.get().digest == row.digest
    with refused("step_up_used"):
        vote(ask(), desk_of_five["bob"], otp=code)


def test_guesses_at_once_are_no_more_guesses_than_one_after_the_other(desk_of_five):
    rows = [ask("tests.pair", number=number) for number in range(12)]
    barrier = threading.Barrier(len(rows))

    def guess(row):
        try:
            barrier.wait(timeout=30)
            return vote(row, desk_of_five["bob"], otp="12345x").state
        except DomainError as refusal:
            return refusal.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(rows)) as pool:
        results = list(pool.map(guess, rows))
    assert sorted(results) == ["step_up_locked"] * 7 + ["step_up_wrong"] * 5


# Votes and designations.


def test_the_vote_of_somebody_who_left_and_came_back_counts_no_more(desk_of_five):
    row = ask("tests.pair")
    vote(row, desk_of_five["bob"])
    Designation.objects.filter(user=desk_of_five["bob"]).update(valid_to=Now())
    Designation.objects.create(user=desk_of_five["bob"], role="approver", designated_by="x")
    assert vote(row, desk_of_five["cat"]).state == "proposed"


def test_a_vote_of_before_a_new_second_factor_counts_no_more(desk_of_five):
    row = vote(ask("tests.later"), desk_of_five["bob"])
    people.enrol_person(name="bob", actor=selectors.get_actor("bob"), reason=REASON)
    with refused("quorum_lost"):
        execute(row, "ann")


def execute(row, name: str):
    user = selectors.get_user(name)
    take = {"request_id": row.pk, "kind": "tests.later", "actor": selectors.get_actor(name)}
    with keeping_codes(), voting.executing_request(**take, otp=code_of(user)) as taken:
        return taken


def test_only_whoever_may_ask_or_approve_carries_out(desk_of_five):
    row = vote(ask("tests.later"), desk_of_five["bob"])
    make_person("eve")
    for name in ("aud", "eve"):
        with refused("not_designated"):
            execute(row, name)
    assert execute(row, "ann").state == "executed"


def test_a_request_born_with_a_need_of_fewer_than_its_kind_takes_the_kinds_quorum(desk_of_five):
    """A row that was written past the services, with a digest that fits it."""
    asked = ask("tests.pair")
    forged = ApprovalRequest.objects.get(pk=asked.pk)
    forged.pk, forged.required_approvals = ApprovalRequest().id, 1
    forged.digest = requests.compute_digest(forged, PAIR)
    forged.save(force_insert=True)
    assert vote(forged, desk_of_five["bob"]).state == "proposed"
    assert vote(forged, desk_of_five["cat"]).state == "executed"


def test_what_was_asked_on_paper_is_void_elsewhere(desk_of_five, settings):
    row = ask()
    let_time_pass(timedelta(hours=25))
    settings.TRADING_ENVIRONMENT = "live"
    with refused("digest_mismatch"):
        vote(row, desk_of_five["bob"])


# Refusals are remembered, and reasons are reasons.


@pytest.mark.parametrize(
    ("asking", "code"),
    [
        (lambda by: people.request_designation(name="nobody", role=Role.APPROVER, **by), "user_not_found"),
        (lambda by: people.request_solo(name="nobody", **by), "user_not_found"),
    ],
)
def test_what_is_refused_before_it_is_asked_is_remembered_too(desk_of_five, asking, code):
    with refused(code):
        asking({"actor": selectors.get_actor("ann"), "reason": REASON})
    assert denied("approvals.request_open") == [code]


def test_the_first_start_says_why():
    with refused("reason_too_short"):
        people.start_desk(
            mode=Mode.DUAL, people={"ann": [Role.REQUESTER], "bob": [Role.APPROVER]}, reason="because"
        )
    assert denied("approvals.first_start") == ["reason_too_short"]


def test_a_kind_that_was_not_meant_is_refused_and_remembered(desk_of_five):
    row = ask()
    with refused("digest_mismatch"):
        voting.vote_on_request(
            request_id=row.pk,
            kind="tests.pair",
            decision=VoteDecision.APPROVE,
            otp=code_of(desk_of_five["bob"]),
            reason=REASON,
            actor=selectors.get_actor("bob"),
        )
    assert denied("approvals.vote") == ["digest_mismatch"]
