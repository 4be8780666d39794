"""Going live over HTTP: a token asks and looks, and never approves or activates."""

from uuid import uuid4

import pytest

from controlplane.approvals.models import ApprovalRequest
from controlplane.audit.models import AuditEvent
from golive.models import Activation, Programme
from tests.approvals.conftest import REASON
from tests.faces.test_api_facts import problem
from tests.golive import walking

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def account(db, settings, tmp_path):
    walking.write_manual(settings, tmp_path)
    return walking.make_desk()


def ask(api, **changes):
    return api.post("/golive/requests", {"account": "main", "reason": REASON, **changes})


def test_a_token_asks_and_people_decide(api, account):
    row = walking.make_ready(account)
    answer = ask(api)
    assert answer.status_code == 201, answer.content
    told = answer.json()
    assert (told["state"], told["proposer"], told["approval"]) == ("proposed", "token:bot", "another person")
    assert told["subject"]["profile"] == "MICRO"
    assert all(item["is_met"] for item in told["conditions"])

    request = ApprovalRequest.objects.get(pk=told["request_id"])
    walking.approve(request)
    found = api.get(f"/golive/requests/{request.pk}").json()
    assert (found["state"], [vote["approver"] for vote in found["votes"]]) == ("approved", ["bob"])
    walking.activate(request)
    status = api.get("/golive/main").json()
    assert (status["permit"], status["profile"], status["request"]) == ("LIVE", "MICRO", None)
    assert status["activation"]["requested_by"] == "token:bot"
    assert status["programme"]["id"] == row.pk
    assert AuditEvent.objects.filter(action="golive.activation_request", actor="bot").count() == 1


def test_an_account_that_is_asked_shows_what_is_missing(api, account):
    answer = ask(api)
    problem(answer, 409, "checklist_open")
    status = api.get("/golive/main").json()
    missing = [item["name"] for item in status["programme"]["conditions"] if not item["is_met"]]
    assert (status["permit"], missing) == ("PAPER", ["checklist"])
    assert Programme.objects.get().opened_by == "token:bot"


def test_looking_changes_nothing(api, account):
    walking.ask(walking.make_ready(account))
    seq = AuditEvent.objects.count()
    for _ in range(2):
        assert api.get("/golive/main").status_code == 200
    assert AuditEvent.objects.count() == seq
    assert not Activation.objects.exists()


def test_how_it_refuses(api, account):
    problem(ask(api, account="nobody"), 404, "account_not_found")
    problem(ask(api, reason="because"), 422, "reason_too_short")
    problem(ask(api, profile="LARGE"), 409, "rung_skipped")
    assert ask(api, profile="HUGE").status_code == 422
    assert ask(api, otp="123456").status_code == 422
    problem(api.get(f"/golive/requests/{uuid4()}"), 404, "request_not_found")
    problem(api.get("/golive/nobody"), 404, "account_not_found")
