"""Judgement over HTTP: headroom, risk state, the emergency stop."""

from ninja import Router

from controlplane.approvals.core import TokenScope
from controlplane.approvals.http import ActorRequest, authorise
from risk import headroom, schemas, selectors, services
from trading.selectors import get_account, get_active_permit, get_clocks

router = Router(tags=["risk"])
DEFAULT_REASON = "stopped by an outside program"


@router.get("/accounts/{name}/headroom", response=schemas.AccountHeadroomOut, tags=["accounts"])
def get_headroom(request: ActorRequest, name: str) -> schemas.AccountHeadroomOut:
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
