"""The watch outside hears from us while the desk could stop, and only then."""

import pytest

from controlplane.alerts.models import Alert
from controlplane.alerts.outside import knock
from controlplane.guard import show_life_outside
from golive.permits import VITAL_DUTIES
from trading.models import Heartbeat
from trading.services import record_heartbeat

pytestmark = pytest.mark.django_db


def address(receiver) -> str:
    return receiver.url.replace("json://", "http://")


def live() -> None:
    for name in VITAL_DUTIES:
        record_heartbeat(name=name)


def test_a_desk_that_could_stop_shows_life(settings, receiver):
    settings.ALERT_HEARTBEAT_URL = address(receiver)
    live()
    show_life_outside()
    assert receiver.received == [{"path": "/hooks/T0KENT0KEN"}]


@pytest.mark.parametrize("silent", VITAL_DUTIES)
def test_a_desk_that_could_not_stop_falls_silent(settings, receiver, silent):
    settings.ALERT_HEARTBEAT_URL = address(receiver)
    live()
    Heartbeat.objects.filter(name=silent).delete()
    show_life_outside()
    assert receiver.received == []


def test_without_an_address_nothing_is_asked(settings):
    settings.ALERT_HEARTBEAT_URL = ""
    show_life_outside()
    assert not Alert.objects.exists()


def test_a_watch_that_cannot_be_reached_is_an_alert_until_it_can(settings, receiver):
    settings.ALERT_HEARTBEAT_URL = address(receiver)
    live()
    receiver.status = 500
    show_life_outside()
    alert = Alert.objects.get(resolved_at=None)
    assert (alert.code, alert.severity) == ("outside_watch", "warning")
    assert "HTTP 500" in alert.text
    receiver.status = 200
    show_life_outside()
    assert not Alert.objects.filter(resolved_at=None).exists()


def test_a_redirect_is_no_answer_and_no_secret_is_told(receiver):
    receiver.status = 302
    assert knock(address(receiver)) == "HTTP 302"
    said = knock("http://someone:opensesame77@127.0.0.1:9/ping/T0KENT0KEN")
    assert said == "ConnectionError"
