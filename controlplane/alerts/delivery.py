"""Brings alerts to their channels: claims, sends, proves, repeats, escalates.

Each channel has its own queue, so that one that hangs keeps no other waiting. A delivery is sent at
least once: a process that dies between sending and noting it leaves a delivery that is tried again.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections, transaction
from django.db.models import Count, F, Max, Q
from django.db.models.functions import Coalesce

from controlplane.alerts import channels
from controlplane.alerts.metrics import ALERT_DELIVERY_SECONDS
from controlplane.alerts.models import (
    Alert,
    ChannelHealth,
    Delivery,
    DeliveryKind,
    DeliveryState,
    Severity,
)
from controlplane.alerts.rules import AlertRules, get_alert_rules
from controlplane.alerts.services import (
    CHANNEL_FAILED,
    TEST_CODE,
    add_deliveries,
    open_test_alert,
    raise_alert,
    resolve_alert,
)
from controlplane.audit.services import record

MOST_ATTEMPTS = 10
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=10)
PREFIXES = {DeliveryKind.ESCALATION.value: "NOT ACKNOWLEDGED, ", DeliveryKind.RESOLVED.value: "RESOLVED, "}
MOST_CHANNELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What one round of sending did; `waiting` will be tried again, `failed` will not."""

    sent: int
    waiting: int
    failed: int


class Couriers:
    """Delivers in the background, each channel in a thread of its own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=MOST_CHANNELS, thread_name_prefix="courier")
        self._under_way: dict[str, Future[None]] = {}

    def run(self, *, wall_at: datetime) -> None:
        """Send what is due through every channel that is not still at it; returns at once."""
        for channel in prepare_deliveries(wall_at=wall_at):
            before = self._under_way.get(channel)
            if before is None or before.done():
                self._under_way[channel] = self._pool.submit(_deliver_apart, channel, wall_at)

    def wait(self) -> None:
        """Until nothing is under way; raises what went wrong on the way."""
        for future in list(self._under_way.values()):
            future.result()


def _deliver_apart(channel: str, wall_at: datetime) -> None:
    try:
        deliver_channel(channel, clock=_Clock(wall_at))
    finally:
        connections.close_all()


def deliver_pending(*, wall_at: datetime) -> DeliveryReport:
    """Send what is due now, one channel after the other."""
    clock = _Clock(wall_at)
    outcomes = [
        outcome
        for channel in prepare_deliveries(wall_at=wall_at)
        for outcome in deliver_channel(channel, clock=clock)
    ]
    return DeliveryReport(
        sent=outcomes.count(DeliveryState.SENT),
        waiting=outcomes.count(DeliveryState.PENDING),
        failed=outcomes.count(DeliveryState.FAILED),
    )


def prepare_deliveries(*, wall_at: datetime) -> list[str]:
    """Add what has become due by time, and return the channels that something waits for."""
    rules = get_alert_rules()
    with transaction.atomic(durable=True):
        _begin_late(wall_at)
        _remind(rules, wall_at)
        _escalate(rules, wall_at)
        _forget_channels(wall_at)
    due = Delivery.objects.filter(state=DeliveryState.PENDING, next_at__lte=wall_at)
    return list(due.order_by("channel").values_list("channel", flat=True).distinct())


def deliver_channel(channel: str, *, clock: "_Clock", limit: int = 50) -> list[DeliveryState]:
    """Send what is due through one channel, the critical first."""
    due = Delivery.objects.filter(
        channel=channel, state=DeliveryState.PENDING, next_at__lte=clock.read()
    ).order_by("alert__severity", "next_at", "pk")
    found = [_deliver(delivery, clock=clock) for delivery in due.select_related("alert")[:limit]]
    return [outcome for outcome in found if outcome is not None]


def send_test_alert(*, wall_at: datetime) -> Delivery:
    """Send one alert through every channel now, and return its proof.

    With several channels the one that did not accept is returned, else the first. The message holds
    the alert's correlation id, so that whoever receives it can name it. Raises NoAlertChannel.
    """
    alert = open_test_alert(wall_at=wall_at)
    clock = _Clock(wall_at)
    for delivery in alert.deliveries.select_related("alert").order_by("pk"):
        _deliver(delivery, clock=clock, is_last=True)
    with transaction.atomic(durable=True):
        resolve_alert(code=TEST_CODE, scope=alert.scope, wall_at=clock.read())
    deliveries = list(alert.deliveries.select_related("alert").order_by("pk"))
    return next((one for one in deliveries if one.state != DeliveryState.SENT), deliveries[0])


# What becomes due by time --------------------------------------------------------------------------


def _begin_late(wall_at: datetime) -> None:
    """What was raised while no channel was named is told once there is one."""
    if channels.get_channels():
        for alert in Alert.objects.filter(resolved_at=None, acknowledged_at=None, deliveries=None):
            add_deliveries(alert, kind=DeliveryKind.RAISED, wall_at=wall_at)


def _remind(rules: AlertRules, wall_at: datetime) -> None:
    """What was missed while the desk was away is not made up for."""
    reminded_at = Max("deliveries__sent_at", filter=Q(deliveries__kind=DeliveryKind.REMINDER))
    reminders = Count("deliveries__round", filter=Q(deliveries__kind=DeliveryKind.REMINDER), distinct=True)
    unseen = Alert.objects.filter(
        severity=Severity.CRITICAL,
        acknowledged_at=None,
        resolved_at=None,
        opened_at__lte=wall_at - rules.remind_every,
    ).annotate(reminders=reminders, reminded_at=reminded_at)
    waiting = Q(reminded_at=None) | Q(reminded_at__lte=wall_at - rules.remind_every / 2)
    for alert in unseen.filter(waiting, reminders__lt=rules.most_reminders):
        if alert.opened_at + rules.remind_every * (alert.reminders + 1) <= wall_at:
            add_deliveries(alert, kind=DeliveryKind.REMINDER, wall_at=wall_at)


def _escalate(rules: AlertRules, wall_at: datetime) -> None:
    """Tell both lines of what nobody has acknowledged in time, once."""
    for severity, after in rules.escalate_after.items():
        unseen = Alert.objects.filter(
            severity=severity,
            acknowledged_at=None,
            resolved_at=None,
            escalated_at=None,
            opened_at__lte=wall_at - after,
        )
        for alert in unseen.select_for_update():
            Alert.objects.filter(pk=alert.pk).update(escalated_at=wall_at)
            add_deliveries(
                alert, kind=DeliveryKind.ESCALATION, wall_at=wall_at, to=channels.get_every_channel()
            )
            record(
                action="alerts.escalate",
                actor="system:alerts",
                subject_type="alert",
                subject_id=alert.pk,
                reason=f"not acknowledged for {after}",
                detail={"code": alert.code, "scope": alert.scope, "owner": alert.owner},
                correlation_id=alert.correlation_id,
            )


def _forget_channels(wall_at: datetime) -> None:
    """What is not configured any more does not fail any more."""
    known = [channel.fingerprint for channel in channels.get_every_channel()]
    for row in ChannelHealth.objects.exclude(channel__in=known):
        resolve_alert(code=CHANNEL_FAILED, scope=row.channel, wall_at=wall_at)
        row.delete()


# One delivery --------------------------------------------------------------------------------------


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
    with transaction.atomic():
        Delivery.objects.filter(pk=delivery.pk, attempts=attempts, state=DeliveryState.PENDING).update(
            state=state, error=error, sent_at=None if error else answered_at
        )
        _note_health(delivery.channel, error, answered_at)
    if not error and delivery.kind == DeliveryKind.RAISED:
        ALERT_DELIVERY_SECONDS.observe(max((answered_at - delivery.alert.opened_at).total_seconds(), 0.0))
    return state


def _send(delivery: Delivery) -> str:
    alert = delivery.alert
    every = channels.get_every_channel()
    channel = next((one for one in every if one.fingerprint == delivery.channel), None)
    if channel is None:
        return "the channel is not configured any more"
    title = f"{PREFIXES.get(delivery.kind, '')}{alert.severity.upper()}: {alert.code} ({alert.scope})"
    text = f"{alert.text}\nAlert {alert.pk}, owner {alert.owner or 'nobody'}."
    return channels.send(channel, title=title, text=text, severity=alert.severity)


def _note_health(channel: str, error: str, at: datetime) -> None:
    """Remember whether the channel works; one that keeps failing is told through the others."""
    row, _ = ChannelHealth.objects.get_or_create(channel=channel)
    if not error:
        ChannelHealth.objects.filter(pk=row.pk).update(sent_at=at, failing_since=None, error="")
        resolve_alert(code=CHANNEL_FAILED, scope=channel, wall_at=at)
        return
    ChannelHealth.objects.filter(pk=row.pk).update(failing_since=Coalesce("failing_since", at), error=error)
    row.refresh_from_db()
    if row.failing_since is not None and at - row.failing_since >= get_alert_rules().channel_failing:
        raise_alert(
            code=CHANNEL_FAILED,
            severity=Severity.CRITICAL,
            scope=channel,
            text=f"The alert channel {channel} accepts nothing: {error}",
            wall_at=at,
            to=channels.get_every_channel(),
        )


def _wait(attempts: int) -> timedelta:
    return min(FIRST_WAIT * int(2 ** (attempts - 1)), LONGEST_WAIT)
