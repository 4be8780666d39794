"""Re-arming without a terminal: asked in the admin or over HTTP, approved by another in the admin."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from controlplane.approvals import selectors
from controlplane.approvals.core import Mode, Role
from controlplane.approvals.models import ApprovalRequest
from controlplane.audit.models import AuditEvent
from risk.models import StopEvent
from tests import factories
from tests.approvals.conftest import REASON, choose_mode, code_of, make_person
from tests.faces.crawl import digest_of_database
from tests.faces.test_api_facts import problem
from tests.risk.rearming import ROOT_CAUSE, check, confirm, trip
from trading.models import TradingState

SCOPE = "account:paper-main"
SAID = {"root_cause": ROOT_CAUSE, "reason": REASON}


@pytest.fixture
def event(desk):
    choose_mode()
    make_person("ann", Role.REQUESTER)
    make_person("bob", Role.APPROVER)
    return trip(SCOPE)


@pytest.fixture
def ready(event, desk):
    confirm(event)
    check()
    factories.ReconciliationFactory(venue_account=desk, started_at=selectors.get_database_time())
    return event


def sign_in(name: str, **values) -> Client:
    client = Client(**values)
    client.force_login(selectors.get_user(name))
    return client


def page(event) -> str:
    return reverse("stop_rearm", args=[event.pk])


def state() -> str:
    return TradingState.objects.get(scope=SCOPE).state


def approve(request, **changes):
    client = sign_in("bob")
    said = {"reason": REASON, "otp": code_of(selectors.get_user("bob")), "digest": request.digest}
    return client.post(reverse("request_decide", args=[request.pk, "approve"]), said | changes)


def test_the_page_shows_every_condition_and_changes_nothing(event):
    client, before = sign_in("ann"), digest_of_database()
    text = client.get(page(event)).content.decode()
    for part in ("not_stopped", "cooling_down", "preflight_missing", "open_mismatch", "Ask to re-arm"):
        assert part in text
    assert "manage.py preflight --purpose rearm" in text
    polled = client.get(page(event), headers={"HX-Request": "true"}).content.decode()
    assert "preflight_missing" in polled
    assert "<form" not in polled
    assert client.head(page(event)).status_code == 200
    assert client.get(page(event), SAID).status_code == 200
    assert digest_of_database() == before
    assert client.get(reverse("stop_rearm", args=[4711])).status_code == 404


def test_asked_here_and_approved_by_another(ready):
    answer = sign_in("ann").post(page(ready), SAID)
    (request,) = ApprovalRequest.objects.all()
    assert answer.url == reverse("admin:approvals_approvalrequest_change", args=[request.pk])
    assert "open the request" in sign_in("bob").get(page(ready)).content.decode()

    shown = sign_in("bob").get(reverse("request_decide", args=[request.pk, "approve"])).content.decode()
    for part in (ROOT_CAUSE, "Re-arm after an emergency stop", "preflight", "as it is now", "met"):
        assert part in shown
    assert approve(request).status_code == 302
    assert state() == "ACTIVE"
    assert "Re-armed" in sign_in("ann").get(page(ready)).content.decode()


def test_a_refused_approval_names_its_code_and_the_stop_stays(event):
    sign_in("ann").post(page(event), SAID)
    answer = approve(ApprovalRequest.objects.get())
    assert answer.status_code == 409
    assert "not_stopped" in answer.content.decode()
    assert state() == "HALTED"
    denied = AuditEvent.objects.get(action="approvals.vote.denied")
    assert denied.payload["detail"]["code"] == "not_stopped"


@pytest.mark.parametrize(
    ("name", "said", "status", "text"),
    [
        ("bob", SAID, 403, "not_designated"),
        ("ann", SAID | {"root_cause": "short"}, 409, "root_cause_too_short"),
        ("ann", SAID | {"root_cause": " "}, 422, "Say what it was"),
        ("ann", SAID | {"rebase": "on"}, 409, "rebase_refused"),
        ("ann", {"root_cause": ROOT_CAUSE, "reason": ""}, 422, "Say why"),
    ],
)
def test_what_cannot_be_asked_is_said_on_the_page(event, name, said, status, text):
    answer = sign_in(name).post(page(event), said)
    assert answer.status_code == status
    assert text in answer.content.decode()
    assert not ApprovalRequest.objects.exists()


def test_somebody_who_may_not_ask_is_told_so(event):
    text = sign_in("bob").get(page(event)).content.decode()
    assert "You may not ask" in text
    assert "Ask to re-arm" not in text


@pytest.mark.django_db(transaction=True)
def test_a_desk_of_one_person_asks_with_its_code(event):
    choose_mode(Mode.SOLO)
    make_person("ida", Role.REQUESTER, Role.APPROVER)
    client = sign_in("ida")
    assert "Code of your second factor" in client.get(page(event)).content.decode()
    assert client.post(page(event), SAID).status_code == 403
    otp = code_of(selectors.get_user("ida"))
    assert client.post(page(event), SAID | {"otp": otp}).status_code == 302


def test_a_new_base_is_offered_after_a_loss_of_capital_only(event, desk):
    assert "rebase" not in sign_in("ann").get(page(event)).content.decode()
    StopEvent.objects.filter(pk=event.pk).update(source="capital_loss")
    assert "rebase" in sign_in("ann").get(page(event)).content.decode()


def test_a_forged_post_asks_nothing(event):
    client = sign_in("ann", enforce_csrf_checks=True)
    assert client.post(page(event), SAID).status_code == 403
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', client.get(page(event)).content.decode())[1]
    assert client.post(page(event), SAID | {"csrfmiddlewaretoken": token}).status_code == 302


# Over HTTP ----------------------------------------------------------------------------------------


def test_a_token_asks_and_is_told_what_is_missing(api, event):
    answer = api.post("/emergency-stop/rearm-requests", {"scope": SCOPE, **SAID})
    assert answer.status_code == 201
    body = answer.json()
    assert (body["event_id"], body["scope"], body["state"]) == (event.pk, SCOPE, "proposed")
    assert body["missing"] == ["not_stopped", "cooling_down", "preflight_missing", "open_mismatch"]
    met = {item["name"]: item["is_met"] for item in body["conditions"]}
    assert (met["stopped"], met["entries"]) == (False, True)
    assert state() == "HALTED"


def test_asked_over_http_and_approved_in_the_admin(api, ready):
    body = api.post("/emergency-stop/rearm-requests", {"event_id": ready.pk, **SAID}).json()
    assert body["missing"] == []
    request = ApprovalRequest.objects.get(pk=body["request_id"])
    assert request.proposer_name == "token:bot"
    assert approve(request).status_code == 302
    assert state() == "ACTIVE"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({**SAID}, 422, "invalid_input"),
        ({"scope": SCOPE, "event_id": 1, **SAID}, 422, "invalid_input"),
        ({"scope": "venue:binanceusdm", **SAID}, 404, "no_standing_stop"),
        ({"event_id": 2**62, **SAID}, 404, "stop_event_not_found"),
        ({"scope": SCOPE, "reason": REASON, "root_cause": "short"}, 422, "root_cause_too_short"),
        ({"scope": SCOPE, **SAID, "rebase": True}, 422, "rebase_refused"),
    ],
)
def test_what_cannot_be_asked_over_http(api, event, body, status, code):
    problem(api.post("/emergency-stop/rearm-requests", body), status, code)
    assert not ApprovalRequest.objects.exists()


def test_asking_twice_and_with_a_token_that_may_not(api, event, token):
    body = {"scope": SCOPE, **SAID}
    assert api.post("/emergency-stop/rearm-requests", body).status_code == 201
    problem(api.post("/emergency-stop/rearm-requests", body), 409, "rearm_requested")
    token.scopes = ["read"]
    token.save()
    problem(api.post("/emergency-stop/rearm-requests", body), 403, "scope_missing")
