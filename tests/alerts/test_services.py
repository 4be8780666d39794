from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from prometheus_client import REGISTRY

from controlplane.alerts.delivery import (
    MOST_ATTEMPTS,
    Couriers,
    deliver_pending,
    send_test_alert,
)
from controlplane.alerts.models import Alert, ChannelHealth, Delivery
from controlplane.alerts.rules import get_alert_rules
from controlplane.alerts.selectors import count_undelivered, list_alerts, list_channels
from controlplane.alerts.services import (
    CHANNEL_FAILED,
    NoAlertChannel,
    acknowledge_alert,
    raise_alert,
    resolve_alert,
)
from controlplane.approvals.core import Actor, ActorKind, Role
from controlplane.audit.models import AuditEvent
from controlplane.errors import Conflict, InvalidInput, NotFound, NotPermitted

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEAD_PORT = "json://127.0.0.1:9/hooks/T0KENT0KEN"
OPERATOR = Actor(name="operator", kind=ActorKind.PERSON, roles=frozenset({Role.OPERATOR}))
APPROVER = Actor(name="approver", kind=ActorKind.PERSON, roles=frozenset({Role.APPROVER}))
AUDITOR = Actor(name="auditor", kind=ActorKind.PERSON, roles=frozenset({Role.AUDITOR}))
MACHINE = Actor(name="watch", kind=ActorKind.GUARD)
REASON = "Seen, looking at it."

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


def see(alert: Alert, *, actor: Actor = OPERATOR, reason: str = REASON, at: datetime = NOW) -> Alert:
    return acknowledge_alert(alert_id=alert.pk, actor=actor, reason=reason, wall_at=at)


def titles(receiver) -> list[str]:
    return [one["title"] for one in receiver.received]


def test_an_open_alert_is_raised_once(settings, receiver):
    settings.ALERT_URLS = [receiver.url]
    first = open_alert()
    again = open_alert(text="Still stopped.", wall_at=NOW + timedelta(minutes=1))
    assert again.pk == first.pk
    assert first.deliveries.count() == 1


def test_whoever_resolves_with_a_time_from_before_it_was_opened_resolves_it():
    alert = open_alert()
    assert resolve_alert(code=alert.code, scope=alert.scope, wall_at=NOW - timedelta(seconds=1)) == 1
    alert.refresh_from_db()
    assert alert.resolved_at == alert.opened_at


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
    assert receiver.received[0]["message"] == f"Stopped.\nAlert {alert.pk}, owner operator."
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
    open_alert(severity="info")
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
    alert = open_alert(code="position_unprotected")
    open_alert(severity="warning")
    for minutes in (0, 4):
        deliver_pending(wall_at=NOW + timedelta(minutes=minutes))
    assert [title.split(":")[0] for title in titles(receiver)] == ["CRITICAL", "WARNING"]
    deliver_pending(wall_at=NOW + timedelta(minutes=6))
    assert [title.split(":")[0] for title in titles(receiver)[2:]] == [
        "CRITICAL",
        "NOT ACKNOWLEDGED, CRITICAL",
    ]
    see(alert)
    for minutes in range(10, 55, 5):
        deliver_pending(wall_at=NOW + timedelta(minutes=minutes))
    assert len(receiver.received) == 4


def test_reminders_and_escalation_end(settings, receiver):
    settings.ALERT_URLS = [receiver.url]
    open_alert()
    for minutes in range(0, 120, 5):
        deliver_pending(wall_at=NOW + timedelta(minutes=minutes))
    assert len(receiver.received) == 1 + get_alert_rules().most_reminders + 1


def test_reminders_that_were_missed_do_not_come_all_at_once(settings, receiver):
    settings.ALERT_URLS = [receiver.url]
    open_alert()
    deliver_pending(wall_at=NOW)
    for seconds in range(3):
        deliver_pending(wall_at=NOW + timedelta(hours=9, seconds=seconds))
    assert Delivery.objects.filter(kind="reminder").count() == 1
    deliver_pending(wall_at=NOW + timedelta(hours=9) + get_alert_rules().remind_every)
    assert Delivery.objects.filter(kind="reminder").count() == 2


def test_what_nobody_acknowledges_is_told_to_the_second_line_once(settings, receiver, second_receiver):
    settings.ALERT_URLS = [receiver.url]
    settings.ALERT_ESCALATION_URLS = [second_receiver.url]
    critical, warning = open_alert(), open_alert(severity="warning", code="reducing_daily_loss")
    deliver_pending(wall_at=NOW + timedelta(minutes=4))
    assert second_receiver.received == []
    for minutes in (5, 6, 30, 61, 62, 90):
        deliver_pending(wall_at=NOW + timedelta(minutes=minutes))
    assert titles(second_receiver) == [
        "NOT ACKNOWLEDGED, CRITICAL: stop_tripped (all)",
        "NOT ACKNOWLEDGED, WARNING: reducing_daily_loss (all)",
    ]
    for alert in (critical, warning):
        alert.refresh_from_db()
        assert alert.escalated_at is not None
    assert AuditEvent.objects.filter(action="alerts.escalate").count() == 2


def test_what_is_acknowledged_or_over_is_not_escalated(settings, second_receiver):
    settings.ALERT_ESCALATION_URLS = [second_receiver.url]
    see(open_alert())
    open_alert(scope="account:a")
    resolve_alert(code="stop_tripped", scope="account:a", wall_at=NOW)
    deliver_pending(wall_at=NOW + timedelta(hours=2))
    assert second_receiver.received == []


def test_who_was_told_that_it_began_is_told_that_it_is_over(settings, receiver, second_receiver):
    settings.ALERT_URLS = [receiver.url, DEAD_PORT]
    open_alert()
    deliver_pending(wall_at=NOW)
    settings.ALERT_URLS = [receiver.url, second_receiver.url]
    with transaction.atomic():
        resolve_alert(code="stop_tripped", scope="all", wall_at=NOW)
    deliver_pending(wall_at=NOW + timedelta(seconds=1))
    assert titles(receiver)[-1] == "RESOLVED, CRITICAL: stop_tripped (all)"
    assert second_receiver.received == []


def test_what_was_raised_before_there_was_a_channel_is_told_when_there_is_one(settings, receiver):
    settings.ALERT_URLS = []
    open_alert()
    deliver_pending(wall_at=NOW)
    settings.ALERT_URLS = [receiver.url]
    deliver_pending(wall_at=NOW + timedelta(minutes=1))
    deliver_pending(wall_at=NOW + timedelta(minutes=2))
    assert titles(receiver) == ["CRITICAL: stop_tripped (all)"]


def test_a_channel_that_keeps_failing_is_seen_and_told_through_the_others(
    settings, receiver, second_receiver
):
    settings.ALERT_URLS = [receiver.url, DEAD_PORT]
    settings.ALERT_ESCALATION_URLS = [second_receiver.url]
    open_alert(severity="warning")
    deliver_pending(wall_at=NOW)
    assert [bool(row.failing_since) for row in list_channels()] == [False, True, False]
    assert not Alert.objects.filter(code=CHANNEL_FAILED).exists()
    for seconds in (10, 30, 70, 71):
        deliver_pending(wall_at=NOW + timedelta(seconds=seconds))
    failed = Alert.objects.get(code=CHANNEL_FAILED)
    assert failed.severity == "critical"
    assert failed.owner == "admin"
    told = {row.channel for row in failed.deliveries.all()}
    assert told == {row.channel for row in list_channels()} - {failed.scope}
    assert titles(second_receiver) == [f"CRITICAL: {CHANNEL_FAILED} ({failed.scope})"]
    assert "T0KENT0KEN" not in failed.text


def test_a_channel_that_works_again_ends_its_alert(settings, receiver, second_receiver):
    settings.ALERT_URLS = [receiver.url, second_receiver.url]
    second_receiver.status = 503
    open_alert(severity="warning")
    for seconds in (0, 10, 30, 70):
        deliver_pending(wall_at=NOW + timedelta(seconds=seconds))
    assert Alert.objects.filter(code=CHANNEL_FAILED, resolved_at=None).exists()
    second_receiver.status = 200
    deliver_pending(wall_at=NOW + timedelta(minutes=20))
    assert not Alert.objects.filter(code=CHANNEL_FAILED, resolved_at=None).exists()
    assert not ChannelHealth.objects.exclude(failing_since=None).exists()


def test_a_channel_that_is_taken_away_fails_no_more(settings, receiver):
    settings.ALERT_URLS = [receiver.url, DEAD_PORT]
    open_alert(severity="warning")
    for seconds in (0, 10, 70):
        deliver_pending(wall_at=NOW + timedelta(seconds=seconds))
    settings.ALERT_URLS = [receiver.url]
    deliver_pending(wall_at=NOW + timedelta(minutes=5))
    assert not Alert.objects.filter(code=CHANNEL_FAILED, resolved_at=None).exists()
    assert [row.failing_since for row in list_channels()] == [None]


@pytest.mark.django_db(transaction=True)
def test_a_channel_that_hangs_keeps_no_other_waiting(settings, receiver, second_receiver):
    settings.ALERT_URLS = [second_receiver.url, receiver.url]
    couriers = Couriers()
    with second_receiver.hanging():
        open_alert()
        couriers.run(wall_at=NOW)
        assert receiver.wait_for(1)
        open_alert(scope="account:a")
        for _ in range(200):
            # The first message may have arrived before its courier has noted it and is free again.
            couriers.run(wall_at=NOW + timedelta(seconds=1))
            with receiver.arrived:
                if receiver.arrived.wait_for(lambda: len(receiver.received) > 1, timeout=0.1):
                    break
        assert len(receiver.received) == 2
        assert second_receiver.received == []
    couriers.wait()
    couriers.run(wall_at=NOW + timedelta(seconds=2))
    couriers.wait()
    assert len(second_receiver.received) == len(receiver.received) == 2


@pytest.mark.django_db(transaction=True)
def test_what_one_channel_says_is_not_noted_of_another(settings, receiver, second_receiver):
    settings.ALERT_URLS = [receiver.url, second_receiver.url]
    receiver.status = second_receiver.status = 500
    couriers = Couriers()
    for number in range(5):
        open_alert(scope=f"account:{number}")
    couriers.run(wall_at=NOW)
    couriers.wait()
    for delivery in Delivery.objects.all():
        assert delivery.error
        assert "opensesame77" not in delivery.error


def test_acknowledging_is_audited_and_happens_once():
    alert = open_alert()
    seen = see(alert)
    assert (seen.acknowledged_by, seen.acknowledged_at) == ("operator", NOW)
    with pytest.raises(Conflict) as refusal:
        see(alert, actor=APPROVER)
    assert refusal.value.code == "already_acknowledged"
    actions = list(AuditEvent.objects.order_by("seq").values_list("action", "actor"))
    assert actions == [("alerts.acknowledge", "operator"), ("alerts.acknowledge.denied", "approver")]


@pytest.mark.parametrize("actor", [AUDITOR, MACHINE])
def test_only_a_person_who_may_act_can_have_seen_it(actor):
    alert = open_alert()
    with pytest.raises(NotPermitted):
        see(alert, actor=actor)
    alert.refresh_from_db()
    assert alert.acknowledged_at is None


def test_seeing_it_takes_a_reason():
    with pytest.raises(InvalidInput, match="at least 15"):
        see(open_alert(), reason="ok")


def test_an_alert_that_does_not_exist_cannot_be_acknowledged():
    with pytest.raises(NotFound):
        acknowledge_alert(alert_id=404, actor=OPERATOR, reason=REASON, wall_at=NOW)


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
