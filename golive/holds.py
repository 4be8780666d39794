"""The latch: no increase of an account until two people release it. No automaton comes by here to release.

Whoever raises what an account may risk takes `lock_account` and asks `require_released` under it, in the
transaction that raises; a rollback takes the same lock, so that one of the two is first.
"""

from datetime import timedelta

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from controlplane.alerts.services import raise_alert, resolve_alert
from controlplane.approvals.core import Actor, Role
from controlplane.approvals.kinds import KINDS, RequestKind
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.requests import asking, open_request
from controlplane.approvals.selectors import get_database_time, list_open_requests
from controlplane.audit.services import record
from controlplane.errors import Conflict, NotFound
from golive.models import Hold, Rollback
from trading.core.values import Clocks
from trading.models import Account
from trading.selectors import get_account, get_clocks

RELEASE = "golive.release_hold"
ALERT = "account_held"
_LOCK = 7_430_002


class AccountHeld(Conflict):
    """The account is held after a trip or a rollback: nothing of it is increased."""

    code = "account_held"


class NotHeld(NotFound):
    """No hold stands on the account."""

    code = "not_held"


class ReleaseAsked(Conflict):
    """Such a request stands already."""

    code = "release_asked"


class RollbackRuns(Conflict):
    """A rollback of the account has not finished."""

    code = "rollback_runs"


def lock_account(account: Account) -> None:
    """Held until the caller's commit: of a rollback and an increase of one account one waits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, account.pk])


def find_hold(account: Account) -> Hold | None:
    """What stands on the account."""
    return Hold.objects.filter(account=account, released_at__isnull=True).first()


def list_holds() -> QuerySet[Hold]:
    """Every hold that stands, the oldest first."""
    return Hold.objects.filter(released_at__isnull=True).select_related("account").order_by("since_at", "id")


def is_held(account: Account) -> bool:
    return Hold.objects.filter(account=account, released_at__isnull=True).exists()


def require_released(account: Account) -> None:
    """Lock the account against a rollback and raise AccountHeld while it is held."""
    lock_account(account)
    if (hold := find_hold(account)) is not None:
        raise AccountHeld(
            f"account {account.name} is held since {hold.since_at:%Y-%m-%d %H:%M} UTC: {hold.reason}"
        )


@transaction.atomic
def hold_account(*, account: Account, reason: str, actor: str, clocks: Clocks) -> Hold:
    """Hold the account from this commit on, told and audited; where it is held already, that hold."""
    lock_account(account)
    hold, is_new = Hold.objects.get_or_create(
        account=account, released_at__isnull=True, defaults={"reason": reason}
    )
    if not is_new:
        return hold
    raise_alert(
        code=ALERT,
        severity="critical",
        scope=f"account:{account.name}",
        text=f"{account.name} is held, nothing of it is increased: {reason}",
        wall_at=clocks.wall_at,
    )
    record(
        action="golive.hold",
        actor=actor,
        subject_type="account",
        subject_id=account.name,
        reason=reason,
        detail={"hold": hold.pk},
    )
    return hold


def request_release(
    *, account: Account, reason: str, actor: Actor, otp: str | None = None
) -> ApprovalRequest:
    """Ask that the hold end; another person approves. Raises NotHeld, ReleaseAsked and what asking raises."""
    asked = {"account": account.name}
    with asking(kind=RELEASE, subject=asked, reason=reason, actor=actor):
        hold = find_hold(account)
        if hold is None:
            raise NotHeld(f"account {account.name} is not held")
        if find_release_request(hold) is not None:
            raise ReleaseAsked(f"the release of {account.name} was asked already")
    subject = asked | {"hold": hold.pk, "since_at": hold.since_at, "because": hold.reason}
    return open_request(kind=RELEASE, subject=subject, reason=reason, actor=actor, otp=otp)


def find_release_request(hold: Hold) -> ApprovalRequest | None:
    """The open request for the release of this hold."""
    rows = list_open_requests().filter(kind=RELEASE, approve_by__gt=get_database_time())
    return next((row for row in rows if row.subject["hold"] == hold.pk), None)


def apply_release(request: ApprovalRequest, actor: Actor) -> None:
    """The effect of the approval, in the vote's transaction: it ends the hold, and begins nothing."""
    account = get_account(request.subject["account"])
    lock_account(account)
    if Rollback.objects.filter(account=account, finished_at__isnull=True).exists():
        raise RollbackRuns(f"the rollback of {account.name} has not finished")
    released = Hold.objects.filter(
        pk=request.subject["hold"], account=account, released_at__isnull=True
    ).update(released_at=Now(), release_request=request.pk)
    if released != 1:
        raise NotHeld(f"hold {request.subject['hold']} of {account.name} is over")
    Rollback.objects.filter(account=account, resolved_by="").update(resolved_by=actor.audit_name)
    wall_at = get_clocks().wall_at
    for code in (ALERT, "rolled_back"):
        resolve_alert(code=code, scope=f"account:{account.name}", wall_at=wall_at)
    record(
        action="golive.release",
        actor=actor.audit_name,
        subject_type="account",
        subject_id=account.name,
        reason=request.reason,
        detail={
            **request.subject,
            "request": request.pk,
            "requested_by": request.proposer_name,
            "mode": request.mode,
        },
    )


def register_kind() -> None:
    KINDS.register(
        RequestKind(
            name=RELEASE,
            title="Release an account that is held after a rollback",
            requester_roles=frozenset({Role.REQUESTER, Role.OPERATOR}),
            approver_roles=frozenset({Role.APPROVER}),
            quorum=1,
            approval_ttl=timedelta(hours=24),
            execution_ttl=timedelta(0),
            solo_allowed=True,
            effect=apply_release,
        )
    )
