import io
import json
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command

from controlplane.alerts.models import Alert
from controlplane.alerts.services import raise_alert
from tests.factories import UserFactory

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("alerts", *words, stdout=out)
    return out.getvalue()


def open_alert() -> Alert:
    return raise_alert(
        code="stale_data", severity="warning", scope="venue:okx", text="No candles.", wall_at=NOW
    )


def test_open_alerts_are_listed():
    assert "no open alerts" in run("list")
    alert = open_alert()
    assert f"{alert.pk} 2026-03-01T12:00:00.000000Z warning stale_data venue:okx: No candles." in run("list")
    (facts,) = json.loads(run("list", "--json"))
    assert (facts["code"], facts["acknowledged_by"], facts["delivered"]) == ("stale_data", "", 0)


def test_an_alert_is_acknowledged_by_a_named_person_with_a_reason():
    alert = open_alert()
    UserFactory(username="operator", roles=["operator"])
    run("ack", str(alert.pk), "--actor", "operator", "--reason", "The venue is being restarted.")
    assert "seen by operator" in run("list")
    with pytest.raises(CommandError, match="already_acknowledged") as refusal:
        run("ack", str(alert.pk), "--actor", "operator", "--reason", "The venue is being restarted.")
    assert refusal.value.returncode == 1


def test_the_test_alert_shows_a_fingerprint_and_no_address(settings, receiver):
    settings.ALERT_URLS = [receiver.url]
    answer = run("test", "--json")
    assert json.loads(answer)["state"] == "sent"
    assert "opensesame77" not in answer
    assert "T0KENT0KEN" not in answer


def test_the_test_alert_fails_when_the_channel_does(settings, receiver):
    settings.ALERT_URLS = [receiver.url]
    receiver.status = 500
    with pytest.raises(SystemExit) as ended:
        run("test")
    assert ended.value.code == 1


def test_the_test_alert_without_channels_is_refused(settings):
    settings.ALERT_URLS = []
    with pytest.raises(CommandError, match="no_alert_channel"):
        run("test")
