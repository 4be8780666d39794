"""Judgements, states and stops as they travel over HTTP."""

from decimal import Decimal
from typing import Literal

from ninja import Field, Schema
from pydantic import ConfigDict

from controlplane.wire import Amount, Moment, Name, SymbolName
from risk import models
from risk.headroom import HeadroomRow
from risk.selectors import list_breaches, list_stop_steps
from trading.core.values import IntentState
from trading.models import Order, OrderIntent


class OrderIntentIn(Schema):
    """An order that somebody wants to place. `signal_at` omitted means now; prices are absolute."""

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
    signal_at: Moment | None = None
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
    """The first answer to this client_ref, with the order as it stands now."""

    decision: Literal["allowed", "blocked"]
    decision_id: int
    breaches: list[BreachOut]
    max_quantity: Amount
    intent_id: str
    order: IntentOrderOut | None = None


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


class GlobalRiskOut(Schema):
    """CRITICAL also when the assessment is too old, or was never made (then the age is null)."""

    level: str
    reasons: list[str]
    age_seconds: float | None


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


class EmergencyStopIn(Schema):
    model_config = ConfigDict(extra="forbid")

    scope: str = Field(min_length=1, max_length=60, examples=["all", "account:paper-main"])
    reason: str | None = Field(None, max_length=500)


class EmergencyStopOut(Schema):
    """The scope is HALTED from this answer on; STOPPED once every venue has confirmed it."""

    scope: str
    state: Literal["HALTED"]
    progress: str
    event_id: int


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
