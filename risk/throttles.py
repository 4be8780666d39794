"""The repeated-execution throttle: only a person starts a throttled strategy again (RTS 6 art. 15)."""

from django.db.models import F, QuerySet

from controlplane.alerts.services import resolve_alert
from controlplane.approvals.core import Actor, Role
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.requests import require_reason
from controlplane.approvals.second_factor import keeping_codes, spend_code
from controlplane.approvals.selectors import get_database_time, get_user
from controlplane.approvals.services import require_any_role
from controlplane.audit import services as audit
from controlplane.audit.canonical import digest_of
from controlplane.errors import Conflict
from risk import models
from trading.models import Account

ENABLING_ROLES = frozenset({Role.OPERATOR, Role.APPROVER})
ACTION = "risk.throttle_reenable"
DIGEST_DOMAIN = "throttle-reenable-v1"


class NotThrottled(Conflict):
    """The strategy is not throttled in this symbol (any more)."""

    code = "not_throttled"


def list_throttled(account: Account | None = None) -> QuerySet[models.Activity]:
    """Every strategy and symbol that waits for a person, the longest waiting first."""
    rows = models.Activity.objects.filter(throttled_at__isnull=False).select_related("account")
    return (rows if account is None else rows.filter(account=account)).order_by("throttled_at", "id")


def digest_of_throttle(row: models.Activity) -> str:
    """What a code is bound to: this throttling of this strategy in this symbol, and no later one."""
    return digest_of(
        DIGEST_DOMAIN,
        {
            "account": row.account.name,
            "strategy": row.strategy,
            "symbol": row.symbol,
            "entries": row.entries,
            "throttled_at": row.throttled_at,
        },
    )


def reenable_throttle(
    *,
    account: Account,
    strategy: str,
    symbol: str,
    reason: str,
    actor: Actor,
    otp: str | None,
    digest: str | None = None,
) -> models.Activity:
    """Count from nothing again. One operator or approver, a person, with a code; audited, denied or not.

    `digest` is that of the throttling which the person was shown. Raises NotThrottled, NoPerson,
    NotDesignated and what `spend_code` raises.
    """
    subject = f"{account.name} {strategy} {symbol}"
    with audit.audited_attempt(
        action=ACTION, actor=actor.audit_name, subject_type="throttle", subject_id=subject, reason=reason
    ):
        require_person(actor)
        require_any_role(actor, ENABLING_ROLES)
        said = require_reason(reason)
        with keeping_codes():
            return _reenable(account, strategy, symbol, said, actor, otp, digest)


def _reenable(
    account: Account,
    strategy: str,
    symbol: str,
    reason: str,
    actor: Actor,
    otp: str | None,
    digest: str | None,
) -> models.Activity:
    # The book first, as the gate takes them: no decision of before this commit reserves after it.
    models.AccountBook.objects.filter(account=account).update(version=F("version") + 1)
    found = models.Activity.objects.select_for_update(of=("self",)).select_related("account")
    row = found.filter(account=account, strategy=strategy, symbol=symbol, throttled_at__isnull=False).first()
    if row is None or digest not in {None, digest_of_throttle(row)}:
        raise NotThrottled(f"{strategy} in {symbol} of {account.name}: no such throttling stands")
    shown = digest_of_throttle(row)
    spend_code(user=get_user(actor.name), code=otp, action=ACTION, digest=shown)
    before = {"entries": row.entries, "throttled_at": row.throttled_at, "digest": shown}
    row.entries, row.throttled_at, row.window_started_at = 0, None, None
    row.save(update_fields=["entries", "throttled_at", "window_started_at"])
    subject = f"{account.name} {strategy} {symbol}"
    resolve_alert(code="strategy_throttled", scope=subject, wall_at=get_database_time())
    audit.record(
        action=ACTION,
        actor=actor.audit_name,
        subject_type="throttle",
        subject_id=subject,
        reason=reason,
        detail=before,
    )
    return row


def describe_throttle(row: models.Activity) -> dict[str, object]:
    """A throttling as plain JSON; `throttled_at` null is none."""
    return {
        "account": row.account.name,
        "strategy": row.strategy,
        "symbol": row.symbol,
        "entries": row.entries,
        "throttled_at": None if row.throttled_at is None else row.throttled_at.isoformat(),
    }
