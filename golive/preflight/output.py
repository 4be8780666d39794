"""A report as text, in the shape of the seed's appendix, and as data."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from golive.core.values import CheckResult, CheckStatus, Purpose
from golive.runs import Report

LINE = "=" * 78
INDENT = " " * 7
HEADER = f"{LINE}\nQUANTUM TRADER CONTROL PLANE - PRE-FLIGHT CHECK\n{LINE}\n\nRunning pre-flight checks...\n"
MARKS: Mapping[CheckStatus, str] = {
    CheckStatus.PASS: "✅ PASS",
    CheckStatus.FAIL: "❌ FAIL",
    CheckStatus.INCONCLUSIVE: "❔ INCONCLUSIVE",
    CheckStatus.NOT_APPLICABLE: "◽ NOT APPLICABLE",
}
REFUSAL: Mapping[Purpose, str] = {
    Purpose.GOLIVE: "DO NOT ENABLE REAL TRADING",
    Purpose.REARM: "DO NOT RE-ARM",
}


def write_text(report: Report) -> str:
    """Everything below the header: results, counts, verdict, and what to do next."""
    parts = [*(write_result(result) for result in report.results), write_verdict(report)]
    if report.failed_count:
        parts.append("\n".join(write_plan(report)))
    return "\n".join(parts)


def write_result(result: CheckResult) -> str:
    counted = "" if result.is_counted else " (not counted)"
    lines = [f"{MARKS[result.status]} | {result.name}{counted}"]
    lines.append(f"{INDENT}Reason: {write_reason(result)}")
    lines += [f"{INDENT}{name}: {value}" for name, value in flatten(result.details)]
    return "\n".join(lines) + "\n"


def write_reason(result: CheckResult) -> str:
    return f"{result.reason}: {result.text}" if result.text else result.reason


def flatten(details: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as dotted names."""
    for name, value in details.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{prefix}{name}", "none" if value is None else str(value)


def write_verdict(report: Report) -> str:
    counts = f"RESULTS: {report.passed_count} passed, {report.failed_count} failed"
    verdict = "✅ PRE-FLIGHT CHECK PASSED"
    if not report.is_passed:
        verdict = f"⚠️  PRE-FLIGHT CHECK FAILED - {REFUSAL[report.purpose]}"
    lines = [LINE, counts, LINE, "", verdict]
    if report.unsaved:
        lines.append(f"NOT PERSISTED: {report.unsaved}")
    return "\n".join(lines) + "\n"


def write_plan(report: Report) -> Iterator[str]:
    """One step per failure; what depends on another check comes after it."""
    yield "BLOCKER PLAN"
    number = 0
    for result in sorted(list_blockers(report), key=lambda item: item.status is CheckStatus.INCONCLUSIVE):
        number += 1
        yield f"STEP {number}: {result.name}: {write_reason(result)}"
        yield f"{INDENT}{result.next}"
    yield f"STEP {number + 1}: run the pre-flight again"
    yield f"{INDENT}python3 manage.py preflight --purpose {report.purpose}"


def list_blockers(report: Report) -> list[CheckResult]:
    return [result for result in report.results if result.is_counted and not result.status.is_good]


def as_data(report: Report) -> dict[str, Any]:
    """What `preflight --json` prints."""
    return {
        "run_id": report.run_id,
        "purpose": report.purpose.value,
        "passed": report.passed_count,
        "failed": report.failed_count,
        "is_passed": report.is_passed,
        "seconds": round(report.seconds, 3),
        "unsaved": report.unsaved,
        "checks": [
            {
                "name": result.name.value,
                "status": result.status.value,
                "reason": result.reason,
                "text": result.text,
                "details": json.loads(json.dumps(result.details, default=str)),
                "seconds": round(result.seconds, 3),
                "next": result.next,
                "is_counted": result.is_counted,
            }
            for result in report.results
        ],
    }
