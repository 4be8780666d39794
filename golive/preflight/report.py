"""The pre-launch validation report: the seed's twelve sections, from measured evidence only.

A line that nothing has measured says so; nothing here is asserted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings

from controlplane.code_version import get_code_version
from controlplane.documents import Code, Document, Section, Table, Text
from golive.core.advancement import NOT_MEASURED
from golive.core.values import CheckName, CheckResult, CheckStatus
from golive.preflight import output
from golive.preflight.scenarios import MAX_AGES
from golive.runs import Report
from golive.validation_evidence import Evidence
from risk.core.values import Limits
from risk.limits import load_profiles

Rows = list[tuple[str, ...]]


def make_document(
    report: Report, evidence: Evidence | None = None, *, at: datetime | None = None
) -> Document:
    """The twelve sections; without evidence they tell what the checks measured, and that the rest is not."""
    results = {result.name: result for result in report.results}
    return Document(
        title="Pre-launch validation report",
        facts=(
            ("Verdict", _verdict(report, evidence)),
            ("Subject", NOT_MEASURED if evidence is None else evidence.subject),
            ("Written at", NOT_MEASURED if at is None else at.isoformat()),
            ("Environment", settings.TRADING_ENVIRONMENT),
            ("Purpose", report.purpose.value),
            ("Run", "not persisted" if report.run_id is None else str(report.run_id)),
            ("Code version", get_code_version()),
        ),
        sections=tuple(_sections(report, results, evidence)),
    )


def _sections(
    report: Report, results: Mapping[CheckName, CheckResult], evidence: Evidence | None
) -> Iterator[Section]:
    profile = "MICRO" if evidence is None else evidence.profile
    limits = load_profiles()[profile] if evidence is None else evidence.limits

    def rows(name: str) -> Table | Text:
        return Text(f"{name}: {NOT_MEASURED}") if evidence is None else getattr(evidence, name)

    yield _results(report)
    gate = _evidence(results, CheckName.RISK, ("gate",))
    yield Section("2. Risk gate verification", (gate, rows("decisions")))
    stop = _evidence(results, CheckName.RISK, ("ess", "global_risk"))
    yield Section("3. Emergency stop verification", (stop, rows("stops")))
    venue = _evidence(results, CheckName.EXCHANGE)
    yield Section("4. Exchange connectivity verification", (venue, rows("books")))
    yield Section("5. Go-live configuration", (rows("config"),))
    yield Section(f"6. {profile} profile parameters", (_profile(limits), rows("evaluation")))
    yield Section("7. System state", (_states(results), rows("stress"), rows("alerts")))
    yield Section("8. Blocker plan", (Code("\n".join(output.write_plan(report))),))
    yield Section("9. Pre-launch checklist", (Text(_tell_lines(evidence)), rows("checklist")))
    yield _risk_assessment(report)
    yield _recommendations(report, evidence)
    yield _conclusion(report, evidence)
    raw = f"{output.HEADER}\n{output.write_text(report)}"
    yield Section("Appendix A: pre-flight check output", (Code(raw),))


def _tell_lines(evidence: Evidence | None) -> str:
    if evidence is None or evidence.unmet is None:
        return f"{NOT_MEASURED}: no programme is open to measure and sign for"
    return f"Open: {', '.join(evidence.unmet)}" if evidence.unmet else "Every line is met"


def _is_ready(report: Report, evidence: Evidence | None) -> bool:
    """The pre-flight passed, and every line of the checklist is met; what is unknown is not."""
    return report.is_passed and evidence is not None and evidence.unmet == ()


def _verdict(report: Report, evidence: Evidence | None) -> str:
    return "READY" if _is_ready(report, evidence) else "NOT READY - BLOCKERS PRESENT"


def _say(result: CheckResult | None) -> str:
    return NOT_MEASURED if result is None else f"{output.MARKS[result.status]}"


def _results(report: Report) -> Section:
    rows: Rows = [
        (result.name.value, _say(result), output.write_reason(result), f"{result.seconds:.2f} s")
        for result in report.results
    ]
    counts = f"{report.passed_count} passed, {report.failed_count} failed in {report.seconds:.2f} s"
    head = ("Check", "Status", "Reason", "Time")
    return Section("1. Pre-flight check results", (Text(counts), Table(head, tuple(rows))))


def _evidence(
    results: Mapping[CheckName, CheckResult], name: CheckName, parts: Sequence[str] = ()
) -> Table | Text:
    result = results.get(name)
    details: Mapping[str, Any] = {} if result is None else result.details
    chosen = {key: value for key, value in details.items() if not parts or key in parts}
    if result is None or not chosen:
        return Text(f"{name}: {NOT_MEASURED}")
    rows = (("status", f"{result.status}: {output.write_reason(result)}"), *output.flatten(chosen))
    return Table(("Measured", "Value"), tuple(rows))


def _profile(limits: Limits) -> Table:
    def percent(*values: Any) -> str:
        return " to ".join(f"{value * 100:.2f} %" for value in values)

    losses = percent(limits.max_daily_loss_ratio), percent(limits.max_weekly_loss_ratio)
    rows: Rows = [
        ("Maximum position", f"{limits.max_position_notional:.2f} USD"),
        ("Maximum leverage", f"{limits.max_leverage}x"),
        ("Risk per trade", percent(limits.max_trade_risk_ratio)),
        ("Portfolio risk", percent(limits.max_portfolio_risk_ratio)),
        ("Daily / weekly loss", " / ".join(losses)),
        ("Positions", str(limits.max_positions)),
        ("Trades per day", str(limits.max_trades_per_day)),
        ("Margin use", percent(limits.max_margin_ratio)),
        ("Stop-loss", percent(limits.min_stop_ratio, limits.max_stop_ratio)),
        ("Take-profit", percent(limits.min_target_ratio, limits.max_target_ratio)),
        ("Digest", limits.digest),
    ]  # fmt: skip
    return Table(("Parameter", "Value"), tuple(rows))


# line -> the check and the part of its evidence that measures it
STATES: Mapping[str, tuple[CheckName, str]] = {
    "Web process": (CheckName.HEALTH, "/health/live"),
    "Database": (CheckName.DATABASE, "database"),
    "Redis": (CheckName.DATABASE, "redis"),
    "Workers": (CheckName.DATABASE, "worker"),
    "Metrics": (CheckName.OBSERVABILITY, "metrics"),
    "Alert channel": (CheckName.OBSERVABILITY, "test_alert"),
    "Risk gate": (CheckName.RISK, "gate"),
    "Emergency stop": (CheckName.RISK, "ess"),
    "Global risk": (CheckName.RISK, "global_risk"),
    "Stress scenarios": (CheckName.STRESS, "scenario_count"),
}


def _states(results: Mapping[CheckName, CheckResult]) -> Table:
    rows: Rows = []
    for line, (name, part) in STATES.items():
        result = results.get(name)
        found = NOT_MEASURED
        if result is not None and part in result.details:
            value = result.details[part]
            found = "; ".join(f"{k}: {v}" for k, v in output.flatten({part: value}))
        rows.append((line, _say(result), found))
    return Table(("Component", "Its check", "Measured"), tuple(rows))


def _risk_assessment(report: Report) -> Section:
    blockers = output.list_blockers(report)
    good = [result for result in report.results if result.status is CheckStatus.PASS]
    level = "LOW" if report.is_passed else "HIGH" if len(blockers) > 1 else "MEDIUM"
    return Section(
        "10. Risk assessment",
        (
            Text(f"Level: {level}, from {len(blockers)} blockers"),
            Table(("Mitigating", "Measured"), _lines(good)),
            Table(("Risk factor", "Measured"), _lines(blockers)),
        ),
    )


def _lines(results: Iterable[CheckResult]) -> tuple[tuple[str, ...], ...]:
    return tuple((result.name.value, output.write_reason(result)) for result in results)


def _recommendations(report: Report, evidence: Evidence | None) -> Section:
    blockers = output.list_blockers(report)
    warnings = tuple(
        (result.name.value, str(warning))
        for result in report.results
        for warning in result.details.get("warnings", ())
    )
    steps = [result.next for result in blockers]
    if evidence is not None and evidence.unmet:
        steps += [f"checklist: {name}" for name in evidence.unmet]
    return Section(
        "11. Recommendations",
        (
            Code("\n".join(dict.fromkeys(steps)) or "none"),
            Table(("Warning of", "Warning"), warnings),
            Text(f"Stress scenarios to keep passing: {', '.join(MAX_AGES)}"),
        ),
    )


def _conclusion(report: Report, evidence: Evidence | None) -> Section:
    blockers = len(output.list_blockers(report))
    unmet = None if evidence is None else evidence.unmet
    lines = NOT_MEASURED if unmet is None else str(len(unmet))
    decision = "Proceed to the configuration freeze" if _is_ready(report, evidence) else "HOLD"
    text = f"{_verdict(report, evidence)}. Blockers: {blockers}. Open lines: {lines}. Decision: {decision}."
    return Section("12. Conclusion", (Text(text), Text("This proves operation, not edge.")))
