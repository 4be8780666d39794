"""Ending a stop: asked by one person with the root cause, approved by another, re-checked under locks.

Nothing else ends a stop but a drill its own (risk.stops.drills); the database holds the same (0005_rearm).
"""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from controlplane.alerts.services import resolve_alert
from controlplane.approvals.core import MIN_REASON, Actor, Role
from controlplane.approvals.kinds import KINDS, RequestKind
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.requests import open_request
from controlplane.approvals.selectors import get_database_time, list_open_requests
from controlplane.audit.canonical import digest_of, time_text
from controlplane.audit.services import audited_attempt, record
from controlplane.errors import Conflict, InvalidInput, NotFound
from risk import models
from risk.core.emergency_stop import Cause, StopProgress, StopSource, parse_scope
from risk.core.rearm import Condition
from risk.reducing.restrictions import lift, restrict
from risk.selectors import get_stop_event
from risk.stops import states
from risk.stops.capital import rebase_capital
from risk.stops.rearm_facts import assess_rearm, find_policy, find_trigger, list_unclear_books, measure_equity
from risk.stops.rules import get_stop_rules
from trading.core.values import Clocks
from trading.selectors import get_clocks

REARM = "risk.stops.rearm"
EVIDENCE_DOMAIN = "stop-evidence-v1"
STOP_ALERTS = (
    "emergency_stop",
    "emergency_stop_drill",
    "emergency_stop_escalated",
    "emergency_stop_unconfirmed",
)
LIFTER = "guard:rearmed"
# Of a new base of capital: more may not be lost between asking and approving.
REBASE_TOLERANCE = Decimal("0.02")


class RearmRefused(Conflict):
    """A condition is not met; the code is the condition's."""

    code = "rearm_refused"


class StopOver(Conflict):
    """This stop has ended already."""

    code = "stop_over"


class StopChanged(Conflict):
    """The stop, its rules or its policy are not those that the approver was shown."""

    code = "stop_changed"


class RearmRequested(Conflict):
    """Somebody has asked for this stop to end, and that waits for an approval."""

    code = "rearm_requested"


class NothingStands(NotFound):
    """No stop stands on this scope."""

    code = "no_standing_stop"


class RootCauseTooShort(InvalidInput):
    """The root cause says nothing."""

    code = "root_cause_too_short"


class RebaseRefused(InvalidInput):
    """Capital is set anew only where the loss of capital has stopped one account."""

    code = "rebase_refused"


# Asking -------------------------------------------------------------------------------------------


def request_rearm(
    *,
    root_cause: str,
    reason: str,
    actor: Actor,
    event_id: int | None = None,
    scope: str | None = None,
    rebase: bool = False,
    otp: str | None = None,
) -> ApprovalRequest:
    """Ask that the stop end; it may be asked before the conditions are met, they decide at the approval.

    With `rebase` (after a loss of capital only) the account's capital base becomes its equity of now,
    which the request shows. Raises NothingStands, StopOver, RearmRequested, RootCauseTooShort,
    RebaseRefused, EquityUnknown and what `open_request` raises; each refusal is audited.
    """
    with audited_attempt(
        action="risk.rearm_request",
        actor=actor.audit_name,
        subject_type="scope",
        subject_id=scope or f"stop {event_id}",
        reason=reason,
        detail={"root_cause": root_cause, "rebase": rebase},
    ):
        event = find_standing_stop(event_id=event_id, scope=scope)
        subject = _make_subject(event, _require_root_cause(root_cause), rebase=rebase)
        if (other := find_rearm_request(event)) is not None:
            raise RearmRequested(f"request {other.pk} asks for it already, approve or reject that")
    return open_request(kind=REARM, subject=subject, reason=reason, actor=actor, otp=otp)


def find_standing_stop(*, event_id: int | None = None, scope: str | None = None) -> models.StopEvent:
    """By its number, or the one that stands on the scope; raises NotFound, NothingStands and StopOver."""
    if event_id is not None:
        event = get_stop_event(event_id)
        if event.ended_at is not None:
            raise StopOver(f"stop {event_id} of {event.scope} ended {event.ended_at:%Y-%m-%d %H:%M:%S} UTC")
        return event
    standing = models.StopEvent.objects.filter(scope=scope or "", ended_at__isnull=True).first()
    if standing is None:
        raise NothingStands(f"scope: no stop stands on {scope!r}")
    return standing


def find_rearm_request(event: models.StopEvent) -> ApprovalRequest | None:
    """The open request that asks for this stop to end, if its time is not over."""
    now = get_database_time()
    rows = list_open_requests().filter(kind=REARM, approve_by__gt=now)
    return next((row for row in rows if row.subject["event_id"] == event.pk), None)


def _require_root_cause(text: str) -> str:
    said = text.strip()
    if len(said) < MIN_REASON:
        raise RootCauseTooShort(f"root_cause: at least {MIN_REASON} characters are needed")
    return said


def _make_subject(event: models.StopEvent, root_cause: str, *, rebase: bool) -> dict[str, object]:
    return {
        **_bind(event),
        "root_cause": root_cause,
        "rebase": rebase,
        "new_base": _find_new_base(event) if rebase else None,
        "evidence": read_evidence(event),
        "stop_reason": event.reason,
    }


def _bind(event: models.StopEvent) -> dict[str, object]:
    """What must still be the same when it is approved, as plain JSON."""
    policy = find_policy(parse_scope(event.scope))
    return {
        "event_id": event.pk,
        "scope": event.scope,
        "source": event.source,
        "tripped_at": time_text(event.tripped_at),
        "evidence_digest": digest_of(EVIDENCE_DOMAIN, read_evidence(event)),
        "stop_rules": get_stop_rules().digest,
        "cool_down_seconds": int(policy.cool_down.total_seconds()),
        "reducing_seconds": int(policy.reducing.total_seconds()),
    }


def read_evidence(event: models.StopEvent) -> Any:
    """What the trigger measured, with exact numbers: a digest knows no floats."""
    return json.loads(json.dumps(event.evidence), parse_float=Decimal)


def _find_new_base(event: models.StopEvent) -> Decimal:
    scope = parse_scope(event.scope)
    if find_trigger(event) is not StopSource.CAPITAL_LOSS or scope.kind != "account":
        raise RebaseRefused("rebase: only where the loss of capital has stopped one account")
    return measure_equity(scope.name, now=get_database_time()).equity


# Ending -------------------------------------------------------------------------------------------


def apply_rearm(request: ApprovalRequest, actor: Actor) -> None:
    """The effect of the approval, in the vote's transaction: everything is read again under locks."""
    asked, clocks = request.subject, get_clocks()
    event = lock_stop(asked["event_id"])
    _require_same(event, asked)
    conditions = assess_rearm(event, rebases=asked["rebase"])
    if (unmet := next((item for item in conditions if not item.is_met), None)) is not None:
        raise RearmRefused(unmet.text, code=unmet.code)
    if asked["rebase"]:
        _rebase(event, Decimal(asked["new_base"]), request, actor)
    _begin_reducing(event, asked["reducing_seconds"], actor, clocks)
    end_stop(event, ended_by=actor.audit_name, root_cause=asked["root_cause"], source=REARM, clocks=clocks)
    record(
        action=REARM,
        actor=actor.audit_name,
        subject_type="scope",
        subject_id=event.scope,
        reason=request.reason,
        detail={
            **asked,
            "request": request.pk,
            "requested_by": request.proposer_name,
            "mode": request.mode,
            "conditions": {item.name: item.text for item in conditions},
        },
    )


def lock_stop(event_id: int) -> models.StopEvent:
    """The standing stop, with its scope's state held as a trip holds it; raises NotFound and StopOver.

    A state whose row was lost is written again as HALTED first, so that ending the stop ends it.
    """
    event = get_stop_event(event_id)
    if event.ended_at is None:
        states.halt(scope=event.scope, reason=event.reason, source=event.source)
    event = models.StopEvent.objects.select_for_update().get(pk=event_id)
    if event.ended_at is not None:
        raise StopOver(f"stop {event_id} of {event.scope} has ended")
    return event


def _require_same(event: models.StopEvent, asked: dict[str, Any]) -> None:
    changed = sorted(name for name, value in _bind(event).items() if asked[name] != value)
    if changed:
        raise StopChanged(f"not as it was shown any more: {', '.join(changed)}; ask anew")


def _rebase(event: models.StopEvent, base: Decimal, request: ApprovalRequest, actor: Actor) -> None:
    """The number that was shown; what was lost since then would trip at once and is refused."""
    name = parse_scope(event.scope).name
    now = measure_equity(name, now=get_database_time())
    if now.equity < base * (1 - REBASE_TOLERANCE):
        text = f"equity is {now.equity:f} now, well below the new base of {base:f}; ask anew"
        raise RearmRefused(text, code="trigger_still_breached")
    rebase_capital(account=now.account, equity=base, reason=request.reason, set_by=actor.audit_name)


def _begin_reducing(event: models.StopEvent, seconds: int, actor: Actor, clocks: Clocks) -> None:
    """Written while the stop still stands: the state that follows is derived when it has ended."""
    lift(
        scope=event.scope,
        cause=Cause.REARMED,
        because="stopped and re-armed again",
        actor=actor.audit_name,
        clocks=clocks,
    )
    if seconds > 0:
        restrict(
            scope=event.scope,
            cause=Cause.REARMED,
            reason=f"re-armed after stop {event.pk}; active after {seconds // 60} min with clean books",
            actor=actor.audit_name,
            clocks=clocks,
            evidence={"event_id": event.pk, "reducing_seconds": seconds},
        )


def end_stop(event: models.StopEvent, *, ended_by: str, root_cause: str, source: str, clocks: Clocks) -> None:
    """End a confirmed stop and derive the scope's state, in the caller's transaction and under its locks.

    Another stop on a wider or narrower scope stays. The database refuses this without an executed
    request, and for a drill's own stop.
    """
    ended = models.StopEvent.objects.filter(
        pk=event.pk, ended_at__isnull=True, progress=StopProgress.STOPPED
    ).update(ended_at=Now(), ended_by=ended_by[:150], root_cause=root_cause)
    if ended != 1:
        raise StopOver(f"stop {event.pk} of {event.scope} has ended or is not confirmed")
    event.refresh_from_db()
    states.derive_state(scope=event.scope, reason=f"re-armed: {root_cause}", source=source)
    for code in STOP_ALERTS:
        resolve_alert(code=code, scope=event.scope, wall_at=clocks.wall_at)


def lift_rearmed(*, clocks: Clocks) -> int:
    """Let re-armed scopes be active whose time of reducing is over with clean books; returns how many."""
    rows = models.Restriction.objects.filter(cause=Cause.REARMED.value, lifted_at__isnull=True)
    return sum(_lift_if_over(row, clocks) for row in rows)


def _lift_if_over(row: models.Restriction, clocks: Clocks) -> bool:
    over_at = row.since_at + timedelta(seconds=row.evidence["reducing_seconds"])
    if clocks.wall_at < over_at:
        return False
    if list_unclear_books(parse_scope(row.scope), since=row.since_at, now=clocks.wall_at):
        return False
    because = "the time of reducing is over and the books are clean"
    return lift(scope=row.scope, cause=Cause.REARMED, because=because, actor=LIFTER, clocks=clocks)


# What it stands on --------------------------------------------------------------------------------


@transaction.atomic
def record_rearm_check(*, run_id: int, **facts: Any) -> models.RearmCheck:
    """Keep that a complete pre-flight for re-arming has finished, passed or not; once for each run."""
    row, _ = models.RearmCheck.objects.get_or_create(run_id=run_id, defaults=facts)
    return row


def describe_conditions(event: models.StopEvent, *, rebases: bool = False) -> list[dict[str, Any]]:
    """[{name, is_met, code, text, next}] as of now."""
    return [describe_condition(item) for item in assess_rearm(event, rebases=rebases)]


def describe_condition(item: Condition) -> dict[str, Any]:
    return {
        "name": item.name,
        "is_met": item.is_met,
        "code": item.code,
        "text": item.text,
        "next": item.next,
    }


def describe_request_now(request: ApprovalRequest) -> list[dict[str, Any]]:
    """The conditions as they are while somebody looks at the request; nothing once the stop is over."""
    event = models.StopEvent.objects.filter(pk=request.subject["event_id"], ended_at__isnull=True).first()
    return [] if event is None else describe_conditions(event, rebases=request.subject["rebase"])


def register_kind() -> None:
    KINDS.register(
        RequestKind(
            name=REARM,
            title="Re-arm after an emergency stop",
            requester_roles=frozenset({Role.REQUESTER, Role.OPERATOR}),
            approver_roles=frozenset({Role.APPROVER}),
            quorum=1,
            approval_ttl=timedelta(hours=24),
            execution_ttl=timedelta(0),
            solo_allowed=True,
            effect=apply_rearm,
            describe=describe_request_now,
        )
    )
