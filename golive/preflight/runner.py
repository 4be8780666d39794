"""Runs the checks side by side, each with a deadline; whatever does not answer has failed."""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from functools import cache
from pathlib import Path

from django.db import DatabaseError, connections

from golive.core.values import NOT_COUNTED, CheckName, CheckResult, Finding, Measured
from golive.core.verdict import judge
from golive.preflight import (
    check_database_redis,
    check_exchange_connectivity,
    check_health_endpoints,
    check_observability,
    check_risk_system,
    check_stress_scenarios,
)
from golive.preflight.context import Context, first_line, unreadable_database

Check = Callable[[Context], Measured]
Outcome = tuple[Measured, float]

CHECKS: Mapping[CheckName, Check] = {
    CheckName.HEALTH: check_health_endpoints.measure,
    CheckName.RISK: check_risk_system.measure,
    CheckName.EXCHANGE: check_exchange_connectivity.measure,
    CheckName.DATABASE: check_database_redis.measure,
    CheckName.OBSERVABILITY: check_observability.measure,
    CheckName.STRESS: check_stress_scenarios.measure,
}
DEADLINE_SECONDS: Mapping[CheckName, float] = {
    CheckName.HEALTH: 12.0,
    CheckName.RISK: 15.0,
    CheckName.EXCHANGE: 30.0,
    CheckName.DATABASE: 20.0,
    CheckName.OBSERVABILITY: 30.0,
    CheckName.STRESS: 15.0,
}


def run_checks(
    context: Context,
    names: Sequence[CheckName] = tuple(CheckName),
    *,
    checks: Mapping[CheckName, Check] = CHECKS,
    deadlines: Mapping[CheckName, float] = DEADLINE_SECONDS,
) -> tuple[CheckResult, ...]:
    """Measure the named checks concurrently and judge them together."""
    started = time.monotonic()
    running = {name: _start(name, checks[name], context) for name in names}
    measured: dict[CheckName, Measured] = {}
    seconds: dict[CheckName, float] = {}
    for name, future in sorted(running.items(), key=lambda item: deadlines[item[0]]):
        left = started + deadlines[name] - time.monotonic()
        wait([future], timeout=max(0.0, left))
        measured[name], seconds[name] = _take(name, future, deadlines[name])
    return judge(measured, seconds=seconds, not_counted=NOT_COUNTED[context.purpose])


def _start(name: CheckName, check: Check, context: Context) -> "Future[Outcome]":
    """A thread that never holds up the end of the process, whatever it waits for."""
    future: Future[Outcome] = Future()
    threading.Thread(target=_perform, args=(future, name, check, context), name=name, daemon=True).start()
    return future


def _perform(future: "Future[Outcome]", name: CheckName, check: Check, context: Context) -> None:
    started = time.monotonic()
    try:
        measured = check(context)
    except DatabaseError as error:
        measured = Measured(reason="", findings=(unreadable_database(error, name),))
    # A check that breaks has measured nothing: that is a failure of its own, and never a pass.
    except Exception as error:  # noqa: BLE001
        measured = Measured(reason="", findings=(_crash(name, error),))
    finally:
        connections.close_all()
    future.set_result((measured, time.monotonic() - started))


def _crash(name: CheckName, error: Exception) -> Finding:
    return Finding(
        reason="check_crashed",
        text=f"{type(error).__name__}: {first_line(error)}",
        next=f"python3 manage.py preflight --check {name}",
    )


def _take(name: CheckName, future: "Future[Outcome]", deadline: float) -> Outcome:
    if future.done():
        return future.result()
    late = Finding(
        reason="deadline",
        text=f"no answer within {deadline:g} s",
        next=f"python3 manage.py preflight --check {name}",
    )
    return Measured(reason="", findings=(late,)), deadline


@cache
def get_definition_version(name: CheckName) -> str:
    """SHA-256 over the sources of the check and of what every check shares."""
    folder = Path(__file__).parent
    shared = [path for path in folder.glob("*.py") if not path.name.startswith("check_")]
    shared += (folder.parent / "core").glob("*.py")
    whole = hashlib.sha256()
    for path in (folder / f"{name}.py", *sorted(shared)):
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
