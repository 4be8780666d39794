from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from prometheus_client import REGISTRY

from controlplane.alerts.models import Alert, Delivery
from controlplane.alerts.selectors import count_undelivered, list_alerts
from controlplane.alerts.services import (
    MOST_ATTEMPTS,
    MOST_ROUNDS,
    NoAlertChannel,
    acknowledge_alert,
    deliver_pending,
    raise_alert,
    resolve_alert,
    send_test_alert,
)
from controlplane.audit.models import AuditEvent
from controlplane.errors import Conflict, InvalidInput, NotFound

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEAD_PORT = "json://127.0.0.1:9/hooks/T0KENT0KEN"

pytestmark = pytest.mark.django_db


def open_alert(**changes: object) -> Alert:
    facts = {
        "code": "stop_tripped",
        "severity": "critical",
        "scope": "all",
        "text": "Stopped.",
        "wall_at": NOW,
    }
    return raise_alert(**{**facts, **changes})  # type: ignore[arg-type]


def test_an_open_alert_is_raised_once(settings, receiver):
    settings.ALERT_URLS = [receiver.url]
    first = open_alert()
    again = open_alert(text="Still stopped.", wall_at=NOW + timedelta(minutes=1))
    assert again.pk == first.pk
    assert first.deliveries.count() == 1


def test_after_it_is_resolved_it_may_be_raised_again():
    first = open_alert()
    assert resolve_alert(code="stop_tripped", scope="all", wall_at=NOW) == 1
    assert open_alert().pk != first.pk


def test_another_scope_or_severity_is_another_alert():
    assert len({open_alert().pk, open_alert(scope="account:a").pk, open_alert(severity="warning").pk}) == 3


def test_the_database_refuses_a_second_open_alert():
    alert = open_alert()
    with pytest.raises(IntegrityError), transaction.atomic():
        Alert.objects.create(
            code="x", severity="info", scope="all", text="", dedupe_key=alert.dedupe_key, opened_at=NOW
        )


def test_an_unknown_severity_is_refused():
    with pytest.raises(InvalidInput, match="severity"):
        open_alert(severity="loud")


def test_an_alert_goes_with_the_transaction_that_raised_it():
    with transaction.atomic():
        open_alert()
        transaction.set_rollback(True)
    assert not Alert.objects.exists()


def test_a_pending_alert_is_delivered_to_every_channel_and_the_time_is_noted(settings, receiver):
    settings.ALERT_URLS = [receiver.url, f"{receiver.url}?:second=1"]
    before = REGISTRY.get_sample_value("alert_delivery_seconds_count") or 0
    alert = open_alert()
    report = deliver_pending(wall_at=NOW + timedelta(seconds=2))
    assert (report.sent, report.waiting, report.failed) == (2, 0, 0)
    assert receiver.received[0]["title"] == "CRITICAL: stop_tripped (all)"
    assert receiver.received[0]["message"] == "Stopped."
    sent = alert.deliveries.first()
    assert sent is not None
    assert sent.state == "sent"
    assert sent.sent_at >= NOW + timedelta(seconds=2)
    assert REGISTRY.get_sample_value("alert_delivery_seconds_count") == before + 2
    assert deliver_pending(wall_at=NOW + timedelta(seconds=3)).sent == 0
    assert count_undelivered() == 0


def test_a_channel_that_refuses_is_tried_again_later(settings, receiver):
    settings.ALERT_URLS = [receiver.url]
    receiver.status = 503
    open_alert()
    assert deliver_pending(wall_at=NOW).waiting == 1
    assert deliver_pending(wall_at=NOW + timedelta(seconds=1)).sent == 0
    assert count_undelivered() == 1
    receiver.status = 200
    assert deliver_pending(wall_at=NOW + timedelta(minutes=1)).sent == 1


def test_a_dead_channel_does_not_keep_the_others_waiting(settings, receiver):
    settings.ALERT_URLS = [DEAD_PORT, receiver.url]
    open_alert()
    report = deliver_pending(wall_at=NOW)
    assert (report.sent, report.waiting) == (1, 1)


def test_after_many_attempts_a_delivery_has_failed(settings):
    settings.ALERT_URLS = [DEAD_PORT]
    open_alert(severity="warning")
    at = NOW
    for _ in range(MOST_ATTEMPTS):
        report = deliver_pending(wall_at=at)
        at += timedelta(hours=1)
    assert report.failed == 1
    assert deliver_pending(wall_at=at).waiting == 0


def test_nothing_stored_holds_the_address_of_a_channel(settings, receiver):
    settings.ALERT_URLS = [receiver.url, DEAD_PORT, "nonsense://x:opensesame77@h"]
    receiver.status = 500
    open_alert()
    deliver_pending(wall_at=NOW)
    for delivery in Delivery.objects.all():
        assert delivery.error
        for secret in ("opensesame77", "T0KENT0KEN", "/hooks"):
            assert secret not in delivery.error + delivery.channel


def test_a_channel_that_was_taken_away_says_so(settings):
    settings.ALERT_URLS = [DEAD_PORT]
    open_alert()
    settings.ALERT_URLS = []
    assert deliver_pending(wall_at=NOW).waiting == 1
    assert Delivery.objects.get().error == "the channel is not configured any more"


def test_a_critical_alert_is_repeated_until_someone_acknowledges_it(settings, receiver):
    settings.ALERT_URLS = [receiver.url]
    alert = open_alert()
    open_alert(severity="warning")
    for minutes in (0, 4, 6, 8, 11):
        deliver_pending(wall_at=NOW + timedelta(minutes=minutes))
    assert [one["title"].split(":")[0] for one in receiver.received] == [
        "CRITICAL",
        "WARNING",
        "CRITICAL",
        "CRITICAL",
    ]
    acknowledge_alert(alert_id=alert.pk, actor="operator", reason="Seen, looking at it.", wall_at=NOW)
    for minutes in range(20, 100, 5):
        deliver_pending(wall_at=NOW + timedelta(minutes=minutes))
    assert len(receiver.received) == 4


def test_reminders_end(settings, receiver):
    settings.ALERT_URLS = [receiver.url]
    open_alert()
    for minutes in range(0, 120, 5):
        deliver_pending(wall_at=NOW + timedelta(minutes=minutes))
    assert len(receiver.received) == MOST_ROUNDS


def test_acknowledging_is_audited_and_happens_once():
    alert = open_alert()
    seen = acknowledge_alert(alert_id=alert.pk, actor="operator", reason="Looking at it.", wall_at=NOW)
    assert (seen.acknowledged_by, seen.acknowledged_at) == ("operator", NOW)
    with pytest.raises(Conflict) as refusal:
        acknowledge_alert(alert_id=alert.pk, actor="approver", wall_at=NOW)
    assert refusal.value.code == "already_acknowledged"
    actions = list(AuditEvent.objects.order_by("seq").values_list("action", "actor"))
    assert actions == [("alerts.acknowledge", "operator"), ("alerts.acknowledge.denied", "approver")]


def test_an_alert_that_does_not_exist_cannot_be_acknowledged():
    with pytest.raises(NotFound):
        acknowledge_alert(alert_id=404, actor="operator", wall_at=NOW)


def test_a_test_alert_comes_back_with_its_proof(settings, receiver):
    settings.ALERT_URLS = [receiver.url]
    proof = send_test_alert(wall_at=NOW)
    assert proof.state == "sent"
    assert proof.sent_at is not None
    assert proof.alert.correlation_id in receiver.received[0]["message"]
    assert list_alerts() == []


def test_a_test_alert_reports_the_channel_that_failed(settings, receiver):
    settings.ALERT_URLS = [receiver.url, DEAD_PORT]
    proof = send_test_alert(wall_at=NOW)
    assert (proof.state, proof.sent_at) == ("failed", None)
    assert proof.error


def test_without_a_channel_a_test_alert_is_refused(settings):
    settings.ALERT_URLS = []
    with pytest.raises(NoAlertChannel):
        send_test_alert(wall_at=NOW)
