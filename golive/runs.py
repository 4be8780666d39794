"""Pre-flight runs: measured, judged and kept."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models.functions import Now

import risk.services
from controlplane.audit import services as audit
from controlplane.code_version import get_code_version
from controlplane.errors import Conflict, InvalidInput, NotFound
from controlplane.process import start_detached
from golive.core.values import CheckName, CheckResult, Purpose
from golive.core.verdict import is_passed
from golive.models import PreflightCheck, PreflightRun
from golive.preflight.context import Context, first_line
from golive.preflight.runner import get_definition_version, run_checks
from trading.selectors import get_account

# A run that was started this lately and has not ended is the one a second request gets.
RUNNING_FOR = timedelta(seconds=60)
_START_LOCK = 7_430_002


class RunFinished(Conflict):
    """The run has its results already."""

    code = "run_finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a run. `run_id` is None and `unsaved` says why where it could not be kept."""

    run_id: int | None
    purpose: Purpose
    results: tuple[CheckResult, ...]
    seconds: float
    unsaved: str = ""

    @property
    def is_passed(self) -> bool:
        """A result that nobody can look up later is no evidence."""
        return self.run_id is not None and is_passed(self.results)

    @property
    def passed_count(self) -> int:
        return sum(result.status.is_good for result in self.results if result.is_counted)

    @property
    def failed_count(self) -> int:
        return sum(not result.status.is_good for result in self.results if result.is_counted)


def run_preflight(
    *,
    purpose: str = Purpose.GOLIVE,
    names: Sequence[str] = (),
    actor: str,
    account: str = "",
    is_scheduled: bool = False,
    run_id: int | None = None,
) -> Report:
    """Run the named checks, or all, and keep the results; works, unsaved, without a database.

    `run_id` continues what `start_preflight` began. Raises InvalidInput, NotFound and RunFinished.
    """
    context = Context(purpose=parse_purpose(purpose), account=account, is_scheduled=is_scheduled)
    chosen = parse_names(names)
    trouble = ""
    try:
        run_id = open_run(context, chosen, actor).pk if run_id is None else _require_open(run_id).pk
    except DatabaseError as error:
        trouble = _note(error)
    started = time.monotonic()
    results = run_checks(context, chosen)
    report = Report(
        run_id=run_id, purpose=context.purpose, results=results, seconds=time.monotonic() - started
    )
    try:
        # The database may have come back meanwhile.
        kept_id = open_run(context, chosen, actor).pk if trouble or run_id is None else run_id
        return _finish(kept_id, report, actor)
    except DatabaseError as error:
        return Report(
            run_id=None, purpose=report.purpose, results=results, seconds=report.seconds,
            unsaved=trouble or _note(error),
        )  # fmt: skip


def _note(error: DatabaseError) -> str:
    connection.close()
    return first_line(error)


def parse_purpose(text: str) -> Purpose:
    if text not in list(Purpose):
        raise InvalidInput(f"purpose: expected one of {', '.join(Purpose)}, found {text!r}")
    return Purpose(text)


def parse_names(names: Sequence[str]) -> tuple[CheckName, ...]:
    """The checks in the documented order; all where none is named."""
    for name in names:
        if name not in list(CheckName):
            raise InvalidInput(f"check: expected one of {', '.join(CheckName)}, found {name!r}")
    return tuple(name for name in CheckName if not names or name in names)


def open_run(context: Context, names: Sequence[CheckName], actor: str) -> PreflightRun:
    """Keep that a run has begun; raises NotFound for an unknown account."""
    if context.account:
        get_account(context.account)
    return PreflightRun.objects.create(
        purpose=context.purpose.value,
        actor=actor,
        environment=settings.TRADING_ENVIRONMENT,
        account=context.account,
        code_version=get_code_version(),
        is_complete=set(names) == set(CheckName),
    )


def _require_open(run_id: int) -> PreflightRun:
    run = PreflightRun.objects.filter(pk=run_id).first()
    if run is None:
        raise NotFound(f"pre-flight: no run {run_id}", code="run_not_found")
    if run.finished_at is not None:
        raise RunFinished(f"pre-flight: run {run_id} is finished")
    return run


@transaction.atomic(durable=True)
def _finish(run_id: int, report: Report, actor: str) -> Report:
    """Keep every check and the verdict, once; the audit event carries the verdicts."""
    kept = Report(run_id=run_id, purpose=report.purpose, results=report.results, seconds=report.seconds)
    PreflightCheck.objects.bulk_create(_make_row(run_id, result) for result in report.results)
    finished = PreflightRun.objects.filter(pk=run_id, finished_at=None).update(
        finished_at=Now(),
        is_passed=kept.is_passed,
        passed_count=kept.passed_count,
        failed_count=kept.failed_count,
        seconds=round(kept.seconds, 3),
    )
    if finished != 1:
        raise RunFinished(f"pre-flight: run {run_id} is finished")
    _report_rearm(run_id)
    audit.record(
        action="golive.preflight",
        actor=actor,
        subject_type="preflight_run",
        subject_id=run_id,
        detail={
            "purpose": kept.purpose.value,
            "is_passed": kept.is_passed,
            "code_version": get_code_version(),
            "checks": {item.name.value: f"{item.status}: {item.reason}" for item in kept.results},
        },
    )
    return kept


def _report_rearm(run_id: int) -> None:
    """Re-arming stands on complete runs of its purpose, whatever their verdict; risk keeps them."""
    run = PreflightRun.objects.get(pk=run_id)
    if run.purpose != Purpose.REARM or not run.is_complete or run.finished_at is None:
        return
    risk.services.record_rearm_check(
        run_id=run.pk,
        account=run.account,
        environment=run.environment,
        code_version=run.code_version,
        is_passed=bool(run.is_passed),
        started_at=run.started_at,
        finished_at=run.finished_at,
    )


def _make_row(run_id: int, result: CheckResult) -> PreflightCheck:
    return PreflightCheck(
        run_id=run_id,
        name=result.name.value,
        status=result.status.value,
        reason=result.reason,
        text=result.text,
        details=dict(result.details),
        seconds=round(result.seconds, 3),
        next_command=result.next,
        is_counted=result.is_counted,
        definition_version=get_definition_version(result.name),
    )


def start_preflight(
    *, purpose: str = Purpose.GOLIVE, actor: str, account: str = "", is_scheduled: bool = False
) -> PreflightRun:
    """Begin a complete run in a process of its own, or return the one that is under way.

    It works without a worker, loads venues outside the web process, and outlives its caller.
    """
    context = Context(purpose=parse_purpose(purpose), account=account, is_scheduled=is_scheduled)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s), clock_timestamp()", [_START_LOCK])
        now = cursor.fetchone()[1]
        under_way = PreflightRun.objects.filter(
            purpose=context.purpose.value,
            account=account,
            is_complete=True,
            finished_at=None,
            started_at__gt=now - RUNNING_FOR,
        ).first()
        if under_way is not None:
            return under_way
        run = open_run(context, tuple(CheckName), actor)
    transaction.on_commit(lambda: _spawn(run, is_scheduled=is_scheduled))
    return run


def _spawn(run: PreflightRun, *, is_scheduled: bool) -> None:
    scheduled = ("--scheduled",) if is_scheduled else ()
    start_detached("preflight", "--run", str(run.pk), *scheduled)
