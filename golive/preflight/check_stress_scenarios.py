"""Has each of the seven scenarios passed lately, on this code?"""

from datetime import datetime, timedelta

from controlplane.code_version import get_code_version
from golive.core.values import Finding, Measured
from golive.models import StressResult
from golive.preflight.context import Context, Details
from golive.preflight.scenarios import MAX_AGES
from golive.selectors import get_latest_stress_results
from trading.selectors import get_clocks

RUN = "python3 manage.py stress run"


def measure(context: Context) -> Measured:
    code_version, now = get_code_version(), get_clocks().wall_at
    results = get_latest_stress_results(code_version)
    states = {name: _judge(results.get(name), age, now) for name, age in MAX_AGES.items()}
    details: Details = {"scenario_count": len(states), "code_version": code_version[:12], **states}
    findings = []
    for reason in ("failed", "never_run", "too_old"):
        if names := [name for name, state in states.items() if state == reason]:
            step = f"{RUN} --all" if len(names) == len(states) else f"{RUN} {' '.join(names)}"
            findings.append(Finding(reason=reason, text=", ".join(names), next=step))
    return Measured(reason="all_scenarios_passed", details=details, findings=tuple(findings))


def _judge(result: StressResult | None, max_age: timedelta, now: datetime) -> str:
    if result is None:
        return "never_run"
    if not result.is_passed:
        return "failed"
    return "too_old" if now - result.finished_at > max_age else "passed"
