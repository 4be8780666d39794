"""Tells people, and proves that they were told.

An alert and its deliveries are rows of the transaction that found the trouble; sending happens after,
again and again until a channel accepts. A channel that is down never fails a caller.
"""

import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Max

from controlplane.alerts import channels
from controlplane.alerts.metrics import ALERT_DELIVERY_SECONDS
from controlplane.alerts.models import Alert, Delivery, DeliveryState, Severity
from controlplane.audit.redaction import redact_text
from controlplane.audit.services import audited_attempt, record
from controlplane.errors import Conflict, InvalidInput, NotFound, Unavailable

MOST_ATTEMPTS = 10
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=10)
REMIND_AFTER = timedelta(minutes=5)
MOST_ROUNDS = 4
TEST_CODE = "test_alert"


class NoAlertChannel(Unavailable):
    """ALERT_URLS names no channel, so nobody can be told."""

    code = "no_alert_channel"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What one round of sending did; `waiting` will be tried again, `failed` will not."""

    sent: int
    waiting: int
    failed: int


def raise_alert(
    *,
    code: str,
    severity: str,
    scope: str,
    text: str,
    wall_at: datetime,
    correlation_id: str = "",
    owner: str = "",
) -> Alert:
    """Open an alert in the caller's transaction, or return the open one of this code, scope and severity."""
    if severity not in Severity.values:
        raise InvalidInput(f"severity: expected one of {', '.join(Severity.values)}, found {severity!r}")
    alert, is_new = Alert.objects.get_or_create(
        dedupe_key=f"{code}|{scope}|{severity}",
        resolved_at=None,
        defaults={
            "code": code,
            "severity": severity,
            "scope": scope,
            "text": redact_text(text),
            "correlation_id": correlation_id,
            "owner": owner,
            "opened_at": wall_at,
        },
    )
    if is_new:
        _add_deliveries(alert, round_number=1, wall_at=wall_at)
    return alert


def resolve_alert(*, code: str, scope: str, wall_at: datetime) -> int:
    """Close what is open under this code and scope, in the caller's transaction; returns how many."""
    return Alert.objects.filter(code=code, scope=scope, resolved_at=None).update(resolved_at=wall_at)


def acknowledge_alert(*, alert_id: int, actor: str, reason: str = "", wall_at: datetime) -> Alert:
    """Record that a person has seen the alert; reminders end."""
    with (
        audited_attempt(
            action="alerts.acknowledge", actor=actor, subject_type="alert", subject_id=alert_id, reason=reason
        ),
        transaction.atomic(durable=True),
    ):
        alert = Alert.objects.filter(pk=alert_id).first()
        if alert is None:
            raise NotFound(f"no alert {alert_id}")
        changed = Alert.objects.filter(pk=alert_id, acknowledged_at=None).update(
            acknowledged_at=wall_at, acknowledged_by=actor
        )
        if changed != 1:
            raise Conflict(
                f"alert {alert_id} was acknowledged by {alert.acknowledged_by}", code="already_acknowledged"
            )
        record(
            action="alerts.acknowledge",
            actor=actor,
            subject_type="alert",
            subject_id=alert_id,
            reason=reason,
            detail={"code": alert.code, "severity": alert.severity, "scope": alert.scope},
            correlation_id=alert.correlation_id,
        )
        alert.refresh_from_db()
        return alert


def deliver_pending(*, wall_at: datetime, limit: int = 50) -> DeliveryReport:
    """Send what is due and remind of critical alerts nobody has acknowledged."""
    with transaction.atomic(durable=True):
        _add_reminders(wall_at)
    due = Delivery.objects.filter(state=DeliveryState.PENDING, next_at__lte=wall_at).order_by("next_at", "pk")
    clock = _Clock(wall_at)
    outcomes = [_deliver(delivery, clock=clock) for delivery in due.select_related("alert")[:limit]]
    return DeliveryReport(
        sent=outcomes.count(DeliveryState.SENT),
        waiting=outcomes.count(DeliveryState.PENDING),
        failed=outcomes.count(DeliveryState.FAILED),
    )


def send_test_alert(*, wall_at: datetime) -> Delivery:
    """Send one alert through every channel now, and return its proof.

    With several channels the one that did not accept is returned, else the first. The message holds
    the alert's correlation id, so that whoever receives it can name it.
    """
    if not channels.get_channels():
        raise NoAlertChannel("ALERT_URLS names no channel")
    nonce = uuid.uuid4().hex
    with transaction.atomic(durable=True):
        alert = raise_alert(
            code=TEST_CODE,
            severity=Severity.INFO,
            scope=f"test:{nonce}",
            text=f"Test of the alert channels, {nonce}. Nothing is wrong.",
            wall_at=wall_at,
            correlation_id=nonce,
        )
    clock = _Clock(wall_at)
    for delivery in alert.deliveries.select_related("alert").order_by("pk"):
        _deliver(delivery, clock=clock, is_last=True)
    with transaction.atomic(durable=True):
        resolve_alert(code=TEST_CODE, scope=alert.scope, wall_at=clock.read())
    deliveries = list(alert.deliveries.select_related("alert").order_by("pk"))
    return next((one for one in deliveries if one.state != DeliveryState.SENT), deliveries[0])


def _add_deliveries(alert: Alert, *, round_number: int, wall_at: datetime) -> None:
    Delivery.objects.bulk_create(
        [
            Delivery(alert=alert, channel=channel.fingerprint, round=round_number, next_at=wall_at)
            for channel in channels.get_channels()
        ],
        ignore_conflicts=True,
    )


def _add_reminders(wall_at: datetime) -> None:
    unseen = Alert.objects.filter(
        severity=Severity.CRITICAL,
        acknowledged_at=None,
        resolved_at=None,
        opened_at__lte=wall_at - REMIND_AFTER,
    ).annotate(last_round=Max("deliveries__round"))
    for alert in unseen.filter(last_round__lt=MOST_ROUNDS):
        if alert.opened_at + REMIND_AFTER * alert.last_round <= wall_at:
            _add_deliveries(alert, round_number=alert.last_round + 1, wall_at=wall_at)


class _Clock:
    """The caller's wall time, moved on by what sending takes."""

    def __init__(self, wall_at: datetime) -> None:
        self._wall_at = wall_at
        self._started = time.monotonic()

    def read(self) -> datetime:
        return self._wall_at + timedelta(seconds=time.monotonic() - self._started)


def _deliver(delivery: Delivery, *, clock: _Clock, is_last: bool = False) -> DeliveryState | None:
    """Claim, send, and note the outcome; None where another process has claimed it.

    The claim moves `next_at` on, so a process that dies while sending leaves a delivery that is tried again.
    """
    attempts = delivery.attempts + 1
    claimed = Delivery.objects.filter(
        pk=delivery.pk, state=DeliveryState.PENDING, attempts=delivery.attempts
    ).update(attempts=F("attempts") + 1, next_at=clock.read() + _wait(attempts))
    if claimed != 1:
        return None
    error = _send(delivery)
    answered_at = clock.read()
    state = DeliveryState.SENT
    if error:
        state = DeliveryState.FAILED if is_last or attempts >= MOST_ATTEMPTS else DeliveryState.PENDING
    Delivery.objects.filter(pk=delivery.pk, attempts=attempts, state=DeliveryState.PENDING).update(
        state=state, error=error, sent_at=None if error else answered_at
    )
    if not error:
        ALERT_DELIVERY_SECONDS.observe(max((answered_at - delivery.alert.opened_at).total_seconds(), 0.0))
    return state


def _send(delivery: Delivery) -> str:
    alert = delivery.alert
    channel = next((one for one in channels.get_channels() if one.fingerprint == delivery.channel), None)
    if channel is None:
        return "the channel is not configured any more"
    title = f"{alert.severity.upper()}: {alert.code} ({alert.scope})"
    return channels.send(channel, title=title, text=alert.text, severity=alert.severity)


def _wait(attempts: int) -> timedelta:
    return min(FIRST_WAIT * int(2 ** (attempts - 1)), LONGEST_WAIT)
