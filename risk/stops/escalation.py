"""A stop that stands is taken up again: by a person, because the loss grew, or because something came back.

It goes from STOPPED to STOPPING and is swept anew until the venues confirm. When it stopped first stays
in its evidence (`resumed`).
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Coalesce, Now

from controlplane.alerts.services import raise_alert
from controlplane.audit.services import record
from risk import models
from risk.core.emergency_stop import PositionPolicy, StepAction, StepStatus, StopProgress, StopSource
from risk.core.escalation import LOSSES, choose_stricter, has_grown, has_lost_more
from risk.stops.rules import get_stop_rules
from trading.selectors import get_clocks

STOP_CHANNEL = "emergency_stop"
SWEEPER = "guard:sweep"
ALERT = "emergency_stop_escalated"


def notify_sweepers(event: models.StopEvent) -> None:
    """Wake whoever listens, at the commit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [STOP_CHANNEL, str(event.pk)])


def get_sweep_began_at(event: models.StopEvent) -> datetime:
    """Since when the venues are being asked: the trip, or the last time that the stop was taken up again."""
    resumed = event.evidence.get("resumed", [])
    return datetime.fromisoformat(resumed[-1]["at"]) if resumed else event.tripped_at


def escalate_if_worse(event: models.StopEvent) -> bool:
    """Flatten where the loss that tripped has grown by the configured share of its threshold again."""
    if event.positions == PositionPolicy.FLATTEN or event.ended_at is not None:
        return False
    loss = get_loss(event)
    trigger = str(loss.get("trigger", ""))
    measured, threshold = _read(loss, "measured"), _read(loss, "threshold")
    now = _read_watch(trigger, event.scope)
    if measured is None or threshold is None or now is None:
        return False
    ratio = get_stop_rules().growth_ratio
    has_more = has_grown(at_trip=measured, now=now, threshold=threshold, growth_ratio=ratio)
    if not has_more and not _has_lost_more(event, trigger, threshold, ratio):
        return False
    return raise_policy(
        event,
        PositionPolicy.FLATTEN,
        actor=SWEEPER,
        reason=f"the loss has grown from {measured} to {now}, {ratio} of the threshold {threshold} or more",
        detail={"trigger": trigger, "measured": str(now), "at_trip": str(measured)},
    )


def _has_lost_more(event: models.StopEvent, trigger: str, threshold: Decimal, ratio: Decimal) -> bool:
    """Whether the loss of a day that is over has grown since, by the amounts of the trip."""
    facts = event.evidence.get("loss", event.evidence)
    equity, base = _read(facts, "equity"), _read(facts, "base")
    peak, flow = _read(facts, "peak"), _read(facts, "net_flow")
    now = _read_watch(StopSource.CAPITAL_LOSS, event.scope)
    if trigger != StopSource.DAILY_DRAWDOWN or now is None:
        return False
    if equity is None or base is None or peak is None or flow is None or base <= 0:
        return False
    return has_lost_more(
        at_trip=(base + flow - equity) / base,
        now=now,
        base=base,
        peak=peak,
        threshold=threshold,
        growth_ratio=ratio,
    )


def _read_watch(trigger: str, scope: str) -> Decimal | None:
    """What the watch of a loss has measured last; None where it is not known."""
    row = models.Watch.objects.filter(trigger=trigger, scope=scope).first()
    return None if row is None else _read({"measured": row.measured}, "measured")


def get_loss(event: models.StopEvent) -> dict[str, Any]:
    """The loss that the stop is measured from, {trigger, measured, threshold}; empty while none is known.

    It is that of the trip, or of a trigger that found the scope halted for another reason.
    """
    joined: dict[str, Any] = event.evidence.get("loss", {})
    if joined or event.source not in LOSSES or "measured" not in event.evidence:
        return joined
    return {"trigger": event.source, **{key: event.evidence.get(key) for key in ("measured", "threshold")}}


def join_loss(event: models.StopEvent, source: str, evidence: Mapping[str, Any]) -> bool:
    """Keep, in the caller's transaction, the first loss that was measured while the stop stood."""
    if source not in LOSSES or "measured" not in evidence or get_loss(event):
        return False
    row = models.StopEvent.objects.select_for_update().get(pk=event.pk)
    loss = {**evidence, "trigger": source}
    # What the stop itself was tripped by is not written over.
    row.evidence = {**loss, **row.evidence, "loss": loss}
    row.save(update_fields=["evidence"])
    event.refresh_from_db()
    return True


def _read(facts: Mapping[str, Any], key: str) -> Decimal | None:
    try:
        number = Decimal(str(facts[key]))
    except (KeyError, InvalidOperation):
        return None
    return number if number.is_finite() else None


@transaction.atomic
def raise_policy(
    event: models.StopEvent,
    positions: PositionPolicy,
    *,
    actor: str,
    reason: str,
    detail: Mapping[str, Any] | None = None,
) -> bool:
    """Do more with what is held than the stop does so far; False where it does as much already."""
    row = models.StopEvent.objects.select_for_update().get(pk=event.pk)
    before = PositionPolicy(row.positions)
    if row.ended_at is not None or choose_stricter((before, positions)) is before:
        return False
    if positions is PositionPolicy.FLATTEN:
        row.escalated_at = Coalesce("escalated_at", Now())
    row.positions = positions
    row.save(update_fields=["positions", "escalated_at"])
    text = f"Emergency stop {row.pk} of {row.scope}: positions from {before} to {positions}: {reason}"
    raise_alert(code=ALERT, severity="critical", scope=row.scope, text=text, wall_at=get_clocks().wall_at)
    _take_up(row, actor=actor, reason=reason, detail={"from": before, "to": positions, **(detail or {})})
    event.refresh_from_db()
    return True


@transaction.atomic
def resume_stop(event: models.StopEvent, *, reason: str) -> None:
    """Sweep a confirmed stop anew because something is there again that must go."""
    row = models.StopEvent.objects.select_for_update().get(pk=event.pk)
    if row.ended_at is None and row.progress == StopProgress.STOPPED:
        _take_up(row, actor=SWEEPER, reason=reason, detail={})
    event.refresh_from_db()


def _take_up(row: models.StopEvent, *, actor: str, reason: str, detail: Mapping[str, Any]) -> None:
    """STOPPING again, every venue to confirm anew; the first time of STOPPED is kept."""
    row.refresh_from_db()
    stopped_at = None if row.stopped_at is None else row.stopped_at.isoformat()
    if stopped_at is not None:
        entry = {"at": get_clocks().wall_at.isoformat(), "stopped_at": stopped_at, "reason": reason}
        row.evidence["resumed"] = [*row.evidence.get("resumed", []), entry]
    row.progress, row.stopped_at = StopProgress.STOPPING.value, None
    row.save(update_fields=["evidence", "progress", "stopped_at"])
    row.steps.filter(action=StepAction.CONFIRM).update(
        status=StepStatus.PENDING, detail=reason[:500], updated_at=Now()
    )
    notify_sweepers(row)
    record(
        action="risk.stop_escalate",
        actor=actor,
        subject_type="scope",
        subject_id=row.scope,
        reason=reason,
        detail={"event_id": row.pk, "stopped_at": stopped_at, **detail},
    )
