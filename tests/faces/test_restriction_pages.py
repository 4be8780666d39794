"""What may only reduce, told on pages, by the command and over HTTP; and a person's word."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from controlplane.approvals.core import Role
from controlplane.approvals.models import ApprovalRequest
from controlplane.audit.models import AuditEvent
from risk.core.consequences import RELEASE
from risk.core.emergency_stop import Cause
from risk.models import Restriction
from risk.reducing.restrictions import restrict
from tests import factories
from tests.approvals.conftest import choose_mode
from tests.faces.crawl import digest_of_database
from trading.selectors import get_clocks

PAGE = "/admin/restrictions/"
SCOPE = "account:paper-main"
WHY = "the losses were looked at"


def begin(cause: Cause, release: str | None = None, *, needs: bool = True) -> Restriction:
    return restrict(
        scope=SCOPE,
        cause=cause,
        reason="lost 0.60 % since 00:00",
        actor="guard:test",
        clocks=get_clocks(),
        evidence={} if release is None else {RELEASE: release},
        needs_acknowledgement=needs,
    )


def sign_in(*roles: Role) -> Client:
    client = Client()
    client.force_login(factories.UserFactory(username="ann", roles=roles))
    return client


def test_the_page_says_what_reduces_why_and_what_ends_it(desk):
    begin(Cause.DAILY_LOSS)
    begin(Cause.STALE_DATA, needs=False)
    text = sign_in(Role.OPERATOR).get(PAGE).content.decode()
    for part in (
        SCOPE,
        "daily_loss",
        "lost 0.60 %",
        "the next UTC day",
        "I have seen it",
        "fresh for 60 s",
    ):
        assert part in text


def test_every_cause_says_what_ends_it(desk):
    for cause in Cause:
        begin(cause, needs=False)
    assert sign_in().get(PAGE).status_code == 200


def test_looking_changes_nothing(desk):
    row = begin(Cause.DAILY_LOSS)
    client = sign_in(Role.OPERATOR)
    before = digest_of_database()
    assert client.get(PAGE).status_code == 200
    assert client.get(f"{PAGE}{row.pk}/").status_code == 200
    assert digest_of_database() == before
    assert client.get(f"{PAGE}99999/").status_code == 404
    assert client.post(PAGE).status_code == 405


def test_a_person_says_to_have_seen_it(desk):
    row = begin(Cause.DAILY_LOSS)
    client = sign_in(Role.OPERATOR)
    assert client.post(f"{PAGE}{row.pk}/", {"reason": ""}).status_code == 422
    assert client.post(f"{PAGE}{row.pk}/", {"reason": WHY}).url == PAGE
    row.refresh_from_db()
    assert (row.acknowledged_by, row.lifted_at) == ("ann", None)
    assert AuditEvent.objects.get(action="risk.acknowledge").reason == WHY
    again = client.post(f"{PAGE}{row.pk}/", {"reason": WHY})
    assert (again.status_code, "already_acknowledged" in again.content.decode()) == (409, True)


@pytest.mark.parametrize("roles", [(Role.AUDITOR,), (Role.REQUESTER,), ()])
def test_others_may_not(desk, roles):
    row = begin(Cause.DAILY_LOSS)
    assert sign_in(*roles).post(f"{PAGE}{row.pk}/", {"reason": WHY}).status_code == 403
    row.refresh_from_db()
    assert row.acknowledged_at is None


def test_a_second_loss_is_asked_for_and_not_said(desk):
    choose_mode()
    factories.UserFactory(username="bob", roles=(Role.APPROVER,))
    row = begin(Cause.DAILY_LOSS, "quorum")
    client = sign_in(Role.OPERATOR)
    assert "Ask for release" in client.get(PAGE).content.decode()
    answer = client.post(f"{PAGE}{row.pk}/", {"reason": WHY})
    asked = ApprovalRequest.objects.get()
    assert answer.url.endswith(f"{asked.pk}/change/")
    assert (asked.kind, asked.subject["restriction"]) == ("risk.reducing_release", row.pk)
    assert "Release asked by ann" in client.get(PAGE).content.decode()
    row.refresh_from_db()
    assert row.acknowledged_at is None


def test_a_weekly_loss_offers_nothing_to_press(desk):
    row = begin(Cause.WEEKLY_LOSS, "promotion")
    client = sign_in(Role.OPERATOR)
    assert "<form class" not in client.get(f"{PAGE}{row.pk}/").content.decode()
    answer = client.post(f"{PAGE}{row.pk}/", {"reason": WHY})
    assert (answer.status_code, "promotion_needed" in answer.content.decode()) == (409, True)


def test_the_command_tells_the_causes_and_takes_a_persons_word(desk):
    factories.UserFactory(username="ann", roles=(Role.OPERATOR,))
    row = begin(Cause.DAILY_LOSS)
    out = StringIO()
    call_command("emergency_stop", "status", stdout=out)
    assert f"{row.pk} waits for the word of a person: lost 0.60 %" in out.getvalue()
    status = StringIO()
    call_command("emergency_stop", "status", "--json", stdout=status)
    (scope,) = [one for one in json.loads(status.getvalue())["scopes"] if one["scope"] == SCOPE]
    assert (scope["state"], scope["reason"]) == ("REDUCING", "lost 0.60 % since 00:00")
    assert scope.keys() == {"scope", "state", "progress", "since", "reason", "outstanding"}

    out = StringIO()
    call_command(
        "emergency_stop", "acknowledge", str(row.pk), "--actor", "ann", "--reason", WHY, "--json", stdout=out
    )
    assert json.loads(out.getvalue())["by"] == "ann"
    with pytest.raises(CommandError, match="already_acknowledged") as refused:
        call_command("emergency_stop", "acknowledge", str(row.pk), "--actor", "ann", "--reason", WHY)
    assert refused.value.returncode == 1


def test_the_api_tells_reducing_with_its_reason(api, desk):
    begin(Cause.DAILY_LOSS)
    rows = {row["scope"]: row for row in api.get("/risk/state").json()["trading_state"]}
    assert (rows[SCOPE]["state"], rows[SCOPE]["reason"]) == ("REDUCING", "lost 0.60 % since 00:00")
