"""Accounts that were activated, and what the configuration in force does with them."""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q

from golive.ceiling import is_enabled
from golive.models import Activation, GoLiveConfig
from risk.core.emergency_stop import Cause, parse_scope
from risk.models import Restriction
from risk.reducing.restrictions import lift, restrict
from risk.stops.emergency import lapse_entries
from trading.core.values import Clocks
from trading.models import Account

ACTOR = "guard:drift"
NOT_ENABLED = "go_live.yaml as loaded does not enable activation"


def list_activated_accounts() -> list[Account]:
    """Every account with a live permit or an activation that stands, in the order of their names."""
    live = Q(permits__active=True, permits__kind="LIVE") | Q(
        activations__isnull=False, activations__ended_at__isnull=True
    )
    return list(Account.objects.filter(live).distinct().order_by("name"))


def get_last_activation(account: Account) -> Activation | None:
    """The one that stands or, where only its permit does, the newest."""
    rows = Activation.objects.select_related("freeze", "config", "account")
    return rows.filter(account=account).order_by("-id").first()


@transaction.atomic
def follow_enabled(*, config: GoLiveConfig | None, clocks: Clocks) -> None:
    """Let activated accounts only reduce while the configuration does not enable them, and lift it after."""
    scopes = {f"account:{account.name}" for account in list_activated_accounts()}
    if is_enabled(config):
        scopes = set()
    for scope in sorted(scopes):
        suspend(scope=scope, cause=Cause.NOT_ENABLED, reason=NOT_ENABLED, clocks=clocks)
    lift_others(cause=Cause.NOT_ENABLED, but=scopes, because="activation is enabled again", clocks=clocks)


def suspend(
    *,
    scope: str,
    cause: Cause,
    reason: str,
    clocks: Clocks,
    evidence: dict[str, object] | None = None,
) -> None:
    """No new risk from this commit on: what is approved and not yet sent lapses."""
    lapse_entries(parse_scope(scope))
    restrict(scope=scope, cause=cause, reason=reason, actor=ACTOR, clocks=clocks, evidence=evidence)


def lift_others(*, cause: Cause, but: Iterable[str], because: str, clocks: Clocks) -> None:
    """End the cause wherever it stands and has no reason any more."""
    rows = Restriction.objects.filter(lifted_at__isnull=True, cause=cause.value).exclude(scope__in=but)
    for scope in rows.order_by("id").values_list("scope", flat=True):
        lift(scope=scope, cause=cause, because=because, actor=ACTOR, clocks=clocks)
