"""Tells people: opens, resolves and acknowledges alerts. Sending is in `delivery`.

An alert and its deliveries are rows of the transaction that found the trouble; sending happens after,
again and again until a channel accepts. A channel that is down never fails a caller.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import Max, Q, Value
from django.db.models.functions import Greatest

from controlplane.alerts import channels
from controlplane.alerts.channels import Channel
from controlplane.alerts.models import Alert, Delivery, DeliveryKind, DeliveryState, Severity
from controlplane.alerts.rules import get_alert_rules
from controlplane.approvals.core import MEASURING_ROLES, Actor
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.requests import require_reason
from controlplane.approvals.services import require_any_role
from controlplane.audit.redaction import redact_text
from controlplane.audit.services import audited_attempt, record
from controlplane.errors import Conflict, InvalidInput, NotFound, Unavailable

TEST_CODE = "test_alert"
CHANNEL_FAILED = "alert_channel_failed"


class NoAlertChannel(Unavailable):
    """ALERT_URLS names no channel, so nobody can be told."""

    code = "no_alert_channel"


class AlreadySeen(Conflict):
    """Somebody has acknowledged the alert."""

    code = "already_acknowledged"


def raise_alert(
    *,
    code: str,
    severity: str,
    scope: str,
    text: str,
    wall_at: datetime,
    correlation_id: str = "",
    owner: str = "",
    to: Iterable[Channel] | None = None,
) -> Alert:
    """Open an alert in the caller's transaction, or return the open one of this code, scope and severity.

    `owner` is who answers for it, by default the one that config/alerts.yaml names; `to` replaces the
    channels that hear everything.
    """
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
            "owner": owner or get_alert_rules().owner_of(code),
            "opened_at": wall_at,
        },
    )
    if is_new:
        add_deliveries(alert, kind=DeliveryKind.RAISED, wall_at=wall_at, to=to)
    return alert


def resolve_alert(*, code: str, scope: str, wall_at: datetime) -> int:
    """Close what is open under this code and scope, in the caller's transaction; returns how many.

    Who was told that something critical began is told that it is over.
    """
    told = Q(severity=Severity.CRITICAL, deliveries__state=DeliveryState.SENT)
    standing = Alert.objects.filter(code=code, scope=scope, resolved_at=None)
    heard = list(standing.filter(told).distinct())
    # The caller's time may be from before somebody else opened it.
    closed = standing.update(resolved_at=Greatest("opened_at", Value(wall_at)))
    for alert in heard:
        reached = alert.deliveries.filter(state=DeliveryState.SENT).values_list("channel", flat=True)
        to = [channel for channel in channels.get_every_channel() if channel.fingerprint in set(reached)]
        add_deliveries(alert, kind=DeliveryKind.RESOLVED, wall_at=wall_at, to=to)
    return closed


def acknowledge_alert(*, alert_id: int, actor: Actor, reason: str, wall_at: datetime) -> Alert:
    """Record that a person has seen the alert; reminders and escalation end. Audited, denied or not.

    Raises NotFound, AlreadySeen, NoPerson, NotDesignated and ReasonTooShort.
    """
    with (
        audited_attempt(
            action="alerts.acknowledge",
            actor=actor.audit_name,
            subject_type="alert",
            subject_id=alert_id,
            reason=reason,
        ),
        transaction.atomic(durable=True),
    ):
        require_person(actor)
        require_any_role(actor, MEASURING_ROLES)
        said = require_reason(reason)
        alert = Alert.objects.filter(pk=alert_id).first()
        if alert is None:
            raise NotFound(f"no alert {alert_id}")
        changed = Alert.objects.filter(pk=alert_id, acknowledged_at=None).update(
            acknowledged_at=wall_at, acknowledged_by=actor.audit_name
        )
        if changed != 1:
            raise AlreadySeen(f"alert {alert_id} was acknowledged by {alert.acknowledged_by}")
        record(
            action="alerts.acknowledge",
            actor=actor.audit_name,
            subject_type="alert",
            subject_id=alert_id,
            reason=said,
            detail={"code": alert.code, "severity": alert.severity, "scope": alert.scope},
            correlation_id=alert.correlation_id,
        )
        alert.refresh_from_db()
        return alert


def open_test_alert(*, wall_at: datetime) -> Alert:
    """One alert for every channel of both lines; its text holds its correlation id. Raises NoAlertChannel."""
    if not channels.get_channels():
        raise NoAlertChannel("ALERT_URLS names no channel")
    nonce = uuid.uuid4().hex
    with transaction.atomic(durable=True):
        return raise_alert(
            code=TEST_CODE,
            severity=Severity.INFO,
            scope=f"test:{nonce}",
            text=f"Test of the alert channels, {nonce}. Nothing is wrong.",
            wall_at=wall_at,
            correlation_id=nonce,
            to=channels.get_every_channel(),
        )


def add_deliveries(
    alert: Alert, *, kind: DeliveryKind, wall_at: datetime, to: Iterable[Channel] | None = None
) -> None:
    """Have the alert told once more; the same round twice at the same time is one.

    That a channel fails is not told through itself.
    """
    failing = alert.scope if alert.code == CHANNEL_FAILED else None
    last = alert.deliveries.aggregate(last=Max("round"))["last"] or 0
    Delivery.objects.bulk_create(
        [
            Delivery(
                alert=alert, channel=channel.fingerprint, kind=kind.value, round=last + 1, next_at=wall_at
            )
            for channel in (channels.get_channels() if to is None else to)
            if channel.fingerprint != failing
        ],
        ignore_conflicts=True,
    )
