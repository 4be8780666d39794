"""Saying that an alert was seen, from the admin."""

import pytest
from django.test import Client
from django.urls import reverse

from controlplane.alerts.models import Alert
from controlplane.alerts.services import raise_alert
from tests.factories import UserFactory
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
REASON = "the venue is being restarted"


@pytest.fixture
def alert(settings) -> Alert:
    settings.ALERT_URLS = ["json://127.0.0.1:9/hooks/T0KENT0KEN"]
    return raise_alert(
        code="stale_data",
        severity="critical",
        scope="venue:binanceusdm",
        text="No candles <b>came</b>.",
        wall_at=get_clocks().wall_at,
    )


def client_of(*roles: str) -> Client:
    client = Client()
    client.force_login(UserFactory(roles=roles))
    return client


def test_the_page_shows_what_is_wrong_who_owns_it_and_who_was_told(alert):
    page = client_of("operator").get(reverse("alert_seen", args=[alert.pk])).content.decode()
    assert "No candles &lt;b&gt;came&lt;/b&gt;." in page
    assert "Owner: operator" in page
    assert alert.deliveries.get().channel in page
    assert "T0KENT0KEN" not in page


def test_one_press_with_a_reason_notes_the_person(alert):
    client = client_of("operator")
    address = reverse("alert_seen", args=[alert.pk])
    assert client.post(address, {"reason": "ok"}).status_code == 422
    assert client.post(address, {"reason": REASON}).status_code == 302
    alert.refresh_from_db()
    assert alert.acknowledged_by
    assert client.post(address, {"reason": REASON}).status_code == 409
    assert b"I have seen it" not in client.get(reverse("admin:alerts_alert_changelist")).content


def test_who_only_reads_cannot_have_seen_it(alert):
    page = client_of("auditor").post(reverse("alert_seen", args=[alert.pk]), {"reason": REASON})
    assert page.status_code == 403
    alert.refresh_from_db()
    assert alert.acknowledged_at is None


def test_a_get_changes_nothing_and_an_unknown_alert_is_not_found(alert):
    client = client_of("operator")
    client.get(reverse("alert_seen", args=[alert.pk]))
    alert.refresh_from_db()
    assert alert.acknowledged_at is None
    assert client.get(reverse("alert_seen", args=[alert.pk + 1])).status_code == 404
