"""Reads of permission."""

from django.db.models import QuerySet

from controlplane.errors import NotFound
from golive.core.values import CheckName, CheckStatus, Purpose
from golive.models import PreflightCheck, PreflightRun, StressResult
from trading.models import Account, Permit

PHASES = ("none", "paper", "live")


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
