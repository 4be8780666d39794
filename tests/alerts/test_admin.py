from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client

from controlplane.alerts.models import Alert
from controlplane.alerts.services import raise_alert
from controlplane.alerts.tasks import deliver

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def alert(settings, receiver) -> Alert:
    settings.ALERT_URLS = [receiver.url]
    return raise_alert(
        code="stale_data", severity="warning", scope="venue:okx", text="No candles.", wall_at=NOW
    )


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_alerts_and_their_deliveries_can_be_read_but_not_edited(admin, alert):
    assert b"stale_data" in admin.get("/admin/alerts/alert/").content
    page = admin.get(f"/admin/alerts/alert/{alert.pk}/change/")
    assert page.status_code == 200
    assert b"json:" in page.content
    assert b"opensesame77" not in page.content
    assert admin.get("/admin/alerts/delivery/").status_code == 200
    for place in ("add/", f"{alert.pk}/change/", f"{alert.pk}/delete/"):
        assert admin.post(f"/admin/alerts/alert/{place}", {"post": "yes"}).status_code == 403
    assert Alert.objects.get().text == "No candles."


def test_the_task_delivers_what_is_due(alert, receiver):
    deliver()
    assert receiver.received[0]["message"].splitlines()[0] == "No candles."
