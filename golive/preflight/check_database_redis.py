"""Do database, broker, workers and the watching processes do their work?"""

from datetime import datetime

from golive import canaries
from golive.core.values import Finding, Measured
from golive.preflight.broker import measure_redis, measure_worker
from golive.preflight.context import SILENCE_SECONDS, Context, Details, restart
from golive.preflight.database import measure_database
from trading.selectors import get_clocks, list_heartbeats

# process -> the heartbeats of which the freshest counts
WATCHED = {
    "beat": ("beat",),
    "guard": ("guard:sweep", "guard:triggers", "guard:risk", "guard:leases"),
    "worker": ("worker",),
}


def measure(context: Context) -> Measured:
    database = measure_database()
    cache, cache_findings = measure_redis()
    details: Details = {"database": database.details, "redis": cache}
    findings = [*database.findings, *cache_findings]
    if database.nonce is not None:
        if cache.get("reachable", True):
            details["worker"], worker_findings = measure_worker(database.nonce)
            findings += worker_findings
        details["heartbeats"], silent = _measure_heartbeats()
        findings += silent
        canaries.forget_canary(database.nonce)
    return Measured(reason="stores_and_workers_ok", details=details, findings=tuple(findings))


def _measure_heartbeats() -> tuple[Details, list[Finding]]:
    """Ages by process; of the guard every duty must show life."""
    now, beats = get_clocks().wall_at, list_heartbeats()
    details: Details = {}
    findings = []
    for process, names in WATCHED.items():
        ages = {name: _age(beats[name].beat_at, now) if name in beats else None for name in names}
        details |= ages
        silent = [name for name, age in ages.items() if age is None or age > SILENCE_SECONDS]
        if silent:
            text = "no sign of life: " + ", ".join(_say_age(name, ages[name]) for name in silent)
            findings.append(Finding(reason=f"{process}_silent", text=text, next=restart(process)))
    return details, findings


def _age(at: datetime, now: datetime) -> float:
    return round(max(0.0, (now - at).total_seconds()), 1)


def _say_age(name: str, age: float | None) -> str:
    return f"{name} never" if age is None else f"{name} for {age} s"
