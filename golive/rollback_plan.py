"""What an account goes back to: the last confirmed limits, clamped to no more than now, else nothing."""

from dataclasses import dataclass

from golive.core.clamping import clamp_limits, list_lowered
from golive.core.words import ActivationState
from golive.models import Activation
from risk.core.values import Limits
from risk.limits import get_limits, with_digest
from trading.models import Account, Permit
from trading.selectors import get_active_permit

# What was taken back once is nothing to go back to.
GOOD = (ActivationState.CONFIRMED.value, ActivationState.SUPERSEDED.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`after` None is a halt. `standing` is the activation that is taken back, where one stands."""

    standing: Activation | None
    permit: Permit | None
    target: Activation | None
    after: Limits | None
    is_clamped: bool


def make_plan(account: Account) -> Plan:
    """Read under the account's lock. A way back that lowers no limit is none: that is a halt."""
    standing = (
        Activation.objects.select_related("programme").filter(account=account, ended_at__isnull=True).first()
    )
    permit = get_active_permit(account)
    target = find_target(account, standing)
    before = None if permit is None else get_limits(permit.limit_set_digest)
    wanted = None if target is None else get_limits(target.limit_set_digest)
    after = None if before is None or wanted is None else with_digest(clamp_limits(wanted, before))
    if before is None or after is None or not list_lowered(before, after):
        return Plan(standing=standing, permit=permit, target=None, after=None, is_clamped=False)
    return Plan(
        standing=standing,
        permit=permit,
        target=target,
        after=after,
        is_clamped=wanted is None or after.digest != wanted.digest,
    )


def find_target(account: Account, standing: Activation | None) -> Activation | None:
    """The last that a person confirmed and that was never taken back, before the one that stands."""
    rows = Activation.objects.filter(account=account, confirmed_at__isnull=False, state__in=GOOD)
    if standing is not None:
        rows = rows.filter(pk__lt=standing.pk)
    return rows.order_by("-confirmed_at", "-id").first()
