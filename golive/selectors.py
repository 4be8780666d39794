"""Reads of permission."""

from typing import Any

from django.db.models import QuerySet

from controlplane.errors import NotFound
from golive.core.values import CheckName, CheckStatus, Purpose
from golive.models import GoLiveConfig, PreflightCheck, PreflightRun, Rollback, StressResult
from trading.models import Account, Permit

PHASES = ("none", "paper", "live")


def get_active_config() -> GoLiveConfig | None:
    """The ceiling in force: config/go_live.yaml as last loaded; None where it never was."""
    return GoLiveConfig.objects.order_by("-id").first()


def get_latest_run(
    purpose: Purpose = Purpose.GOLIVE, *, is_complete: bool | None = None
) -> PreflightRun | None:
    """The newest finished run of the purpose."""
    rows = PreflightRun.objects.filter(purpose=purpose.value, finished_at__isnull=False)
    if is_complete is not None:
        rows = rows.filter(is_complete=is_complete)
    return rows.order_by("-id").first()


def get_latest_statuses() -> dict[CheckName, CheckStatus | None]:
    """What each check last said, whatever run it was part of; None if it was never run."""
    rows = PreflightCheck.objects.order_by("name", "-id").distinct("name").values_list("name", "status")
    found = dict(rows)
    return {name: CheckStatus(found[name]) if name in found else None for name in CheckName}


def list_phases() -> dict[str, str]:
    """The phase of each account: what its active permit allows."""
    kinds = {
        permit.account_id: "live" if permit.kind == "LIVE" else "paper"
        for permit in Permit.objects.filter(active=True)
    }
    return {account.name: kinds.get(account.pk, "none") for account in Account.objects.order_by("name")}


def get_latest_stress_results(code_version: str) -> dict[str, StressResult]:
    """The newest result of each scenario on this code version."""
    rows = StressResult.objects.filter(code_version=code_version).order_by("scenario", "-finished_at")
    return {row.scenario: row for row in rows.distinct("scenario")}


def get_run(run_id: int) -> PreflightRun:
    """Raises NotFound."""
    run = PreflightRun.objects.filter(pk=run_id).first()
    if run is None:
        raise NotFound(f"pre-flight: no run {run_id}", code="run_not_found")
    return run


def list_checks(run: PreflightRun) -> QuerySet[PreflightCheck]:
    return PreflightCheck.objects.filter(run=run).order_by("id")


def list_rollbacks(account: Account, *, before_id: int | None = None) -> QuerySet[Rollback]:
    """Every rollback of the account, the newest first, of those older than `before_id`."""
    rows = Rollback.objects.filter(account=account).select_related("account").order_by("-id")
    return rows if before_id is None else rows.filter(id__lt=before_id)


def describe_rollback(row: Rollback) -> dict[str, Any]:
    """A rollback as plain JSON; `seconds` is from its beginning until it was read back."""
    ended = row.finished_at
    return {
        "rollback_id": row.pk,
        "account": row.account.name,
        "activation_id": row.activation_id,
        "trigger": row.trigger,
        "actor": row.actor,
        "reason": row.reason,
        "from_limit_set_digest": row.from_limit_set_digest,
        "to_limit_set_digest": row.to_limit_set_digest,
        "is_clamped": row.is_clamped,
        "state": row.state,
        "steps": row.steps,
        "impact": row.impact,
        "started_at": row.started_at.isoformat(),
        "finished_at": None if ended is None else ended.isoformat(),
        "seconds": None if ended is None else round((ended - row.started_at).total_seconds(), 3),
        "resolved_by": row.resolved_by,
    }
