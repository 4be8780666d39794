"""What the pre-launch report tells besides its pre-flight: rows of the desk as they are now, as tables."""

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.alerts.selectors import list_alerts, list_channels
from controlplane.code_version import get_code_version
from controlplane.documents import Table, Text
from golive.ceiling import get_effective_limits, get_profile_limits
from golive.checklist import HUMAN, Line, list_lines
from golive.checklist_rules import SIGNATURE, get_checklist_rules
from golive.core.advancement import NOT_MEASURED
from golive.core.words import LADDER
from golive.freeze import find_unloaded
from golive.models import Evaluation, Programme
from golive.preflight.scenarios import MAX_AGES
from golive.selectors import get_active_config, get_latest_stress_results
from risk.core.values import Limits
from risk.models import Drill, StopEvent
from risk.selectors import count_allowed, count_denied_by_code
from trading.models import VenueAccount
from trading.selectors import latest_reconciliation, list_venue_accounts

Block = Table | Text
SHOWN_ALERTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Each a table, or a text that says why there is none; `unmet` names the open lines of the checklist.

    `unmet` is None where no programme is open: there is nothing to sign for, and so nothing is met.
    """

    subject: str
    decisions: Block
    stops: Block
    books: Block
    config: Block
    profile: str
    limits: Limits
    evaluation: Block
    stress: Block
    alerts: Block
    checklist: Block
    unmet: tuple[str, ...] | None


def gather_evidence(programme: Programme | None) -> Evidence:
    """Read everything now; raises DatabaseError and, for a profile that is none, ProfileUnknown."""
    profile = LADDER[0] if programme is None else programme.profile
    lines = None if programme is None else list_lines(programme)
    return Evidence(
        subject="no open programme"
        if programme is None
        else f"{programme.account.name} to {profile}, programme {programme.pk}, {programme.phase}",
        decisions=_show_decisions(),
        stops=_show_stops(),
        books=_show_books(programme),
        config=_show_config(),
        profile=profile,
        limits=get_effective_limits(get_profile_limits(profile)),
        evaluation=_show_evaluation(programme),
        stress=_show_stress(),
        alerts=_show_alerts(),
        checklist=_show_rules() if lines is None else _show_lines(lines),
        unmet=None if lines is None else tuple(line.name for line in lines if not line.is_met),
    )


def _show_decisions() -> Block:
    rows = (("allowed", str(count_allowed())), *((k, str(v)) for k, v in count_denied_by_code().items()))
    return Table(("Decisions so far", "Count"), rows)


def _show_stops() -> Block:
    """What stands, and the newest drill of this code."""
    rows = [
        (
            f"stop {row.pk}",
            row.scope,
            f"{row.source}, {row.progress}, since {row.tripped_at:%Y-%m-%d %H:%M} UTC",
        )
        for row in StopEvent.objects.filter(ended_at__isnull=True).order_by("id")
    ]
    drill = Drill.objects.filter(code_version=get_code_version()).order_by("-id").first()
    if drill is None:
        rows.append(("drill", NOT_MEASURED, "none on this code"))
    else:
        verdict = "passed" if drill.is_passed else "FAILED"
        seconds = "" if drill.seconds is None else f" in {drill.seconds} s"
        rows.append(
            (
                "drill",
                f"account:{drill.account}",
                f"{verdict}{seconds}, {drill.finished_at:%Y-%m-%d %H:%M} UTC",
            )
        )
    return Table(("Emergency stop", "Scope", "State"), tuple(rows))


def _show_books(programme: Programme | None) -> Block:
    places = list_venue_accounts(None if programme is None else programme.account)
    rows = tuple((str(place), *_describe_book(place)) for place in places)
    return Table(("Reconciliation of", "Result", "When"), rows)


def _describe_book(place: VenueAccount) -> tuple[str, str]:
    run = latest_reconciliation(place)
    if run is None:
        return NOT_MEASURED, ""
    said = "clean" if run.is_clean else f"{len(run.differences)} differences"
    return f"{said} (run {run.pk})", f"{run.finished_at:%Y-%m-%d %H:%M:%S} UTC"


def _show_config() -> Block:
    config = get_active_config()
    if config is None:
        return Text(f"config/go_live.yaml: {NOT_MEASURED}, it was never loaded")
    rows = (
        ("digest", config.digest),
        ("loaded by", f"{config.loaded_by}, {config.loaded_at:%Y-%m-%d %H:%M} UTC"),
        ("environment", config.environment),
        ("activation_enabled", str(config.activation_enabled).lower()),
        ("required_preflight", str(config.required_preflight).lower()),
        ("allowed_profiles", ", ".join(config.allowed_profiles)),
        ("default_profile", config.default_profile),
        ("require_testnet_history", str(config.require_testnet_history).lower()),
        ("min_testnet_trades", str(config.min_testnet_trades)),
        ("require_risk_state", config.require_risk_state),
        ("require_ess_inactive", str(config.require_ess_inactive).lower()),
        ("max_position_size_usd", f"{config.max_position_notional.normalize():f}"),
        ("max_leverage", f"{config.max_leverage.normalize():f}"),
        ("max_portfolio_risk_percent", f"{(config.max_portfolio_risk_ratio * 100).normalize():f}"),
        ("max_account_risk_percent", f"{(config.max_trade_risk_ratio * 100).normalize():f}"),
        *(("file and loaded differ", str(drift)) for drift in find_unloaded()),
    )
    return Table(("Key", "Value in force"), rows)


def _show_evaluation(programme: Programme | None) -> Block:
    rows = Evaluation.objects.order_by("-id")
    row = None if programme is None else rows.filter(account=programme.account).first()
    if row is None:
        return Text(f"Advancement: {NOT_MEASURED}; `profiles evaluate` computes it")
    marks = {True: "met", False: "not met", None: "informs"}
    head = (f"Evaluation {row.pk}: {row.recommendation}", "Measured", "Required", "State")
    return Table(
        head,
        tuple(
            (item["name"], item["measured"], item["required"], marks[item["is_met"]]) for item in row.criteria
        ),
    )


def _show_stress() -> Block:
    results = get_latest_stress_results(get_code_version())
    rows = []
    for name, age in MAX_AGES.items():
        row = results.get(name)
        said = NOT_MEASURED if row is None else "passed" if row.is_passed else "FAILED"
        when = "" if row is None else f"{row.finished_at:%Y-%m-%d %H:%M} UTC"
        rows.append((name, said, when, f"{age.days} days"))
    return Table(("Stress scenario", "Result on this code", "When", "Counts for"), tuple(rows))


def _show_alerts() -> Block:
    rows = [
        (alert.code, alert.severity, alert.scope, alert.text) for alert in list_alerts(limit=SHOWN_ALERTS)
    ]
    rows += [
        (f"channel {row.channel}", row.line, "failing" if row.failing_since else "", row.error)
        for row in list_channels()
    ]
    return Table(("Open alert", "Severity", "Scope", "Text"), tuple(rows))


def _show_lines(lines: Iterable[Line]) -> Block:
    rows = tuple(
        (line.group, line.text, "met" if line.is_met else "OPEN", _tell_by(line), line.evidence)
        for line in lines
    )
    return Table(("Group", "Line", "State", "By", "Evidence"), rows)


def _tell_by(line: Line) -> str:
    return "machine" if line.kind != HUMAN else line.by or "a person, not signed"


def _show_rules() -> Block:
    """The lines without a programme to measure or sign them for."""
    rows = tuple(
        (rule.group, rule.text, NOT_MEASURED, "a person" if rule.measure == SIGNATURE else "machine", "")
        for rule in get_checklist_rules().lines
    )
    return Table(("Group", "Line", "State", "By", "Evidence"), rows)
