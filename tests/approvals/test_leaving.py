"""People who leave: one person ends a role or everything, at once, and somebody who stops always stays."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from controlplane.approvals import leaving, selectors, services
from controlplane.approvals.core import SYSTEM, Actor, ActorKind, Role, TokenScope
from controlplane.approvals.kinds import KINDS
from controlplane.approvals.models import ApiToken, Designation
from controlplane.audit.models import AuditEvent
from controlplane.errors import DomainError
from tests import factories
from tests.approvals.conftest import REASON, make_person
from tests.approvals.test_voting import LATER, PAIR, ask, refused, vote
from tests.approvals.test_ways_around import denied, execute

pytestmark = pytest.mark.django_db(transaction=True)
LEAVE = (
    lambda name, by: leaving.end_designation(
        name=name, role=Role.APPROVER, actor=selectors.get_actor(by), reason=REASON
    ),
    lambda name, by: leaving.deactivate_person(name=name, actor=selectors.get_actor(by), reason=REASON),
)
BY_EACH_WAY = pytest.mark.parametrize("leave", LEAVE, ids=["end-designation", "deactivate"])


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    monkeypatch.setattr(KINDS, "_kinds", {one.name: one for one in (PAIR, LATER)})


@pytest.fixture
def people(desk):
    return desk | {"ope": make_person("ope", Role.OPERATOR), "aud": make_person("aud", Role.AUDITOR)}


def events(action: str) -> list[tuple[str, str, str]]:
    rows = AuditEvent.objects.filter(action=action).order_by("seq")
    return [(row.actor, row.subject_id, row.reason) for row in rows]


@BY_EACH_WAY
def test_one_person_takes_it_away_and_what_was_approved_counts_no_more(people, leave):
    pair, later = ask("tests.pair"), vote(ask("tests.later"), people["bob"])
    vote(pair, people["bob"])
    leave("bob", "ope")
    assert events("approvals.designation_end") == [("ope", "bob", REASON)]
    assert vote(pair, people["cat"]).state == "proposed"
    with refused("quorum_lost"):
        execute(later, "ann")


@BY_EACH_WAY
def test_it_stays_so_when_the_person_comes_back(people, leave):
    row = ask("tests.pair")
    vote(row, people["bob"])
    leave("bob", "cat")
    people["bob"].is_active = True
    people["bob"].save()
    services.designate(user=people["bob"], role=Role.APPROVER, actor=SYSTEM, reason=REASON)
    assert vote(row, people["cat"]).state == "proposed"


def test_whoever_is_deactivated_has_no_session_no_role_and_no_token(people):
    _, raw = services.create_token(
        name="bot", user=people["bob"], scopes=[TokenScope.READ], actor=SYSTEM, reason=REASON
    )
    client = Client()
    client.force_login(people["bob"])
    assert client.get("/admin/").status_code == 200
    leaving.deactivate_person(name="bob", actor=selectors.get_actor("ope"), reason=REASON)
    assert client.get("/admin/").status_code == 302
    assert not Designation.objects.filter(user=people["bob"], valid_to=None).exists()
    with pytest.raises(services.TokenInvalid):
        services.check_token(raw)
    assert ApiToken.objects.get().revoked_at is not None
    assert events("approvals.user_deactivate") == [("ope", "bob", REASON)]
    assert events("approvals.token_revoke") == [("ope", "bot", REASON)]
    with refused("user_not_found"):
        leaving.deactivate_person(name="bob", actor=selectors.get_actor("ope"), reason=REASON)


@BY_EACH_WAY
def test_everybody_may_leave_and_only_whoever_may_stop_sends_others_away(people, leave):
    factories.UserFactory(username="req", roles=(Role.REQUESTER,))
    for by in ("aud", "req"):
        with refused("not_designated"):
            leave("bob", by)
    leave("bob", "bob")
    assert len(events("approvals.designation_end")) == 1


@pytest.mark.parametrize(
    "actor", [SYSTEM, Actor(name="bot", kind=ActorKind.TOKEN, roles=frozenset(Role))], ids=["system", "token"]
)
def test_people_only(people, actor):
    with refused("not_a_person"):
        leaving.deactivate_person(name="bob", actor=actor, reason=REASON)
    with refused("not_a_person"):
        leaving.end_designation(name="bob", role=Role.APPROVER, actor=actor, reason=REASON)
    assert denied("approvals.user_deactivate") == denied("approvals.designation_end") == ["not_a_person"]


@BY_EACH_WAY
def test_the_last_who_may_stop_stays(desk, leave):
    leave("bob", "ann")
    leave("cat", "ann")
    with refused("nobody_could_stop"):
        leave("ann", "ann")
    assert selectors.get_actor("ann").roles == {Role.REQUESTER, Role.APPROVER}
    codes = denied("approvals.designation_end") + denied("approvals.user_deactivate")
    assert codes == ["nobody_could_stop"]


def test_two_who_leave_at_once_do_not_both_leave(desk):
    leaving.deactivate_person(name="cat", actor=selectors.get_actor("ann"), reason=REASON)
    barrier = threading.Barrier(2)

    def leave(name: str) -> str:
        try:
            barrier.wait(timeout=30)
            leaving.deactivate_person(name=name, actor=selectors.get_actor(name), reason=REASON)
            return "left"
        except DomainError as refusal:
            return refusal.code
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(leave, ["ann", "bob"])) == ["left", "nobody_could_stop"]


def test_the_reason_says_why_and_a_role_that_is_not_held_is_not_ended(people):
    with refused("reason_too_short"):
        leaving.deactivate_person(name="bob", actor=selectors.get_actor("ope"), reason="because")
    with refused("designation_not_found"):
        leaving.end_designation(name="bob", role=Role.ADMIN, actor=selectors.get_actor("ope"), reason=REASON)


def test_the_commands_end_a_role_and_a_person(people, capsys):
    by = ("--actor", "ope", "--reason", REASON)
    call_command("desk", "end-designation", "cat", "approver", *by, "--json")
    ended = json.loads(capsys.readouterr().out)
    assert (ended["name"], ended["roles"], ended["approvers_left"]) == ("cat", [], 2)
    call_command("desk", "deactivate", "bob", *by, "--json")
    left = json.loads(capsys.readouterr().out)
    assert (left["is_active"], left["roles"], left["approvers_left"]) == (False, [], 1)
    with pytest.raises(CommandError, match=r"^designation_not_found: ") as refusal:
        call_command("desk", "end-designation", "cat", "approver", *by)
    assert refusal.value.returncode == 1
