"""Judgements, states and stops as they travel over HTTP."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from ninja import Field, Schema
from pydantic import BeforeValidator, ConfigDict, model_validator

from controlplane.approvals.models import ApprovalRequest
from controlplane.wire import Amount, GivenMoment, Moment, Name, SymbolName
from risk import models
from risk.core.reasons import ReasonCode
from risk.evidence import parse_text
from risk.headroom import HeadroomRow
from risk.selectors import list_breaches, list_stop_steps
from risk.stops.rearm import describe_request_now
from trading.core.values import IntentState
from trading.models import Order, OrderIntent


class OrderIntentIn(Schema):
    """An order that somebody wants to place. `signal_at` omitted means now; prices are absolute.

    With `may_resize` a smaller quantity will do, where the whole is too large.
    """

    model_config = ConfigDict(extra="forbid")

    account: Name
    strategy: Name
    symbol: SymbolName
    side: Literal["buy", "sell"]
    type: Literal["market", "limit"]
    quantity: Amount
    price: Amount | None = None
    stop_loss: Amount | None = None
    take_profit: Amount | None = None
    reduce_only: bool = False
    may_resize: bool = False
    signal_at: GivenMoment | None = None
    client_ref: str = Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")
    execute: bool


class BreachOut(Schema):
    """A reason to block: what was measured and what the limit is."""

    code: str
    measured: str
    limit: str
    text: str


class IntentOrderOut(Schema):
    """What became of an allowed intent; "queued" until a worker has sent it."""

    state: str
    client_order_id: str | None = None
    venue_order_id: str | None = None
    filled_quantity: Amount | None = None
    average_price: Amount | None = None


class OrderIntentOut(Schema):
    """The first answer to this client_ref, with the order as it stands now.

    `quantity` is what the decision is about: less than `requested_quantity` where it was resized.
    """

    decision: Literal["allowed", "blocked"]
    decision_id: int
    breaches: list[BreachOut]
    requested_quantity: Amount
    quantity: Amount
    max_quantity: Amount
    intent_id: str
    order: IntentOrderOut | None = None


class DecisionOut(Schema):
    """One judgement as it was made; `reason` is the first breach in documented order, or "none"."""

    decision_id: int
    decision: Literal["allowed", "blocked"]
    reason: str
    breaches: list[BreachOut]
    intent_id: str
    client_ref: str
    source: str
    strategy: str
    venue: str
    symbol: str
    side: str
    purpose: str
    requested_quantity: Amount
    quantity: Amount
    max_quantity: Amount
    limit_set_digest: str
    code_version: str
    market_at: Moment
    decided_at: Moment


class DecisionEvidenceOut(DecisionOut):
    """`outcomes` is what each rule said: a reason code, or "none" where it had no objection."""

    outcomes: dict[str, str]


class ReasonCodeOut(Schema):
    """A member of the closed list of reasons; `rank` is its place in the order that names a denial."""

    code: ReasonCode
    rank: int
    text: str


class HeadroomOut(Schema):
    """One limit. `unit`: usd, ratio (0.02 is 2 %), times or count; null is not known."""

    limit: str
    unit: str
    measured: Amount | None
    allowed: Amount
    headroom: Amount | None


class AccountHeadroomOut(Schema):
    """What is left of each limit of the active permit; without a permit there is no limit to use."""

    account: str
    profile: str | None
    limit_set_digest: str | None
    limits: list[HeadroomOut]
    now: Moment
    market_now: Moment


class RiskFindingOut(Schema):
    """One measure out of bounds; `code` is its name, `limit` where the level begins, as texts for people."""

    code: str
    level: str
    account: str
    venue: str
    measured: str
    limit: str
    text: str


class GlobalRiskOut(Schema):
    """CRITICAL also when the assessment is too old, or was never made (then the age is null).

    `findings` are the gravest first, `measures` what was measured of each account by name: ages in
    seconds, shares as ratios (0.02 is 2 %), leverage and volatility in times, or counts; null is unknown.
    """

    level: str
    reasons: list[str]
    age_seconds: float | None
    findings: list[RiskFindingOut] = []
    measures: dict[str, dict[str, Amount | None]] = {}


class TradingStateOut(Schema):
    scope: str
    state: str
    since: Moment | None
    reason: str


class RiskStateOut(Schema):
    now: Moment
    market_now: Moment
    global_risk: GlobalRiskOut
    trading_state: list[TradingStateOut]


LONGEST_REASON = 500


def _shorten_reason(value: Any) -> Any:
    """A stop is not refused for the form of its reason."""
    return value.replace("\x00", "")[:LONGEST_REASON] if isinstance(value, str) else value


class EmergencyStopIn(Schema):
    """`reason` is cut to 500 characters."""

    model_config = ConfigDict(extra="forbid")

    scope: str = Field(
        min_length=1, max_length=60, pattern=r"^[^\x00]+$", examples=["all", "account:paper-main"]
    )
    reason: Annotated[str | None, BeforeValidator(_shorten_reason)] = None


class EmergencyStopOut(Schema):
    """The scope is HALTED from this answer on; STOPPED once every venue has confirmed it."""

    scope: str
    state: Literal["HALTED"]
    progress: str
    event_id: int


class RearmRequestIn(Schema):
    """Either the stop's `event_id` or the `scope` it stands on.

    `rebase` sets the capital base to the equity of now; only where the loss of capital stopped it.
    """

    model_config = ConfigDict(extra="forbid")

    event_id: int | None = Field(None, ge=1, le=2**63 - 1)
    scope: str | None = Field(None, min_length=1, max_length=60, pattern=r"^[^\x00]+$")
    root_cause: str = Field(max_length=2000, pattern=r"^[^\x00]*$")
    reason: str = Field(max_length=500, pattern=r"^[^\x00]*$")
    rebase: bool = False

    @model_validator(mode="after")
    def _names_one_stop(self) -> "RearmRequestIn":
        if (self.event_id is None) == (self.scope is None):
            raise ValueError("give event_id or scope, not both")
        return self


class ConditionOut(Schema):
    """One thing that must be so before the stop may end; `code` is why it is not, `next` what to do."""

    name: str
    is_met: bool
    code: str
    text: str
    next: str


class RearmRequestOut(Schema):
    """The request that a second person approves; `missing` names what is not met at this moment."""

    request_id: str
    event_id: int
    scope: str
    state: str
    approve_by: Moment
    conditions: list[ConditionOut]
    missing: list[str]


class StopStepOut(Schema):
    venue: str
    account: str
    symbol: str
    action: str
    status: str
    detail: str


class StopStatusOut(Schema):
    scope: str
    progress: str
    tripped_at: Moment
    stopped_at: Moment | None
    ended_at: Moment | None
    steps: list[StopStepOut]


def order_intent_out(intent: OrderIntent, decision: models.Decision, order: Order | None) -> OrderIntentOut:
    return OrderIntentOut(
        decision="allowed" if decision.allowed else "blocked",
        decision_id=decision.pk,
        breaches=[BreachOut(**item) for item in list_breaches(decision)],
        requested_quantity=decision.requested_quantity,
        quantity=decision.quantity,
        max_quantity=decision.max_quantity,
        intent_id=str(intent.pk),
        order=_order_out(intent, order) if decision.allowed and intent.execute else None,
    )


def _order_out(intent: OrderIntent, order: Order | None) -> IntentOrderOut:
    if order is None:
        lapsed = intent.state == IntentState.LAPSED
        return IntentOrderOut(state=IntentState.LAPSED.value if lapsed else "queued")
    return IntentOrderOut(
        state=order.state,
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id or None,
        filled_quantity=order.filled_quantity,
        average_price=order.average_price,
    )


def decision_out(row: models.Decision) -> DecisionOut:
    return DecisionOut(**_decision_values(row))


def decision_evidence_out(row: models.Decision) -> DecisionEvidenceOut:
    return DecisionEvidenceOut(**_decision_values(row), outcomes=parse_text(row.outcomes))


def _decision_values(row: models.Decision) -> dict[str, Any]:
    intent = row.intent
    return {
        "decision_id": row.pk,
        "decision": "allowed" if row.allowed else "blocked",
        "reason": row.reason,
        "breaches": [BreachOut(**item) for item in list_breaches(row)],
        "intent_id": str(intent.pk),
        "client_ref": intent.client_ref,
        "source": intent.source,
        "strategy": intent.strategy,
        "venue": intent.venue_account.venue,
        "symbol": intent.symbol,
        "side": intent.side,
        "purpose": intent.purpose,
        "requested_quantity": row.requested_quantity,
        "quantity": row.quantity,
        "max_quantity": row.max_quantity,
        "limit_set_digest": row.limit_set_digest,
        "code_version": row.code_version,
        "market_at": row.market_at,
        "decided_at": row.decided_at,
    }


def headroom_out(row: HeadroomRow) -> HeadroomOut:
    return HeadroomOut(
        limit=row.name,
        unit=row.unit,
        measured=_rounded(row.measured),
        allowed=row.limit,
        headroom=_rounded(row.headroom),
    )


def _rounded(value: Decimal | None) -> Decimal | None:
    return None if value is None else round(value, 10)


def stop_out(event: models.StopEvent) -> EmergencyStopOut:
    return EmergencyStopOut(scope=event.scope, state="HALTED", progress=event.progress, event_id=event.pk)


def stop_status_out(event: models.StopEvent) -> StopStatusOut:
    return StopStatusOut(
        scope=event.scope,
        progress=event.progress,
        tripped_at=event.tripped_at,
        stopped_at=event.stopped_at,
        ended_at=event.ended_at,
        steps=[StopStepOut.from_orm(step) for step in list_stop_steps(event)],
    )


def rearm_request_out(row: ApprovalRequest) -> RearmRequestOut:
    conditions = describe_request_now(row)
    return RearmRequestOut(
        request_id=str(row.pk),
        event_id=row.subject["event_id"],
        scope=row.subject["scope"],
        state=row.state,
        approve_by=row.approve_by,
        conditions=[ConditionOut(**item) for item in conditions],
        missing=[str(item["code"]) for item in conditions if not item["is_met"]],
    )
