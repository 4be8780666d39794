"""The emergency stop: one statement halts, everything else follows from the committed state."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from controlplane.alerts.services import raise_alert
from controlplane.approvals.core import STOPPING_ROLES, Actor, ActorKind, TokenScope
from controlplane.approvals.services import require_any_role, require_scope
from controlplane.audit.services import audited_attempt, record
from controlplane.errors import InvalidInput
from controlplane.process import start_detached
from risk import metrics, models
from risk.core.emergency_stop import PositionPolicy, StopProgress, StopSource, parse_scope
from risk.registration import list_account_scopes
from risk.stops import states
from risk.stops.escalation import STOP_CHANNEL, join_loss, notify_sweepers, raise_policy
from trading.core.values import Clocks, IntentState, OrderPurpose, Scope, TradingStateName
from trading.models import Account, Heartbeat, OrderIntent, Position, TradingState
from trading.selectors import get_clocks

__all__ = ["STOP_CHANNEL", "halt_scope", "notify_sweepers", "trip_emergency_stop"]

logger = logging.getLogger(__name__)

DEFAULT_REASON = "stopped by hand"
GUARD_HEARTBEAT = "guard:sweep"
# It shows life once a second; one that is busy with a slow venue is helped, which does no harm.
GUARD_SILENT_AFTER = timedelta(seconds=2)
# Of those who stop what is stopped the last ones are kept with the stop, and all in the audit log.
MOST_AGAIN = 20


class ScopeInvalid(InvalidInput):
    """The scope is malformed, or names nothing that this desk has."""

    code = "scope_invalid"


def trip_emergency_stop(
    *,
    scope: str,
    reason: str = DEFAULT_REASON,
    source: str = StopSource.MANUAL,
    actor: Actor,
    clocks: Clocks,
    evidence: Mapping[str, Any] | None = None,
    positions: PositionPolicy = PositionPolicy.KEEP,
    call_sweeper: Callable[[int], None] | None = None,
) -> models.StopEvent:
    """Halt the scope now; tripping what is halted returns the stop that stands, its policy raised if need be.

    `evidence` is what a trigger measured. `positions` is what the sweep does with what is held, where
    the account's profile does not do more.

    From this commit on nothing that could add risk is allowed or sent. The venues are swept by the
    guard, which is woken; if it does not answer, by a process of its own (`call_sweeper` replaces that).
    Raises ScopeInvalid, NotDesignated and ScopeMissing; a refusal is audited.
    """
    reason = reason.strip() or DEFAULT_REASON
    with audited_attempt(
        action="risk.stop_trip",
        actor=actor.audit_name,
        subject_type="scope",
        subject_id=scope,
        reason=reason,
        detail={"source": str(source)},
    ):
        require_may_stop(actor)
        wanted = read_scope(scope)
        event = halt_scope(
            wanted,
            {"source": StopSource(source).value, "evidence": dict(evidence or {}), "positions": positions},
            reason=reason,
            actor=actor,
            clocks=clocks,
        )
    if event.progress == StopProgress.STOPPING:
        call = call_sweeper or start_sweeper
        event_id = event.pk
        transaction.on_commit(lambda: call(event_id))
    return event


def require_may_stop(actor: Actor) -> None:
    """Any person who may remove risk, a token with the scope `stop`, a guard, the system itself."""
    require_scope(actor, TokenScope.STOP)
    if actor.kind is ActorKind.PERSON:
        require_any_role(actor, STOPPING_ROLES)


def read_scope(text: str) -> Scope:
    """Raises ScopeInvalid where nothing falls under the scope: a typing error must not look like a stop."""
    try:
        scope = parse_scope(text)
    except ValueError as error:
        raise ScopeInvalid(f"scope: {error}") from error
    if scope.kind == "all" or TradingState.objects.filter(scope=text).exists() or text in _list_scopes():
        return scope
    raise ScopeInvalid(f"scope: nothing on this desk falls under {text!r}")


def _list_scopes() -> set[str]:
    named = {name for account in Account.objects.all() for name in list_account_scopes(account)}
    held = Position.objects.exclude(quantity=0).values_list("symbol", flat=True)
    return named | {f"symbol:{symbol}" for symbol in held}


@transaction.atomic
def halt_scope(
    scope: Scope, columns: dict[str, Any], *, reason: str, actor: Actor, clocks: Clocks
) -> models.StopEvent:
    """HALTED with its event in one transaction, or the stop that stands with what this one adds to it.

    `columns` are source, evidence and positions. Whoever calls has asked whether `actor` may.
    """
    states.halt(scope=scope.key, reason=reason, source=columns["source"])
    standing = models.StopEvent.objects.filter(scope=scope.key, ended_at__isnull=True).first()
    if standing is not None:
        if standing.source == StopSource.DRILL != columns["source"]:
            _take_over(standing, columns, reason=reason, actor=actor, clocks=clocks)
        _join(standing, columns, reason=reason, actor=actor)
        return standing
    lapsed = lapse_entries(scope)
    event = models.StopEvent.objects.create(
        scope=scope.key,
        actor=actor.audit_name,
        reason=reason,
        market_at=clocks.market_at,
        tripped_at=clocks.wall_at,
        **columns,
    )
    _tell(event, clocks)
    notify_sweepers(event)
    transaction.on_commit(lambda: count_trip(scope.key, columns["source"]))
    record(
        action="risk.stop_trip",
        actor=actor.audit_name,
        subject_type="scope",
        subject_id=scope.key,
        reason=reason,
        detail={"event_id": event.pk, **columns, "lapsed_intents": lapsed},
    )
    return event


def _tell(event: models.StopEvent, clocks: Clocks) -> None:
    """A rehearsal wakes nobody."""
    is_drill = event.source == StopSource.DRILL
    raise_alert(
        code="emergency_stop_drill" if is_drill else "emergency_stop",
        severity="info" if is_drill else "critical",
        scope=event.scope,
        text=f"Emergency stop of {event.scope} by {event.actor}: {event.reason}",
        wall_at=clocks.wall_at,
    )


def _take_over(
    drill: models.StopEvent, columns: Mapping[str, Any], *, reason: str, actor: Actor, clocks: Clocks
) -> None:
    """A real trip makes a drill's stop its own, which the drill then cannot end."""
    drill.source, drill.reason, drill.actor = columns["source"], reason, actor.audit_name
    drill.save(update_fields=["source", "reason", "actor"])
    _tell(drill, clocks)
    transaction.on_commit(lambda: count_trip(drill.scope, columns["source"]))
    record(
        action="risk.stop_trip",
        actor=actor.audit_name,
        subject_type="scope",
        subject_id=drill.scope,
        reason=reason,
        detail={"event_id": drill.pk, "takes_over": "drill", **columns},
    )


def _join(standing: models.StopEvent, columns: Mapping[str, Any], *, reason: str, actor: Actor) -> None:
    """What a further trip adds to the stop that stands: a stricter policy, and the first thing measured."""
    if actor.kind in {ActorKind.PERSON, ActorKind.TOKEN}:
        _note_again(standing, columns, reason=reason, actor=actor)
    # From here on it is seen whether the loss grows, as if this trigger had tripped first.
    if join_loss(standing, columns["source"], columns["evidence"]):
        record(
            action="risk.stop_trip",
            actor=actor.audit_name,
            subject_type="scope",
            subject_id=standing.scope,
            reason=reason,
            detail={"event_id": standing.pk, "joins": True, "evidence": columns["evidence"]},
        )
    policy = PositionPolicy(columns["positions"])
    if not raise_policy(standing, policy, actor=actor.audit_name, reason=reason):
        notify_sweepers(standing)


def _note_again(standing: models.StopEvent, columns: Mapping[str, Any], *, reason: str, actor: Actor) -> None:
    """Somebody stops what is stopped: whoever was asked to re-arm it before must be asked anew."""
    row = models.StopEvent.objects.select_for_update().get(pk=standing.pk)
    entry = {"at": get_clocks().wall_at.isoformat(), "actor": actor.audit_name, "reason": reason}
    row.evidence["again"] = [*row.evidence.get("again", []), entry][-MOST_AGAIN:]
    row.save(update_fields=["evidence"])
    standing.refresh_from_db()
    record(
        action="risk.stop_trip",
        actor=actor.audit_name,
        subject_type="scope",
        subject_id=standing.scope,
        reason=reason,
        detail={"event_id": standing.pk, "joins": True, "positions": columns["positions"]},
    )


def count_trip(scope: str, source: str) -> None:
    metrics.STOP_TRIGGERS.labels(source=source).inc()
    metrics.STOP_STATE.labels(scope=scope).set(TradingStateName.HALTED.strictness)


def lapse_entries(scope: Scope) -> int:
    """Approved entries of the scope that no door has claimed will never be sent; returns how many.

    What a door is claiming at this moment is passed over: the door waits for our commit and then
    refuses. Waiting for it here would be a deadlock.
    """
    field = {
        "venue": "venue_account__venue",
        "account": "account__name",
        "strategy": "strategy",
        "symbol": "symbol",
    }.get(scope.kind)
    rows = OrderIntent.objects.filter(state=IntentState.APPROVED, purpose=OrderPurpose.ENTRY)
    rows = rows.filter(**{field: scope.name}) if field else rows
    free = rows.select_for_update(skip_locked=True, of=("self",)).values_list("pk", flat=True)
    return OrderIntent.objects.filter(pk__in=list(free)).update(
        state=IntentState.LAPSED, version=F("version") + 1, updated_at=Now()
    )


def start_sweeper(event_id: int) -> None:
    """Start `manage.py emergency_stop sweep` on its own: a guard may have died since it last showed life.

    Where one has lately, the process leaves the stop to it if it answers within a second.
    """
    lively = Heartbeat.objects.filter(name=GUARD_HEARTBEAT, beat_at__gt=Now() - GUARD_SILENT_AFTER)
    patience = ("--unless-answered",) if lively.exists() else ()
    try:
        start_detached("emergency_stop", "sweep", str(event_id), *patience)
    except OSError as error:
        # The stop stands whether or not a process can be had; whoever comes next sweeps it.
        logger.error("no sweeper could be started for stop %s: %s", event_id, error)
