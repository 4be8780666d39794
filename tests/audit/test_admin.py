import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from controlplane.audit.models import AuditEvent
from controlplane.audit.services import record

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def event() -> AuditEvent:
    with transaction.atomic():
        return record(
            action="audit.export", actor="operator", subject_type="log", subject_id="1", reason="To see."
        )


@pytest.mark.parametrize("page", ["auditevent", "seal", "audithead"])
def test_every_page_opens(admin, event, page):
    assert admin.get(f"/admin/audit/{page}/").status_code == 200


def test_an_event_can_be_found_and_read(admin, event):
    assert b"operator" in admin.get("/admin/audit/auditevent/?q=operator").content
    answer = admin.get(f"/admin/audit/auditevent/{event.seq}/change/")
    assert answer.status_code == 200
    assert event.hash.encode() in answer.content


@pytest.mark.parametrize("page", ["add/", "{seq}/delete/", "{seq}/change/"])
def test_nobody_can_add_change_or_delete_an_event(admin, event, page):
    answer = admin.post(
        f"/admin/audit/auditevent/{page.format(seq=event.seq)}", {"reason": "other", "post": "yes"}
    )
    assert answer.status_code == 403
    assert AuditEvent.objects.get(pk=event.pk).reason == "To see."


def test_there_are_no_bulk_actions(admin, event):
    admin.post(
        "/admin/audit/auditevent/",
        {"action": "delete_selected", "_selected_action": [event.seq], "post": "yes"},
    )
    assert AuditEvent.objects.filter(pk=event.pk).exists()
