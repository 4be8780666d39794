"""Reads of judgement: limits in force, states, stops, global risk, decisions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, QuerySet

from controlplane.code_version import get_code_version
from controlplane.errors import Conflict, NotFound, Unavailable
from risk import models
from risk.core.emergency_stop import StepStatus, StopProgress
from risk.core.values import Decision, Intent, Limits, RiskLevel, Snapshot
from risk.core.verdict import reach_verdict
from risk.evidence import build, parse_text
from risk.global_risk.record import describe
from risk.limits import get_limits
from trading.core.values import Clocks, TradingStateName
from trading.models import Account, Permit, TradingState

UNASSESSED = "global risk was never assessed"
STALE = "the assessment is too old"


class LimitsUnknown(Unavailable):
    """The account has no active permit, or its limit set is not stored."""

    code = "limits_unknown"


class DecisionNotFound(NotFound):
    """No decision has this id."""

    code = "decision_not_found"


class DecisionOfOtherCode(Conflict):
    """The decision was written by a version of the code that knew other facts."""

    code = "decision_of_other_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeStatus:
    """The trading state of one scope; `progress` is that of its standing stop."""

    scope: str
    state: TradingStateName
    changed_at: datetime
    reason: str
    progress: StopProgress | None
    outstanding: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A stored decision, and the same inputs decided again.

    `is_same_code` tells whether the code that decided is the code that explains; only then must
    `agrees` be true.
    """

    row: models.Decision
    intent: Intent
    snapshot: Snapshot
    limits: Limits | None
    again: Decision
    agrees: bool
    is_same_code: bool


def get_active_limits(account: Account) -> Limits:
    """The limits that the account's permit names; raises LimitsUnknown."""
    permit = Permit.objects.filter(account=account, active=True).first()
    limits = None if permit is None else get_limits(permit.limit_set_digest)
    if limits is None:
        raise LimitsUnknown(f"account {account.name} has no permit with known limits")
    return limits


def list_limit_sets() -> QuerySet[models.LimitSet]:
    return models.LimitSet.objects.order_by("-loaded_at", "-id")


def list_trading_states() -> list[ScopeStatus]:
    """Every registered scope, and every scope with a standing stop, the strictest first."""
    events = {event.scope: event for event in models.StopEvent.objects.filter(ended_at__isnull=True)}
    found = [_scope_status(row, events.pop(row.scope, None)) for row in TradingState.objects.all()]
    # A standing stop whose state row is gone: no row means HALTED.
    found += [
        ScopeStatus(
            scope=event.scope,
            state=TradingStateName.HALTED,
            changed_at=event.tripped_at,
            reason=event.reason,
            progress=StopProgress(event.progress),
            outstanding=_count_outstanding(event),
        )
        for event in events.values()
    ]
    return sorted(found, key=lambda status: (-status.state.strictness, status.scope))


def _scope_status(row: TradingState, event: models.StopEvent | None) -> ScopeStatus:
    return ScopeStatus(
        scope=row.scope,
        state=TradingStateName(row.state),
        changed_at=row.changed_at,
        reason=row.reason,
        progress=None if event is None else StopProgress(event.progress),
        outstanding=0 if event is None else _count_outstanding(event),
    )


def _count_outstanding(event: models.StopEvent) -> int:
    """Steps that the venues have not confirmed; a stop that has not been swept yet has one."""
    if event.progress == StopProgress.STOPPED:
        return 0
    return max(1, event.steps.exclude(status=StepStatus.DONE.value).count())


def get_stop_status() -> dict[str, Any]:
    """What `emergency_stop status --json` prints."""
    return {
        "scopes": [
            {
                "scope": status.scope,
                "state": status.state.value,
                "progress": None if status.progress is None else status.progress.value,
                "since": status.changed_at.isoformat(),
                "reason": status.reason,
                "outstanding": status.outstanding,
            }
            for status in list_trading_states()
        ]
    }


def get_stop_event(event_id: int) -> models.StopEvent:
    """Raises NotFound."""
    event = models.StopEvent.objects.filter(pk=event_id).first()
    if event is None:
        raise NotFound(f"emergency stop: no event {event_id}", code="stop_event_not_found")
    return event


def list_stop_steps(event: models.StopEvent) -> QuerySet[models.StopStep]:
    return models.StopStep.objects.filter(event=event).order_by("id")


def list_unfinished_stops() -> list[models.StopEvent]:
    """Every stop that the venues have not confirmed, oldest first."""
    rows = models.StopEvent.objects.filter(progress=StopProgress.STOPPING.value)
    return list(rows.order_by("tripped_at", "id"))


def find_last_good_drill() -> models.Drill | None:
    """The newest rehearsed stop that this version of the code passed."""
    rows = models.Drill.objects.filter(is_passed=True, code_version=get_code_version())
    return rows.order_by("-finished_at", "-id").first()


def get_global_risk() -> models.GlobalRisk | None:
    return models.GlobalRisk.objects.order_by("-id").first()


def get_risk_state(clocks: Clocks, max_age_seconds: float = 30) -> dict[str, Any]:
    """What `GET /api/v1/risk/state` answers; a missing or stale assessment reads CRITICAL."""
    row = get_global_risk()
    age = None if row is None else (clocks.wall_at - row.checked_at).total_seconds()
    if row is None or age is None:
        level, reasons = RiskLevel.CRITICAL.value, [UNASSESSED]
    elif age > max_age_seconds:
        level, reasons = RiskLevel.CRITICAL.value, [STALE, *row.reasons]
    else:
        level, reasons = row.level, row.reasons
    return {
        "now": clocks.wall_at,
        "market_now": clocks.market_at,
        "global_risk": {
            "level": level,
            "reasons": reasons,
            "age_seconds": age,
            **describe({} if row is None else row.inputs),
        },
        "trading_state": [
            {
                "scope": status.scope,
                "state": status.state.value,
                "since": status.changed_at,
                "reason": status.reason,
            }
            for status in list_trading_states()
        ],
    }


def get_decision(decision_id: int) -> models.Decision:
    """Raises DecisionNotFound."""
    row = models.Decision.objects.select_related("intent", "account").filter(pk=decision_id).first()
    if row is None:
        raise DecisionNotFound(f"decision: none has the id {decision_id}")
    return row


def list_decisions(account: Account, before_id: int | None, limit: int) -> list[models.Decision]:
    """The newest decisions of the account, of those older than `before_id`, without their inputs."""
    rows = models.Decision.objects.filter(account=account).select_related("intent__venue_account")
    if before_id is not None:
        rows = rows.filter(id__lt=before_id)
    return list(rows.defer("inputs", "outcomes").order_by("-id")[:limit])


def list_breaches(row: models.Decision) -> list[dict[str, str]]:
    """[{code, measured, limit, text}] as decided."""
    breaches: list[dict[str, str]] = parse_text(row.breaches)
    return breaches


def explain_decision(decision_id: int) -> Explanation:
    """Decide the stored inputs again; raises DecisionNotFound and DecisionOfOtherCode."""
    row = get_decision(decision_id)
    intent, snapshot = _read_inputs(row)
    limits = get_limits(row.limit_set_digest) if row.limit_set_digest else None
    again = reach_verdict(intent, snapshot, limits).decision
    outcomes = {item.rule: item.code for item in again.outcomes}
    breaches = [
        {"code": item.code.value, "measured": item.measured, "limit": item.limit, "text": item.text}
        for item in again.breaches
    ]
    agrees = (
        again.allowed == row.allowed
        and again.max_quantity == row.max_quantity
        and (again.quantity, again.override_id) == (row.quantity, row.override_id)
        and breaches == list_breaches(row)
        and outcomes == parse_text(row.outcomes)
    )
    return Explanation(
        row=row,
        intent=intent,
        snapshot=snapshot,
        limits=limits,
        again=again,
        agrees=agrees,
        is_same_code=row.code_version == get_code_version(),
    )


def _read_inputs(row: models.Decision) -> tuple[Intent, Snapshot]:
    """What the decision was made of; another version of the code may have known other facts."""
    inputs = parse_text(row.inputs)
    try:
        return build(Intent, inputs["intent"]), build(Snapshot, inputs["snapshot"])
    except (KeyError, ValueError) as error:
        if row.code_version == get_code_version():
            raise
        raise DecisionOfOtherCode(
            f"decision {row.pk} was written by the code {row.code_version[:12]}, which knew other facts than"
            f" this one ({get_code_version()[:12]}) and is needed to decide it again: {error}"
        ) from error


def count_allowed() -> int:
    return models.Decision.objects.filter(allowed=True).count()


def count_denied_by_code() -> dict[str, int]:
    """How many denials each first breach named."""
    rows = models.Decision.objects.filter(allowed=False).values_list("reason").annotate(number=Count("id"))
    return dict(sorted(rows))
