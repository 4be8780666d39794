"""Judgement over HTTP: headroom, decisions, reason codes, risk state, the emergency stop."""

from typing import Any

from ninja import Query, Router, Status

from controlplane.approvals.core import TokenScope
from controlplane.approvals.http import ActorRequest, authorise
from controlplane.wire import Name, Page, PageQuery, as_page, make_page
from risk import headroom, schemas, selectors, services
from risk.core.reasons import DESCRIPTIONS, ReasonCode
from trading.selectors import get_account, get_active_permit, get_clocks

router = Router(tags=["risk"])
DEFAULT_REASON = "stopped by an outside program"


@router.get("/accounts/{name}/headroom", response=schemas.AccountHeadroomOut, tags=["accounts"])
def get_headroom(request: ActorRequest, name: Name) -> schemas.AccountHeadroomOut:
    """How much of each limit the account has used, and what is left."""
    authorise(request, TokenScope.READ)
    account, clocks = get_account(name), get_clocks()
    permit = get_active_permit(account)
    return schemas.AccountHeadroomOut(
        account=account.name,
        profile=permit.profile if permit else None,
        limit_set_digest=permit.limit_set_digest if permit else None,
        limits=[schemas.headroom_out(row) for row in headroom.measure_headroom(account, clocks)],
        now=clocks.wall_at,
        market_now=clocks.market_at,
    )


@router.get("/accounts/{name}/decisions", response=Page[schemas.DecisionOut], tags=["accounts"])
def list_decisions(request: ActorRequest, name: Name, page: Query[PageQuery]) -> dict[str, Any]:
    """Every judgement of the account's orders, allowed or not, newest first."""
    authorise(request, TokenScope.READ)
    rows = selectors.list_decisions(get_account(name), page.after, page.limit + 1)
    return make_page(rows, limit=page.limit, as_item=schemas.decision_out, key=lambda row: row.pk)


@router.get("/decisions/{int:decision_id}", response=schemas.DecisionEvidenceOut)
def get_decision(request: ActorRequest, decision_id: int) -> schemas.DecisionEvidenceOut:
    """One judgement with what every rule said."""
    authorise(request, TokenScope.READ)
    return schemas.decision_evidence_out(selectors.get_decision(decision_id))


@router.get("/risk/reason-codes", response=Page[schemas.ReasonCodeOut])
def list_reason_codes(request: ActorRequest) -> dict[str, Any]:
    """The closed list of reasons for which an order is denied, in the order that names a denial."""
    authorise(request, TokenScope.READ)
    return as_page(
        schemas.ReasonCodeOut(code=code, rank=code.rank, text=DESCRIPTIONS[code]) for code in ReasonCode
    )


@router.get("/risk/state", response=schemas.RiskStateOut)
def get_risk_state(request: ActorRequest) -> schemas.RiskStateOut:
    """Global risk with its age, and every trading state; a scope that is not listed is HALTED."""
    authorise(request, TokenScope.READ)
    return schemas.RiskStateOut(**selectors.get_risk_state(get_clocks()))


@router.post("/emergency-stop", response=schemas.EmergencyStopOut, url_name="trip_emergency_stop")
def trip_emergency_stop(request: ActorRequest, body: schemas.EmergencyStopIn) -> schemas.EmergencyStopOut:
    """Stop a scope at once; stopping what is stopped answers with the stop that stands."""
    event = services.trip_emergency_stop(
        scope=body.scope,
        reason=body.reason or DEFAULT_REASON,
        actor=request.auth,
        clocks=get_clocks(),
    )
    return schemas.stop_out(event)


@router.get("/emergency-stop/{int:event_id}", response=schemas.StopStatusOut)
def get_emergency_stop(request: ActorRequest, event_id: int) -> schemas.StopStatusOut:
    """How far a stop is: every step and what the venues have confirmed."""
    authorise(request, TokenScope.READ)
    return schemas.stop_status_out(selectors.get_stop_event(event_id))


@router.post(
    "/emergency-stop/rearm-requests", response={201: schemas.RearmRequestOut}, url_name="request_rearm"
)
def request_rearm(request: ActorRequest, body: schemas.RearmRequestIn) -> Status[schemas.RearmRequestOut]:
    """Ask that a stop end; another person approves it, and every condition must be met by then."""
    row = services.request_rearm(
        event_id=body.event_id,
        scope=body.scope,
        root_cause=body.root_cause,
        reason=body.reason,
        rebase=body.rebase,
        actor=authorise(request, TokenScope.STOP),
    )
    return Status(201, schemas.rearm_request_out(row))
