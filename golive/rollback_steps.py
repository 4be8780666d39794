"""What follows a rollback's first commit, step by step: done, read back, timed, kept, and resumable.

Each step may be done again by anyone. One that fails PATIENCE times leaves the rollback `failed`, which
pages and is not final: the guard tries again until it is done.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from controlplane.alerts.services import raise_alert, resolve_alert
from controlplane.approvals.core import RequestState
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.requests import SUBJECT, facts_of, move
from controlplane.approvals.selectors import list_open_requests
from controlplane.audit.services import record
from controlplane.errors import DomainError
from golive.core.words import RollbackState
from golive.holds import is_held
from golive.models import Activation, Rollback
from risk import services as risk
from risk.core.emergency_stop import Cause
from risk.exposure import get_exposure
from risk.headroom import get_account_limits
from risk.models import Allotment, Restriction, StopEvent
from risk.overrides import list_active_overrides
from risk.reducing.placed_causes import follow_places
from trading import selectors
from trading.core.values import OrderPurpose
from trading.models import Account
from trading.selectors import get_active_permit, get_clocks

logger = logging.getLogger(__name__)

FAILED_ALERT = "rollback_failed"
DONE, OPEN = "done", "open"
# At the venue an answer may take a moment; a person is called after so many tries.
PATIENCE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`run` does it and may be repeated; `check` reads back what is still missing, "" where nothing is."""

    name: str
    run: Callable[[Rollback], str]
    check: Callable[[Rollback], str]


def make_step(name: str, state: str, detail: str, began: float, attempts: int = 1) -> dict[str, Any]:
    """What is kept of a step; `ms` is our own time."""
    ms = round((perf_counter() - began) * 1000, 1)
    return {"name": name, "state": state, "detail": detail, "ms": ms, "attempts": attempts}


# Requests --------------------------------------------------------------------------------------------


def withdraw_requests(row: Rollback) -> str:
    """Whatever was asked for the account was asked of another state of it; one in use is passed over."""
    withdrawn = 0
    for found in list_account_requests(row.account):
        with transaction.atomic():
            free = ApprovalRequest.objects.select_for_update(skip_locked=True).filter(pk=found.pk)
            request = free.first()
            if request is None or request.state not in {RequestState.PROPOSED, RequestState.APPROVED}:
                continue
            move(request, RequestState.WITHDRAWN)
            withdrawn += 1
            record(
                action="approvals.request_withdraw",
                actor=row.actor,
                subject_type=SUBJECT,
                subject_id=request.pk,
                reason=f"superseded by rollback {row.pk} of {row.account.name}",
                detail=facts_of(request) | {"rollback": row.pk},
            )
    return f"{withdrawn} withdrawn"


def list_account_requests(account: Account) -> list[ApprovalRequest]:
    """Open requests about the account, whatever they are for: by its name, or by its scope."""
    rows = list(list_open_requests())
    return [
        request
        for request in rows
        if request.subject.get("account") == account.name
        or request.subject.get("scope") == f"account:{account.name}"
    ]


def find_open_request(row: Rollback) -> str:
    """Of those that were asked before; what is asked after the rollback is asked of the account as it is."""
    left = [item for item in list_account_requests(row.account) if item.proposed_at < row.started_at]
    return f"{len(left)} requests are open" if left else ""


# Exposure and oversize -------------------------------------------------------------------------------


def divide(row: Rollback) -> str:
    return f"{risk.divide_exposure()} accounts' parts changed"


def find_undivided(row: Rollback) -> str:
    """The account has its part by the limits in force."""
    exposure = get_exposure()
    if exposure is None or get_active_permit(row.account) is None:
        return ""
    has_part = Allotment.objects.filter(
        account=row.account, scope="all", exposure_digest=exposure.digest
    ).exists()
    return "" if has_part else "the account has no part of the desk's exposure"


def restrict_oversize(row: Rollback) -> str:
    """What is larger than the limits now allow may only become smaller; nothing is closed for it."""
    places = list(selectors.list_venue_accounts(row.account))
    limits = get_account_limits(row.account)
    follow_places(account=row.account, places=places, limits=limits, clocks=get_clocks())
    standing = Restriction.objects.filter(cause=Cause.OVERSIZE.value, lifted_at__isnull=True)
    symbols = {scope.partition(":")[2] for scope in standing.values_list("scope", flat=True)}
    held = {position.symbol for place in places for position in selectors.list_open_positions(place)}
    return f"oversize: {', '.join(sorted(symbols & held)) or 'none'}"


def nothing(_row: Rollback) -> str:
    return ""


# At the venue ----------------------------------------------------------------------------------------


def cancel_entries(row: Rollback) -> str:
    """Entries stand on a permit that has ended: the door would refuse every one of them now."""
    cancelled = risk.cancel_entries(account=row.account)
    row.impact = row.impact | {"cancelled": row.impact.get("cancelled", 0) + cancelled}
    row.save(update_fields=["impact"])
    return f"{cancelled} cancelled"


def find_entry(row: Rollback) -> str:
    """Entries under an older token that the venue has not ended; what is asked after it is another matter."""
    permit = get_active_permit(row.account)
    left = [
        order.client_order_id
        for place in selectors.list_venue_accounts(row.account)
        for order in selectors.list_unsettled_orders(place).filter(purpose=OrderPurpose.ENTRY)
        if permit is None or order.intent.fencing_token != permit.fencing_token
    ]
    return f"not ended at the venue: {', '.join(left)}" if left else ""


# Reading it all back ---------------------------------------------------------------------------------


def read_back(row: Rollback) -> str:
    return "hold, permit, limits, overrides and stop as they should be"


def find_gap(row: Rollback) -> str:
    """The first thing that is not as the rollback left it."""
    permit = get_active_permit(row.account)
    found = "" if permit is None else permit.limit_set_digest
    gaps = (
        (found != row.to_limit_set_digest, f"the permit's limits are {found[:12] or 'none'}"),
        (not is_held(row.account), "the account is not held"),
        (list_active_overrides(row.account).exists(), "a limit is raised"),
        (Activation.objects.filter(account=row.account, ended_at__isnull=True).exists(), "one is active"),
        (not row.to_limit_set_digest and not _is_halted(row.account), "the account is not halted"),
    )
    return next((text for is_open, text in gaps if is_open), "")


def _is_halted(account: Account) -> bool:
    return StopEvent.objects.filter(scope=f"account:{account.name}", ended_at__isnull=True).exists()


# In their order. Those that only we take part in are done at once; the venue's is the guard's.
OWN_STEPS = (
    Step(name="requests", run=withdraw_requests, check=find_open_request),
    Step(name="exposure", run=divide, check=find_undivided),
    Step(name="oversize", run=restrict_oversize, check=nothing),
)
STEPS = (
    *OWN_STEPS,
    Step(name="entries", run=cancel_entries, check=find_entry),
    Step(name="read_back", run=read_back, check=find_gap),
)


def advance_rollback(rollback_id: int, *, steps: Iterable[Step] = STEPS) -> Rollback:
    """Do what is not done yet, as far as it goes; each step is kept before the next begins."""
    row = Rollback.objects.select_related("account").get(pk=rollback_id)
    for step in steps:
        if row.finished_at is not None or _state_of(row, step.name) == DONE:
            continue
        if not _take(row, step):
            return row
    if all(_state_of(row, step.name) == DONE for step in STEPS):
        _finish(row)
    return row


def _state_of(row: Rollback, name: str) -> str:
    return next((item["state"] for item in row.steps if item["name"] == name), OPEN)


def _take(row: Rollback, step: Step) -> bool:
    """Whether the step is done. What a venue or a rule refuses is tried again; a bug stays visible."""
    began = perf_counter()
    try:
        detail = step.run(row)
        missing = step.check(row)
    except DomainError as refusal:
        detail, missing = "", f"{refusal.code}: {refusal.message}"
    earlier = next((item for item in row.steps if item["name"] == step.name), None)
    attempts = 1 if earlier is None else earlier["attempts"] + 1
    _keep(row, make_step(step.name, OPEN if missing else DONE, missing or detail, began, attempts))
    return not missing


@transaction.atomic
def _keep(row: Rollback, step: dict[str, Any]) -> None:
    """With the row locked, so that two who advance it do not lose each other's steps."""
    now = Rollback.objects.select_for_update().get(pk=row.pk)
    if _state_of(now, step["name"]) == DONE:
        row.steps = now.steps
        return
    is_open = step["state"] == OPEN
    is_stuck = is_open and step["attempts"] >= PATIENCE
    row.steps = [*(item for item in now.steps if item["name"] != step["name"]), step]
    row.state = (RollbackState.FAILED if is_stuck else RollbackState.RUNNING).value
    Rollback.objects.filter(pk=row.pk, finished_at__isnull=True).update(steps=row.steps, state=row.state)
    if is_open and step["attempts"] != PATIENCE:
        return
    if is_stuck:
        _page(row, step)
    record(
        action="golive.rollback_step",
        actor=row.actor,
        subject_type="account",
        subject_id=row.account.name,
        reason=row.reason,
        detail={"rollback": row.pk, **step, "ms": round(step["ms"])},
    )


def _page(row: Rollback, step: dict[str, Any]) -> None:
    raise_alert(
        code=FAILED_ALERT,
        severity="critical",
        scope=f"account:{row.account.name}",
        text=f"Rollback {row.pk} of {row.account.name} is not through: {step['name']}: {step['detail']}",
        wall_at=get_clocks().wall_at,
    )


@transaction.atomic
def _finish(row: Rollback) -> None:
    finished = Rollback.objects.filter(pk=row.pk, finished_at__isnull=True).update(
        state=RollbackState.DONE.value, finished_at=Now()
    )
    row.refresh_from_db()
    if finished != 1:
        return
    wall_at = get_clocks().wall_at
    resolve_alert(code=FAILED_ALERT, scope=f"account:{row.account.name}", wall_at=wall_at)
    record(
        action="golive.rollback_step",
        actor=row.actor,
        subject_type="account",
        subject_id=row.account.name,
        reason=row.reason,
        detail={"rollback": row.pk, "name": "finished", "state": DONE, "impact": row.impact},
    )


def resume_rollbacks() -> int:
    """The guard's duty: go on with what is not finished; returns how many are finished now."""
    rows = Rollback.objects.filter(
        finished_at__isnull=True, account__environment=settings.TRADING_ENVIRONMENT
    ).order_by("id")
    return sum(advance_rollback(pk).finished_at is not None for pk in rows.values_list("pk", flat=True))
