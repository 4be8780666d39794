"""The red button without a browser: who may, what a GET does, what a forged POST does."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from controlplane.approvals.core import Role
from controlplane.audit.models import AuditEvent
from risk.models import StopEvent
from tests import factories
from tests.faces.crawl import digest_of_database

STOP = "/admin/stop/"


def sign_in(*roles: Role, **values) -> Client:
    client = Client(enforce_csrf_checks=values.pop("enforce_csrf_checks", False))
    client.force_login(factories.UserFactory(username="ann", roles=roles, **values))
    return client


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.APPROVER, Role.ADMIN])
def test_anyone_who_may_remove_risk_may_stop(desk, role):
    answer = sign_in(role).post(STOP, {"scope": "all", "reason": "because"})
    event = StopEvent.objects.get()
    assert answer.url == reverse("stop_event", args=[event.pk])
    assert (event.scope, event.actor, event.reason, event.source) == ("all", "ann", "because", "manual")


@pytest.mark.parametrize("roles", [(Role.AUDITOR,), (Role.REQUESTER,), ()])
def test_others_may_not_and_the_attempt_is_audited(desk, roles):
    answer = sign_in(*roles).post(STOP, {"scope": "all", "reason": "because"})
    assert answer.status_code == 403
    assert not StopEvent.objects.exists()
    denied = AuditEvent.objects.get(action="risk.stop_trip.denied")
    assert denied.actor == "ann"


def test_a_superuser_is_nobody_special(desk):
    answer = sign_in(is_superuser=True).post(STOP, {"scope": "all", "reason": "because"})
    assert answer.status_code == 403
    assert not StopEvent.objects.exists()


def test_asking_stops_nothing(desk):
    client = sign_in(Role.OPERATOR)
    before = digest_of_database()
    assert client.get(STOP).status_code == 200
    assert client.get(STOP, {"scope": "all", "reason": "because"}).status_code == 200
    assert client.head(STOP).status_code == 200
    assert digest_of_database() == before


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_no_other_method_stops(desk, method):
    assert getattr(sign_in(Role.OPERATOR), method)(STOP).status_code == 405
    assert not StopEvent.objects.exists()


def test_a_forged_post_stops_nothing(desk):
    client = sign_in(Role.OPERATOR, enforce_csrf_checks=True)
    assert client.post(STOP, {"scope": "all", "reason": "because"}).status_code == 403
    assert not StopEvent.objects.exists()
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', client.get(STOP).content.decode())[1]
    client.post(STOP, {"scope": "all", "reason": "because", "csrfmiddlewaretoken": token})
    assert StopEvent.objects.count() == 1


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({"scope": "all", "reason": ""}, "Say why"),
        ({"scope": "all", "reason": "   "}, "Say why"),
        ({"scope": "everything", "reason": "because"}, "not one of the available choices"),
        ({"reason": "because"}, "required"),
    ],
)
def test_a_wrong_form_is_shown_again_and_stops_nothing(desk, form, text):
    answer = sign_in(Role.OPERATOR).post(STOP, form)
    assert answer.status_code == 422
    assert text in answer.content.decode()
    assert not StopEvent.objects.exists()


def test_somebody_who_is_not_signed_in_is_sent_to_sign_in(desk):
    answer = Client().post(STOP, {"scope": "all", "reason": "because"})
    assert answer.status_code == 302
    assert "/admin/login/" in answer.url
    assert not StopEvent.objects.exists()


def test_a_scope_that_is_stopped_already_is_said_to_be(desk):
    client = sign_in(Role.OPERATOR)
    client.post(STOP, {"scope": "account:paper-main", "reason": "because"})
    assert "account:paper-main (now HALTED)" in client.get(STOP).content.decode()


def test_the_page_of_a_stop_shows_each_step(desk):
    client = sign_in(Role.OPERATOR)
    client.post(STOP, {"scope": "all", "reason": "because"})
    event = StopEvent.objects.get()
    event.steps.create(
        venue="binanceusdm",
        account="paper-main",
        action="cancel",
        subject="cp1",
        status="failed",
        detail="why",
    )
    text = client.get(f"{STOP}{event.pk}/").content.decode()
    for part in ("Stopping: all", "because", "binanceusdm", "cp1", "failed", "why"):
        assert part in text
    assert client.get(f"{STOP}99999/").status_code == 404


def test_a_poll_after_the_session_has_ended_leads_to_the_sign_in(desk):
    answer = Client().get("/admin/live/")
    assert answer.status_code == 204
    assert answer["HX-Redirect"] == "/admin/login/"
