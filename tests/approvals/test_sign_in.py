import pytest
from django.test import Client

from controlplane.audit.models import AuditEvent
from tests import factories

pytestmark = pytest.mark.django_db


def actions():
    return list(AuditEvent.objects.order_by("seq").values_list("action", "actor", "subject_id"))


def test_signing_in_and_out_are_events():
    factories.UserFactory(username="ann")
    client = Client()
    client.post("/admin/login/", {"username": "ann", "password": factories.PASSWORD})
    client.post("/admin/logout/")
    assert actions() == [("approvals.sign_in", "ann", "ann"), ("approvals.sign_out", "ann", "ann")]


def test_a_failed_attempt_is_an_event_that_does_not_hold_the_password():
    factories.UserFactory(username="ann")
    Client().post("/admin/login/", {"username": "ann", "password": "guessed-wrongly"})
    assert actions() == [("approvals.sign_in.denied", "unknown", "ann")]
    assert "guessed-wrongly" not in AuditEvent.objects.get().body


def test_a_name_that_does_not_exist_is_an_event_too():
    Client().post("/admin/login/", {"username": "x" * 500, "password": "y"})
    ((action, actor, _),) = actions()
    assert (action, actor) == ("approvals.sign_in.denied", "unknown")
