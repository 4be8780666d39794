"""The way back over HTTP: never too often, and nothing that it waits for."""

from typing import Any

from ninja import Field, Query, Router, Schema
from pydantic import ConfigDict

from controlplane.approvals.core import TokenScope
from controlplane.approvals.http import ActorRequest, authorise
from controlplane.wire import Moment, Name, Page, PageQuery, make_page
from golive import selectors, services
from golive.models import Rollback
from trading.selectors import get_account

router = Router(tags=["golive"])
DEFAULT_REASON = "rolled back by an outside program"


class RollbackIn(Schema):
    """`reason` may be left out: taking risk away waits for no words."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=2000)


class RollbackStepOut(Schema):
    """One step, read back; `ms` is our own time."""

    name: str
    state: str
    detail: str
    ms: float
    attempts: int


class RollbackOut(Schema):
    """One way back. `to_limit_set_digest` "" is a halt; `resolved_by` released the hold after it."""

    rollback_id: int
    account: str
    activation_id: int | None
    trigger: str
    actor: str
    reason: str
    from_limit_set_digest: str
    to_limit_set_digest: str
    is_clamped: bool
    state: str
    steps: list[RollbackStepOut]
    impact: dict[str, Any]
    started_at: Moment
    finished_at: Moment | None
    seconds: float | None
    resolved_by: str


@router.post("/golive/{name}/rollback", response=RollbackOut, url_name="roll_back")
def roll_back(request: ActorRequest, name: Name, body: RollbackIn | None = None) -> RollbackOut:
    """Take the account back at once; where a rollback of it runs already, that one is answered."""
    row = services.roll_back(
        account=get_account(name),
        actor=request.auth,
        trigger="api",
        reason=(body and body.reason) or DEFAULT_REASON,
    )
    return rollback_out(row)


@router.get("/golive/{name}/rollbacks", response=Page[RollbackOut])
def list_rollbacks(request: ActorRequest, name: Name, page: Query[PageQuery]) -> dict[str, Any]:
    """Every rollback of the account, the newest first."""
    authorise(request, TokenScope.READ)
    rows = selectors.list_rollbacks(get_account(name), before_id=page.after)[: page.limit + 1]
    return make_page(list(rows), limit=page.limit, as_item=rollback_out, key=lambda row: row.pk)


def rollback_out(row: Rollback) -> RollbackOut:
    return RollbackOut(**selectors.describe_rollback(row))
