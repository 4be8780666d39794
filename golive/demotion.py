"""A weekly loss takes an account down one rung by itself; MICRO goes to paper (RISK.md part 2).

The permit of the lower rung replaces the present one at once, under no limit more than now, and the account
is held. Nothing is closed by force: the guard's consequences let an oversize position only reduce, and its
entries are taken back as long as the weekly loss stands, which only a new promotion ends.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from controlplane.alerts.services import raise_alert
from controlplane.audit import services as audit
from golive.advancement_rules import get_advancement_rules
from golive.ceiling import get_effective_limits, get_profile_limits
from golive.core.advancement import find_lower
from golive.core.clamping import clamp_limits
from golive.core.words import LADDER, ActivationState, ProgrammeState
from golive.holds import hold_account, lock_account
from golive.models import Activation, Demotion, Programme
from golive.permits import end_permit, replace_permit
from risk.core.emergency_stop import Cause
from risk.limits import get_limits, with_digest
from risk.models import Restriction
from risk.overrides import bump_book, end_overrides
from risk.registration import store_limit_set
from trading.core.values import Clocks, Environment
from trading.models import Account, Permit
from trading.selectors import get_active_permit

ACTOR = "guard:demotion"
ALERT = "demoted"
PAPER, LIVE = "PAPER", "LIVE"


def demote_losers(*, clocks: Clocks) -> list[Demotion]:
    """Demote every live account of this environment whose weekly loss stands and took no rung yet."""
    rows = Restriction.objects.filter(
        cause=Cause.WEEKLY_LOSS.value, lifted_at__isnull=True, demotion__isnull=True
    ).order_by("id")
    names = {
        f"account:{row.name}": row for row in Account.objects.filter(environment=settings.TRADING_ENVIRONMENT)
    }
    made = [
        demote_account(account=names[row.scope], cause=row, clocks=clocks)
        for row in rows
        if row.scope in names
    ]
    return [row for row in made if row is not None]


@transaction.atomic
def demote_account(*, account: Account, cause: Restriction, clocks: Clocks) -> Demotion | None:
    """One rung down for this weekly loss; None where it was done, or the account is not live."""
    lock_account(account)
    permit = get_active_permit(account)
    if permit is None or permit.kind != LIVE or Demotion.objects.filter(restriction=cause).exists():
        return None
    lower = find_lower(permit.profile)
    reason = f"demoted from {permit.profile} to {lower or 'paper'}: {cause.reason}"
    begun = _begin_lower(account, permit, lower, reason, clocks)
    bump_book(account)
    end_overrides(account=account, reason=reason, actor=ACTOR)
    _end_activation(account, permit, reason)
    hold_account(account=account, reason=reason, actor=ACTOR, clocks=clocks)
    row = Demotion.objects.create(
        account=account,
        restriction=cause,
        from_profile=permit.profile,
        to_profile=lower or "",
        permit=begun,
        barred_until=None if lower else clocks.market_at + timedelta(days=get_advancement_rules().paper_days),
        market_at=clocks.market_at,
    )
    _tell(row, permit, reason, clocks)
    return row


def _begin_lower(
    account: Account, permit: Permit, lower: str | None, reason: str, clocks: Clocks
) -> Permit | None:
    """The permit of the lower rung; of MICRO a paper one, and where that cannot be, none."""
    if lower is None and account.environment != Environment.PAPER:
        end_permit(permit=permit, actor=ACTOR, reason=reason, wall_at=clocks.wall_at)
        return None
    target = get_effective_limits(get_profile_limits(lower or LADDER[0]))
    current = get_limits(permit.limit_set_digest)
    if current is not None:
        target = with_digest(clamp_limits(target, current))
    stored = store_limit_set(limits=target, actor=ACTOR, reason=reason)
    return replace_permit(
        account=account,
        kind=LIVE if lower else PAPER,
        profile=target.profile,
        limit_set_digest=stored.digest,
        actor=ACTOR,
        reason=reason,
        wall_at=clocks.wall_at,
    )


def _end_activation(account: Account, permit: Permit, reason: str) -> None:
    """What was activated is over, and with it a programme that still observed it."""
    activation = Activation.objects.filter(account=account, permit=permit, ended_at__isnull=True).first()
    if activation is None:
        return
    Activation.objects.filter(pk=activation.pk, ended_at__isnull=True).update(
        state=ActivationState.SUPERSEDED.value, ended_at=Now(), version=F("version") + 1
    )
    closed = Programme.objects.filter(pk=activation.programme_id, state=ProgrammeState.OPEN.value).update(
        state=ProgrammeState.ROLLED_BACK.value, closed_at=Now(), outcome=reason, version=F("version") + 1
    )
    if closed:
        audit.record(
            action="golive.programme_close",
            actor=ACTOR,
            subject_type="account",
            subject_id=account.name,
            reason=reason,
            detail={"programme": activation.programme_id, "state": ProgrammeState.ROLLED_BACK.value},
        )


def _tell(row: Demotion, permit: Permit, reason: str, clocks: Clocks) -> None:
    raise_alert(
        code=ALERT,
        severity="critical",
        scope=f"account:{row.account.name}",
        text=f"{row.account.name} was {reason}",
        wall_at=clocks.wall_at,
    )
    audit.record(
        action="golive.demote",
        actor=ACTOR,
        subject_type="account",
        subject_id=row.account.name,
        reason=reason,
        detail={
            "demotion": row.pk,
            "restriction": row.restriction_id,
            "from": permit.limit_set_digest,
            "to": "" if row.permit is None else row.permit.limit_set_digest,
            "barred_until": row.barred_until,
        },
    )


def get_barred_until(account: Account) -> datetime | None:
    """Until when (market time) the account stays on paper after MICRO was taken from it; None if never."""
    row = Demotion.objects.filter(account=account, barred_until__isnull=False).order_by("-id").first()
    return None if row is None else row.barred_until
