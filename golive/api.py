"""Permission over HTTP: pre-flight, and the way of an account to a profile."""

from uuid import UUID

from ninja import Router, Status

from controlplane.approvals.core import MEASURING_ROLES, TokenScope
from controlplane.approvals.http import ActorRequest, authorise
from controlplane.wire import Name
from golive import describing, schemas, selectors, services
from golive.activation import get_activation_request
from golive.ceiling import require_config
from golive.programme import find_open_programme
from trading.selectors import get_account

router = Router(tags=["golive"])


@router.post("/preflight-runs", response={202: schemas.PreflightRunOut})
def start_preflight(request: ActorRequest, body: schemas.PreflightIn) -> Status[schemas.PreflightRunOut]:
    """Start a run of all six checks and answer at once; one that is under way is answered again."""
    actor = authorise(request, TokenScope.PREFLIGHT, MEASURING_ROLES)
    run = services.start_preflight(purpose=body.purpose, account=body.account, actor=actor.audit_name)
    return Status(202, schemas.run_out(run))


@router.get("/preflight-runs/{int:run_id}", response=schemas.PreflightRunOut)
def get_preflight(request: ActorRequest, run_id: int) -> schemas.PreflightRunOut:
    """A run with what each check measured."""
    authorise(request, TokenScope.READ)
    return schemas.run_out(selectors.get_run(run_id))


@router.get("/golive/requests/{uuid:request_id}", response=schemas.GoliveRequestOut)
def get_golive_request(request: ActorRequest, request_id: UUID) -> schemas.GoliveRequestOut:
    """A request to go live: what it binds, who said what of it, and what activation asks for now."""
    authorise(request, TokenScope.READ)
    return schemas.golive_request_out(get_activation_request(request_id))


@router.post("/golive/requests", response={201: schemas.GoliveRequestOut})
def request_golive(request: ActorRequest, body: schemas.GoliveRequestIn) -> Status[schemas.GoliveRequestOut]:
    """Ask that an account go live; its programme is opened where none is. Other people approve."""
    actor, account = authorise(request, TokenScope.GOLIVE), get_account(body.account)
    programme = find_open_programme(account) or services.open_programme(
        account=account,
        profile=body.profile or require_config().default_profile,
        actor=actor,
        reason=body.reason,
    )
    row = services.request_activation(programme=programme, reason=body.reason, actor=actor)
    return Status(201, schemas.golive_request_out(row))


@router.get("/golive/{name}", response=schemas.GoliveOut)
def get_golive(request: ActorRequest, name: Name) -> schemas.GoliveOut:
    """Whether the account is live, at what size, and where its programme stands."""
    authorise(request, TokenScope.READ)
    return schemas.GoliveOut(**describing.describe_account(get_account(name)))
