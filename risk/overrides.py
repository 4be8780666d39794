"""Temporary overrides: asked by one person, approved by another, over by themselves (RTS 6 art. 15(6))."""

from datetime import timedelta
from decimal import Decimal, InvalidOperation

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from controlplane.approvals.core import Actor, Role
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.kinds import KINDS, RequestKind
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.requests import asking, open_request, require_reason
from controlplane.approvals.selectors import get_database_time
from controlplane.approvals.services import require_any_role
from controlplane.audit import services as audit
from controlplane.audit.canonical import decimal_text
from controlplane.errors import Conflict, InvalidInput, NotFound
from risk import models
from risk.ceiling import CEILING, FindAbove
from risk.core.overrides import apply_overrides, find_fault
from risk.core.values import Limits, OverrideFacts
from risk.latch import LATCH
from risk.selectors import get_active_limits
from trading.models import Account
from trading.selectors import get_account

OVERRIDE = "risk.override"
MIN_WINDOW, MAX_WINDOW = timedelta(minutes=1), timedelta(hours=1)
MAX_USES = 10
# Ending one removes risk: any one of these may.
ENDING_ROLES = frozenset({Role.REQUESTER, Role.OPERATOR, Role.APPROVER, Role.ADMIN})
IN_FORCE = (
    Q(ended_at__isnull=True)
    & Q(starts_at__lte=Now())
    & Q(expires_at__gt=Now())
    & (Q(max_uses__isnull=True) | Q(used__lt=F("max_uses")))
)


class OverrideInvalid(InvalidInput):
    """The limit, its value or its duration is not one that an override may have."""

    code = "override_invalid"


class OverrideStands(Conflict):
    """This limit of this account is raised already."""

    code = "override_active"


class AccountHeld(Conflict):
    """After a rollback nothing of the account is raised until people have released it."""

    code = "account_held"


class LimitsChanged(Conflict):
    """The account's limits are not those that the approver was shown."""

    code = "limits_changed"


def list_active_overrides(account: Account | None = None) -> QuerySet[models.Override]:
    """What is raised now, by the database's clock; of one account or of all."""
    rows = models.Override.objects.filter(IN_FORCE).select_related("account").order_by("id")
    return rows if account is None else rows.filter(account=account)


def request_override(
    *,
    account: Account,
    limit: str,
    value: Decimal,
    reason: str,
    actor: Actor,
    uses: int | None = None,
    window: timedelta = MAX_WINDOW,
) -> ApprovalRequest:
    """Ask that one limit be raised to `value`, for `uses` orders or (None) as many as fit the window.

    Either way it is over `window` after its approval, at most an hour. In force once another person
    has approved. Raises OverrideInvalid, OverrideStands and what `open_request` raises; each refusal is
    audited.
    """
    asked = {
        "account": account.name,
        "limit": limit,
        "value": value if value.is_finite() else str(value),
        "uses": uses,
        "window_seconds": int(window.total_seconds()),
    }
    with asking(kind=OVERRIDE, subject=asked, reason=reason, actor=actor):
        _require_released(account)
        limits = get_active_limits(account)
        _require_valid(limits, limit, value, uses, window)
        _require_free(account, limit)
    subject = asked | {"present": Decimal(getattr(limits, limit)), "limit_set": limits.digest}
    return open_request(kind=OVERRIDE, subject=subject, reason=reason, actor=actor)


def _require_valid(limits: Limits, limit: str, value: Decimal, uses: int | None, window: timedelta) -> None:
    if fault := find_fault(limits, limit, value) or find_above_ceiling(limits, limit, value):
        raise OverrideInvalid(fault)
    if not MIN_WINDOW <= window <= MAX_WINDOW:
        raise OverrideInvalid(f"window: from {MIN_WINDOW} to {MAX_WINDOW}")
    if uses is not None and not 1 <= uses <= MAX_USES:
        raise OverrideInvalid(f"uses: from 1 to {MAX_USES}")


def find_above_ceiling(limits: Limits, limit: str, value: Decimal) -> str:
    """What the raised limit is above, in words; "" if the desk's ceiling leaves room for it."""
    raised = OverrideFacts(override_id=0, limit=limit, value=value)
    return CEILING.find_fault(apply_overrides(limits, (raised,)))


def apply_override(request: ApprovalRequest, actor: Actor) -> None:
    """The effect of the approval: the row that the gate reads, in the vote's transaction."""
    asked = request.subject
    account, limit, value = get_account(asked["account"]), asked["limit"], Decimal(asked["value"])
    bump_book(account)
    _require_released(account)
    limits = get_active_limits(account)
    if limits.digest != asked["limit_set"] or find_fault(limits, limit, value):
        raise LimitsChanged("the account's limits changed since this was asked; ask anew")
    if fault := find_above_ceiling(limits, limit, value):
        raise OverrideInvalid(fault)
    _require_free(account, limit)
    # The database has the last word: it compares this with what was asked, and sets both times itself.
    row = models.Override.objects.create(
        account=account,
        request_id=request.pk,
        limit=limit,
        value=value,
        max_uses=asked["uses"],
        reason=request.reason,
        requested_by=request.proposer_name,
        approved_by=actor.audit_name,
        expires_at=get_database_time() + timedelta(seconds=asked["window_seconds"]),
    )
    row.refresh_from_db()
    audit.record(
        action="risk.override_start",
        actor=actor.audit_name,
        subject_type="override",
        subject_id=row.pk,
        reason=request.reason,
        detail={
            **asked,
            "request": request.pk,
            "requested_by": row.requested_by,
            "expires_at": row.expires_at,
        },
    )


def end_override(*, override_id: int, reason: str, actor: Actor) -> models.Override:
    """End it now; any one designated person may. What was approved under it stays approved."""
    with audit.audited_attempt(
        action="risk.override_end",
        actor=actor.audit_name,
        subject_type="override",
        subject_id=override_id,
        reason=reason,
    ):
        require_person(actor)
        require_any_role(actor, ENDING_ROLES)
        with transaction.atomic():
            return _end(override_id, require_reason(reason), actor.audit_name)


def end_above(find_above: FindAbove, *, reason: str, actor: str) -> list[int]:
    """End every override that raises a limit above the ceiling, in the caller's transaction; their ids."""
    ended = []
    for row in list_active_overrides():
        limits = get_active_limits(row.account)
        raised = OverrideFacts(override_id=row.pk, limit=row.limit, value=row.value)
        if find_above(apply_overrides(limits, (raised,))):
            ended.append(_end(row.pk, reason, actor).pk)
    return ended


def _end(override_id: int, reason: str, actor: str) -> models.Override:
    row = models.Override.objects.select_related("account").filter(pk=override_id).first()
    if row is None:
        raise NotFound(f"override: none has the id {override_id}", code="override_not_found")
    bump_book(row.account)
    ended = models.Override.objects.filter(IN_FORCE, pk=override_id).update(ended_at=Now(), ended_by=actor)
    if ended != 1:
        raise Conflict("the override is over already", code="override_over")
    row.refresh_from_db()
    audit.record(
        action="risk.override_end",
        actor=actor,
        subject_type="override",
        subject_id=row.pk,
        reason=reason,
        detail={"account": row.account.name, "limit": row.limit, "value": row.value, "used": row.used},
    )
    return row


def end_overrides(*, account: Account, reason: str, actor: str) -> list[int]:
    """End everything that is raised of the account, in the caller's transaction; their ids.

    It asks nobody: whoever calls takes risk away and has been asked.
    """
    return [_end(row.pk, reason, actor).pk for row in list_active_overrides(account)]


def _require_released(account: Account) -> None:
    if LATCH.is_held(account):
        raise AccountHeld(f"account {account.name} is held; two people release it first")


def _require_free(account: Account, limit: str) -> None:
    if list_active_overrides(account).filter(limit=limit).exists():
        raise OverrideStands(f"{limit} of {account.name} is raised already; end that first")


def bump_book(account: Account) -> None:
    """No decision that read the facts before this commit can reserve anything after it."""
    models.AccountBook.objects.filter(account=account).update(version=F("version") + 1)


def parse_value(text: str) -> Decimal:
    """The number of a text; raises OverrideInvalid."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise OverrideInvalid(f"value: expected a number, found {text!r}") from None


def describe_override(row: models.Override) -> dict[str, object]:
    """An override as plain JSON."""
    return {
        "id": row.pk,
        "account": row.account.name,
        "limit": row.limit,
        "value": decimal_text(row.value),
        "max_uses": row.max_uses,
        "used": row.used,
        "reason": row.reason,
        "requested_by": row.requested_by,
        "approved_by": row.approved_by,
        "starts_at": row.starts_at.isoformat(),
        "expires_at": row.expires_at.isoformat(),
        "ended_at": None if row.ended_at is None else row.ended_at.isoformat(),
    }


def register_kind() -> None:
    KINDS.register(
        RequestKind(
            name=OVERRIDE,
            title="Raise a limit for a while",
            requester_roles=frozenset({Role.REQUESTER, Role.OPERATOR}),
            approval_ttl=timedelta(hours=1),
            effect=apply_override,
        )
    )
