"""Rollback and release by command and over HTTP: the same story, the same events."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from controlplane.approvals.core import Role, TokenScope
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.selectors import get_user
from controlplane.audit.models import AuditEvent
from golive.holds import find_hold
from golive.models import Rollback
from golive.rollback import roll_back
from golive.services import resume_rollbacks
from tests.approvals.conftest import REASON, choose_mode, code_of, make_person
from tests.faces.conftest import ApiClient
from tests.factories import ApiTokenFactory, HeartbeatFactory
from tests.golive.live import OPERATOR, go_live, make_limits, permit_of
from tests.risk import desk
from trading.models import Account
from trading.selectors import get_account

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(db):
    HeartbeatFactory(name="guard:sweep")
    HeartbeatFactory(name="guard:rollbacks")
    choose_mode()
    make_person("ann", Role.OPERATOR)
    make_person("bob", Role.APPROVER)
    row = desk.make_desk()
    desk.make_desk(name="other")
    go_live(row, make_limits("MICRO"), is_confirmed=True)
    go_live(row, make_limits("SMALL"))
    return row


@pytest.fixture
def api(db):
    ApiTokenFactory(name="bot", raw="a-token", scopes=[TokenScope.STOP.value, TokenScope.READ.value])
    return ApiClient(token="a-token")


def run(*arguments, **options):
    out = StringIO()
    call_command("golive", *arguments, stdout=out, **options)
    return out.getvalue()


def test_the_whole_way_by_command(account):
    said = run("rollback", "--account", "main", "--actor", "ann")
    row = Rollback.objects.get()
    assert (row.state, row.reason, row.actor) == ("done", "rolled back by hand", "ann")
    assert "done" in said
    assert "read_back" in said

    assert "release-approve" in run("release", "--account", "main", "--actor", "ann", "--reason", REASON)
    request = ApprovalRequest.objects.get(kind="golive.release_hold")
    code = code_of(get_user("bob"))
    said = run("release-approve", str(request.pk), "--otp", code, "--actor", "bob", "--reason", REASON)
    assert "still not live" in said
    assert find_hold(account) is None
    assert "released by bob" in run("history", "--account", "main")


def test_for_machines(account):
    row = json.loads(run("rollback", "--account", "main", "--actor", "ann", "--json"))["rollbacks"][0]
    assert (row["state"], row["trigger"], row["is_clamped"]) == ("done", "manual", False)
    assert row["seconds"] >= 0
    assert json.loads(run("history", "--account", "main", "--json"))["rollbacks"] == [row]


def test_a_rehearsal_is_for_real_and_says_so(account):
    run("rollback", "--account", "main", "--actor", "ann", "--drill")
    row = Rollback.objects.get()
    assert (row.trigger, row.state) == ("drill", "done")
    assert AuditEvent.objects.get(action="golive.rollback").payload["detail"]["trigger"] == "drill"
    assert find_hold(account) is not None


def test_a_rehearsal_is_on_paper_only(account):
    Account.objects.filter(pk=account.pk).update(environment="live")
    with pytest.raises(CommandError, match="not_on_paper"):
        run("rollback", "--account", "main", "--actor", "ann", "--drill")
    assert permit_of(account) is not None


def test_one_that_is_not_through_goes_on(account):
    row = roll_back(account=account, actor=OPERATOR, call_finisher=lambda _: None)
    assert row.finished_at is None
    run("rollback", "--resume", str(row.pk))
    row.refresh_from_db()
    assert row.state == "done"


@pytest.mark.parametrize(
    "arguments", [["rollback"], ["rollback", "--account", "main"], ["rollback", "--actor", "ann"]]
)
def test_a_command_says_what_it_lacks(account, arguments):
    with pytest.raises(CommandError, match="--account and --actor"):
        run(*arguments)


def test_refused_by_command_is_remembered(account):
    make_person("eve", Role.AUDITOR)
    with pytest.raises(CommandError, match="not_designated"):
        run("rollback", "--account", "main", "--actor", "eve")
    assert AuditEvent.objects.filter(action="golive.rollback.denied", actor="eve").count() == 1
    assert permit_of(account) is not None


@pytest.mark.parametrize("body", [{}, {"reason": "the fills look wrong"}])
def test_one_press_over_http(account, api, body):
    answer = api.post("/golive/main/rollback", body)
    assert answer.status_code == 200, answer.content
    row = answer.json()
    assert (row["account"], row["trigger"], row["actor"]) == ("main", "api", "token:bot")
    assert row["reason"] == body.get("reason", "rolled back by an outside program")
    assert permit_of(account).profile == "MICRO"
    assert row["state"] == "running"
    resume_rollbacks()
    listed = api.get("/golive/main/rollbacks").json()
    assert [(item["rollback_id"], item["state"]) for item in listed["items"]] == [
        (row["rollback_id"], "done")
    ]


def test_over_http_it_is_never_too_often_and_read_whatever_it_is_called(account, api, settings):
    settings.API_RATE_LIMIT = (1, 60)
    api.get("/golive/main/rollbacks")
    assert api.get("/golive/main/rollbacks").status_code == 429
    for _ in range(3):
        assert api.post("/golive/main/rollback", {}).status_code == 200
    answer = api.client.post(
        "/api/v1/golive/main/rollback", "{}", content_type="text/plain", headers=api.headers
    )
    assert answer.status_code == 200
    assert Rollback.objects.count() == 1


def test_a_token_for_reading_may_not(account):
    ApiTokenFactory(name="reader", raw="b-token", scopes=[TokenScope.READ.value])
    answer = ApiClient(token="b-token").post("/golive/main/rollback", {})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    assert AuditEvent.objects.filter(action="golive.rollback.denied").count() == 1
    assert not Rollback.objects.exists()


def test_both_ways_end_in_the_same_events(account, api):
    """Two accounts that are alike: one goes back by command, the other over HTTP."""
    other = get_account("other")
    go_live(other, make_limits("MICRO"), is_confirmed=True)
    go_live(other, make_limits("SMALL"))
    before = AuditEvent.objects.count()
    run("rollback", "--account", "main", "--actor", "ann")
    api.post("/golive/other/rollback", {})
    resume_rollbacks()
    rows = AuditEvent.objects.filter(seq__gt=before).order_by("seq").values_list("subject_id", "action")
    events = {name: [action for subject, action in rows if subject == name] for name in ("main", "other")}
    assert events["main"] == events["other"]
    assert "golive.rollback" in events["main"]
