"""Permission as it travels over HTTP: pre-flight runs, programmes and requests to go live."""

from typing import Any, Literal

from ninja import Field, Schema
from pydantic import ConfigDict

from controlplane.approvals.describing import describe_request
from controlplane.approvals.models import ApprovalRequest
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


class GoliveRequestIn(Schema):
    """Without a profile the programme that is open, or the default of config/go_live.yaml."""

    model_config = ConfigDict(extra="forbid")

    account: str = Field(max_length=40, pattern=r"^[-a-zA-Z0-9_]+$")
    profile: Literal["", "MICRO", "SMALL", "MEDIUM", "LARGE"] = ""
    reason: str = Field(max_length=2000)


class GoliveConditionOut(Schema):
    """One condition as of now; `code` is its refusal, "" where it is met."""

    name: str
    is_met: bool
    code: str
    text: str
    next: str


class GoliveRequestOut(Schema):
    """A request to go live. `subject` is everything that its digest covers."""

    request_id: str
    state: str
    digest: str
    subject: dict[str, Any]
    approval: str
    proposer: str
    reason: str
    required_approvals: int
    approve_by: Moment
    execute_by: Moment
    votes: list[dict[str, str]]
    conditions: list[GoliveConditionOut]


class GoliveProgrammeOut(Schema):
    """Where the programme stands; `waits_until` is market time and nothing shortens it."""

    id: int
    profile: str
    phase: str
    state: str
    since_at: Moment
    waits_until: Moment
    freeze: str | None
    conditions: list[GoliveConditionOut]


class GoliveActivationOut(Schema):
    id: int
    profile: str
    state: str
    limit_set: str
    request_id: str
    requested_by: str
    approved_by: list[str]
    activated_by: str
    approval: str
    activated_at: Moment
    confirmed_at: Moment | None


class GoliveOut(Schema):
    """One account: its permit, its programme, what is asked and what stands."""

    account: str
    environment: str
    permit: str | None
    profile: str | None
    limit_set: str | None
    is_held: bool
    programme: GoliveProgrammeOut | None
    request: GoliveRequestOut | None
    activation: GoliveActivationOut | None


def golive_request_out(row: ApprovalRequest) -> GoliveRequestOut:
    facts = describe_request(row)
    return GoliveRequestOut(request_id=facts.pop("id"), **facts)


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
