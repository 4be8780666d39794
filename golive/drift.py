"""The guard's duty of drift: nothing adds risk on other than what was approved.

*Loaded differs from frozen* lets an account only reduce until it is equal again or another freeze is
approved (golive.hotfix). *The file differs from what is loaded* is told to people until it is loaded.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction

from controlplane.alerts.selectors import list_alerts
from controlplane.alerts.services import raise_alert, resolve_alert
from controlplane.audit.services import record
from golive.freeze import Drift, find_drift, find_unloaded
from golive.models import Freeze
from golive.selectors import get_active_config
from golive.standing import (
    ACTOR,
    follow_enabled,
    get_last_activation,
    lift_others,
    list_activated_accounts,
    suspend,
)
from risk.core.emergency_stop import Cause
from risk.models import Decision, Restriction
from risk.reducing.restrictions import note_again
from trading.core.values import Clocks
from trading.models import Account
from trading.selectors import get_clocks

UNLOADED = "config_not_loaded"
NEVER = Drift(group="activation", text="nothing was ever frozen for it")
LONGEST_REASON = 500
CODE = "code"
DECIDED_WITHIN, NEWEST = timedelta(minutes=1), 50


def watch_drift(*, clocks: Clocks) -> None:
    """One look at every activated account and every file; may be repeated."""
    follow_enabled(config=get_active_config(), clocks=clocks)
    drifted = {
        f"account:{account.name}"
        for account in list_activated_accounts()
        if _follow(account, list_drift(account), clocks)
    }
    because = "what is loaded is what was frozen"
    with transaction.atomic():
        lift_others(cause=Cause.DRIFT, but=drifted, because=because, clocks=clocks)
    _tell_unloaded(clocks)


def list_drift(account: Account) -> list[Drift]:
    """What is loaded now and was not frozen for the account's activation; and what other code decides."""
    activation = get_last_activation(account)
    if activation is None:
        return [NEVER]
    found = find_drift(activation.freeze, account)
    others = _list_other_code(activation.freeze, account)
    if others and not any(item.group == CODE for item in found):
        found.append(Drift(group=CODE, text=f"a worker decides with {', '.join(others)}"))
    return found


def _list_other_code(freeze: Freeze, account: Account) -> list[str]:
    """Versions other than the frozen one by which orders of the account were judged lately.

    This process knows its own code only; what another one runs is in what it decides.
    """
    since = max(freeze.taken_at, get_clocks().wall_at - DECIDED_WITHIN)
    rows = Decision.objects.filter(account=account).order_by("-id")
    newest = rows.values_list("code_version", "decided_at")[:NEWEST]
    return sorted({version for version, at in newest if at > since and version != freeze.code_version})


@transaction.atomic
def _follow(account: Account, found: list[Drift], clocks: Clocks) -> bool:
    """Suspend the account for what has drifted; audited when it begins, and when it becomes another."""
    if not found:
        return False
    scope, evidence = f"account:{account.name}", {"groups": {item.group: item.text for item in found}}
    reason = f"not as approved: {'; '.join(str(item) for item in found)}"[:LONGEST_REASON]
    rows = Restriction.objects.select_for_update().filter(scope=scope, cause=Cause.DRIFT.value)
    row = rows.filter(lifted_at__isnull=True).first()
    if row is not None and row.evidence == evidence:
        return True
    _suspend(row, scope, reason, evidence, clocks)
    record(
        action="golive.drift",
        actor=ACTOR,
        subject_type="account",
        subject_id=account.name,
        reason=reason,
        detail=evidence,
    )
    return True


def _suspend(
    row: Restriction | None, scope: str, reason: str, evidence: dict[str, Any], clocks: Clocks
) -> None:
    if row is None:
        suspend(scope=scope, cause=Cause.DRIFT, reason=reason, clocks=clocks, evidence=evidence)
    else:
        note_again(row=row, reason=reason, evidence=evidence, actor=ACTOR, clocks=clocks)


def _tell_unloaded(clocks: Clocks) -> None:
    """One alert for each group whose file is not what is loaded, and its end."""
    found = {item.group: item for item in find_unloaded()}
    for alert in [row for row in list_alerts() if row.code == UNLOADED and row.scope not in found]:
        resolve_alert(code=UNLOADED, scope=alert.scope, wall_at=clocks.wall_at)
    for group, item in found.items():
        with transaction.atomic():
            raise_alert(
                code=UNLOADED,
                severity="warning",
                scope=group,
                text=f"The file is not what is loaded: {item}"[:LONGEST_REASON],
                wall_at=clocks.wall_at,
            )
