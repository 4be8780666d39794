"""Permission over HTTP: pre-flight."""

from ninja import Router, Status

from controlplane.approvals.core import MEASURING_ROLES, TokenScope
from controlplane.approvals.http import ActorRequest, authorise
from golive import schemas, selectors, services

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
