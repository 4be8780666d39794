"""The pre-launch validation report: the seed's twelve sections, from measured evidence only.

A line that nothing has measured says so; nothing here is asserted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from controlplane.code_version import get_code_version
from controlplane.desk import write_private
from golive.core.values import CheckName, CheckResult, CheckStatus
from golive.preflight import output
from golive.preflight.document import Code, Document, Section, Table, Text, to_html, to_markdown
from golive.preflight.scenarios import MAX_AGES
from golive.runs import Report
from risk.core.values import Limits
from risk.limits import load_profiles

NOT_MEASURED = "not measured"
Rows = list[tuple[str, ...]]


def write_report(report: Report, path: Path, *, at: datetime | None = None) -> None:
    """Write Markdown or HTML, by the file's ending; raises OSError."""
    document = make_report(report, at=at)
    text = to_html(document) if path.suffix == ".html" else to_markdown(document)
    write_private(path.absolute(), text)


def make_report(report: Report, *, at: datetime | None = None) -> Document:
    results = {result.name: result for result in report.results}
    return Document(
        title="Pre-launch validation report",
        facts=(
            ("Verdict", _verdict(report)),
            ("Written at", NOT_MEASURED if at is None else at.isoformat()),
            ("Environment", settings.TRADING_ENVIRONMENT),
            ("Purpose", report.purpose.value),
            ("Run", "not persisted" if report.run_id is None else str(report.run_id)),
            ("Code version", get_code_version()),
        ),
        sections=tuple(_sections(report, results)),
    )


def _sections(report: Report, results: Mapping[CheckName, CheckResult]) -> Iterator[Section]:
    yield _results(report)
    yield Section("2. Risk gate verification", (_evidence(results, CheckName.RISK, ("gate",)),))
    yield Section(
        "3. Emergency stop verification", (_evidence(results, CheckName.RISK, ("ess", "global_risk")),)
    )
    yield Section("4. Exchange connectivity verification", (_evidence(results, CheckName.EXCHANGE),))
    yield Section("5. Go-live configuration", (Text(f"config/go_live.yaml: {NOT_MEASURED}"),))
    yield Section("6. MICRO profile parameters", (_profile(load_profiles()["MICRO"]),))
    yield Section("7. System state", (_states(results),))
    yield Section("8. Blocker plan", (Code("\n".join(output.write_plan(report))),))
    yield Section("9. Pre-launch checklist", (_checklist(results),))
    yield _risk_assessment(report)
    yield _recommendations(report)
    yield _conclusion(report)
    raw = f"{output.HEADER}\n{output.write_text(report)}"
    yield Section("Appendix A: pre-flight check output", (Code(raw),))


def _verdict(report: Report) -> str:
    return "READY" if report.is_passed else "NOT READY - BLOCKERS PRESENT"


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


# The seed's 24 lines; what a machine cannot measure waits for a person's signature.
CHECKLIST: tuple[tuple[str, str, CheckName | None], ...] = (
    ("Infrastructure", "Backend service running", CheckName.HEALTH),
    ("Infrastructure", "Health endpoints responding", CheckName.HEALTH),
    ("Infrastructure", "Metrics endpoint responding", CheckName.OBSERVABILITY),
    ("Infrastructure", "Database connected", CheckName.DATABASE),
    ("Infrastructure", "Redis connected", CheckName.DATABASE),
    ("Infrastructure", "Grafana dashboard consistent with the metrics", CheckName.OBSERVABILITY),
    ("Infrastructure", "Grafana dashboard imported", None),
    ("Safety systems", "Risk gate denies", CheckName.RISK),
    ("Safety systems", "Emergency stop inactive", CheckName.RISK),
    ("Safety systems", "Global risk measured", CheckName.RISK),
    ("Safety systems", "Stress scenarios passed", CheckName.STRESS),
    ("Safety systems", "Pre-flight checks run", CheckName.HEALTH),
    ("Configuration", "go_live.yaml valid", None),
    ("Configuration", "MICRO profile loaded", CheckName.RISK),
    ("Configuration", "Activation switched off before activation", None),
    ("Configuration", "Safety requirements configured", None),
    ("Configuration", "Risk limits in force", CheckName.RISK),
    ("Documentation", "Operator manual read", None),
    ("Documentation", "Rollback procedure read", None),
    ("Documentation", "Escalation contacts known", None),
    ("Documentation", "Pre-flight checks documented", None),
    ("Testing", "Activation tests passing", None),
    ("Testing", "Exchange order path tested", CheckName.EXCHANGE),
    ("Testing", "Three demo trades completed", None),
)


def _checklist(results: Mapping[CheckName, CheckResult]) -> Table:
    rows = tuple(
        (group, line, _say(results.get(name)) if name else f"{NOT_MEASURED}, signed by a person")
        for group, line, name in CHECKLIST
    )
    return Table(("Group", "Line", "State"), rows)


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


def _recommendations(report: Report) -> Section:
    blockers = output.list_blockers(report)
    warnings = tuple(
        (result.name.value, str(warning))
        for result in report.results
        for warning in result.details.get("warnings", ())
    )
    commands = "\n".join(dict.fromkeys(result.next for result in blockers)) or "none"
    return Section(
        "11. Recommendations",
        (
            Code(commands),
            Table(("Warning of", "Warning"), warnings),
            Text(f"Stress scenarios to keep passing: {', '.join(MAX_AGES)}"),
        ),
    )


def _conclusion(report: Report) -> Section:
    blockers = output.list_blockers(report)
    decision = "Proceed to the configuration freeze" if report.is_passed else "HOLD"
    text = f"{_verdict(report)}. Blockers: {len(blockers)}. Decision: {decision}."
    return Section("12. Conclusion", (Text(text),))
