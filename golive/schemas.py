"""Permission as it travels over HTTP: pre-flight runs."""

from typing import Any, Literal

from ninja import Field, Schema
from pydantic import ConfigDict

from controlplane.wire import Moment
from golive.core.values import CheckStatus
from golive.models import PreflightCheck, PreflightRun
from golive.selectors import list_checks


class PreflightIn(Schema):
    model_config = ConfigDict(extra="forbid")

    purpose: Literal["golive", "rearm"] = "golive"
    account: str = Field("", max_length=40, pattern=r"^[-a-zA-Z0-9_]*$")


class PreflightCheckOut(Schema):
    """What one check measured; `next` is the exact command that comes next, "" for a pass."""

    name: str
    status: CheckStatus
    reason: str
    text: str
    details: dict[str, Any]
    seconds: float
    next: str
    is_counted: bool


class PreflightRunOut(Schema):
    """One run. While it is running the counts are 0 and there is no check yet."""

    run_id: int
    purpose: str
    account: str
    state: Literal["running", "passed", "failed"]
    passed: int
    failed: int
    started_at: Moment
    finished_at: Moment | None
    actor: str
    code_version: str
    checks: list[PreflightCheckOut]


def run_out(run: PreflightRun) -> PreflightRunOut:
    verdicts: dict[bool | None, Literal["running", "passed", "failed"]] = {
        None: "running",
        True: "passed",
        False: "failed",
    }
    return PreflightRunOut(
        run_id=run.pk,
        purpose=run.purpose,
        account=run.account,
        state=verdicts[run.is_passed],
        passed=run.passed_count,
        failed=run.failed_count,
        started_at=run.started_at,
        finished_at=run.finished_at,
        actor=run.actor,
        code_version=run.code_version,
        checks=[_check_out(check) for check in list_checks(run)],
    )


def _check_out(check: PreflightCheck) -> PreflightCheckOut:
    return PreflightCheckOut(
        name=check.name,
        status=CheckStatus(check.status),
        reason=check.reason,
        text=check.text,
        details=check.details,
        seconds=check.seconds,
        next=check.next_command,
        is_counted=check.is_counted,
    )
