"""The pre-launch checklist, live: each line measured now, or signed by a person for this programme."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from controlplane.approvals.core import Actor, Role
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.requests import require_reason
from controlplane.approvals.services import require_any_role
from controlplane.audit.services import audited_attempt, record
from controlplane.code_version import get_code_version
from controlplane.errors import Conflict, InvalidInput, NotFound
from controlplane.yaml_file import YamlError
from golive.ceiling import get_effective_limits, get_profile_limits, list_halted
from golive.checklist_rules import MEASURES, LineRule, get_checklist_rules
from golive.config_file import read_config_file, values_of
from golive.core.values import CheckName, CheckStatus, Purpose
from golive.core.words import ProgrammeState
from golive.demo_trades import list_counting_trades
from golive.models import ChecklistSignature, GoLiveConfig, PreflightCheck, PreflightRun, Programme
from golive.programme_rules import get_programme_rules
from golive.selectors import get_active_config
from risk.core.values import RiskLevel
from risk.limits import get_limits
from risk.models import LimitSet
from risk.selectors import find_last_good_drill, get_risk_state
from risk.stops.rules import get_stop_rules
from trading.core.values import Clocks
from trading.models import Account, Permit
from trading.selectors import get_active_permit, get_clocks

MACHINE, HUMAN = "machine", "human"
NOT_SIGNED = "not signed"
NOTHING_LOADED = "go_live.yaml was never loaded"


class LineUnknown(NotFound):
    """The checklist has no such line."""

    code = "line_unknown"


class LineMeasured(InvalidInput):
    """A machine measures this line; nobody's word replaces it."""

    code = "line_measured"


class ProgrammeOver(Conflict):
    """The programme is closed: there is nothing to sign for."""

    code = "programme_over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line as of now: what was measured, or who signed what."""

    name: str
    group: str
    kind: str
    text: str
    is_met: bool
    evidence: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the measures look at, read once; `run` is the newest complete one that speaks for the account."""

    account: Account
    profile: str
    clocks: Clocks
    run: PreflightRun | None
    checks: Mapping[str, PreflightCheck]
    config: GoLiveConfig | None


Measured = tuple[bool, str]


def list_lines(programme: Programme) -> list[Line]:
    """Every line in the order of the file."""
    situation = _read_situation(programme)
    newest = {row.line: row for row in ChecklistSignature.objects.filter(programme=programme).order_by("id")}
    return [
        _read_signature(rule, newest.get(rule.name), programme, situation)
        if rule.is_signed
        else _measure(rule, situation)
        for rule in get_checklist_rules().lines
    ]


def list_unmet_lines(programme: Programme) -> tuple[str, ...]:
    return tuple(line.name for line in list_lines(programme) if not line.is_met)


def sign_line(
    *, programme: Programme, line: str, is_met: bool, note: str, actor: Actor
) -> ChecklistSignature:
    """A designated person vouches for a human line, or says that it is not met; the newest word counts.

    Raises LineUnknown, LineMeasured, ProgrammeOver, NoPerson, NotDesignated and ReasonTooShort; a refusal
    is audited.
    """
    with audited_attempt(
        action="golive.checklist_sign",
        actor=actor.audit_name,
        subject_type="account",
        subject_id=programme.account.name,
        reason=note,
        detail={"programme": programme.pk, "line": line},
    ):
        require_person(actor)
        require_any_role(actor, frozenset(Role))
        said = require_reason(note)
        _require_signed(line)
        with transaction.atomic():
            return _sign(programme.pk, line, is_met, said, actor)


def _require_signed(name: str) -> None:
    rule = next((rule for rule in get_checklist_rules().lines if rule.name == name), None)
    if rule is None:
        raise LineUnknown(f"checklist: no line {name!r}")
    if not rule.is_signed:
        raise LineMeasured(f"checklist: {name} is measured ({rule.measure}), not signed")


def _sign(programme_id: int, line: str, is_met: bool, note: str, actor: Actor) -> ChecklistSignature:
    programme = Programme.objects.select_for_update().select_related("account").get(pk=programme_id)
    if programme.state != ProgrammeState.OPEN:
        raise ProgrammeOver(f"programme {programme.pk} of {programme.account.name} is {programme.state}")
    row = ChecklistSignature.objects.create(
        programme=programme, line=line, signed_by=actor.audit_name, note=note, is_met=is_met
    )
    record(
        action="golive.checklist_sign",
        actor=actor.audit_name,
        subject_type="account",
        subject_id=programme.account.name,
        reason=note,
        detail={"programme": programme.pk, "line": line, "is_met": is_met, "signature": row.pk},
    )
    return row


def _read_signature(
    rule: LineRule, row: ChecklistSignature | None, programme: Programme, situation: Situation
) -> Line:
    """Not signed, signed too long ago, or what the person said."""
    if row is None:
        return _line(rule, is_met=False, evidence=NOT_SIGNED)
    oldest = max(programme.opened_at, situation.clocks.wall_at - get_checklist_rules().signature_age)
    when = f"{row.signed_at:%Y-%m-%d %H:%M} UTC"
    if row.signed_at < oldest:
        return _line(rule, is_met=False, evidence=f"signed on {when}: too old", by=row.signed_by)
    return _line(rule, is_met=row.is_met, evidence=f"{when}: {row.note}", by=row.signed_by)


def _measure(rule: LineRule, situation: Situation) -> Line:
    if rule.measure in MEASURES:
        is_met, evidence = MEASURED_BY[rule.measure](situation)
    else:
        is_met, evidence = _read_check(CheckName(rule.measure), situation)
    return _line(rule, is_met=is_met, evidence=evidence)


def _line(rule: LineRule, *, is_met: bool, evidence: str, by: str = "") -> Line:
    return Line(
        name=rule.name,
        group=rule.group,
        kind=HUMAN if rule.is_signed else MACHINE,
        text=rule.text,
        is_met=is_met,
        evidence=evidence,
        by=by,
    )


def _read_situation(programme: Programme) -> Situation:
    account = programme.account
    runs = PreflightRun.objects.filter(
        purpose=Purpose.GOLIVE.value,
        is_complete=True,
        finished_at__isnull=False,
        environment=account.environment,
        account__in=("", account.name),
    )
    run = runs.order_by("-id").first()
    return Situation(
        account=account,
        profile=programme.profile,
        clocks=get_clocks(),
        run=run,
        checks={} if run is None else {row.name: row for row in run.checks.all()},
        config=get_active_config(),
    )


def _find_doubt(situation: Situation) -> str:
    """Why the newest run is no evidence now."""
    run = situation.run
    if run is None:
        return "no complete pre-flight"
    if run.code_version != get_code_version():
        return f"run {run.pk} was of other code"
    if situation.clocks.wall_at - run.started_at > get_programme_rules().preflight_age:
        return f"run {run.pk} is too old"
    return ""


def _read_check(name: CheckName, situation: Situation) -> Measured:
    if doubt := _find_doubt(situation):
        return False, doubt
    row = situation.checks.get(name.value)
    if row is None:
        return False, "not measured"
    return row.status == CheckStatus.PASS, f"check {row.pk}: {row.status} {row.reason}"


def _measure_code(situation: Situation) -> Measured:
    doubt = _find_doubt(situation)
    return not doubt, doubt or f"code {get_code_version()[:12]}"


def _measure_run(situation: Situation) -> Measured:
    run, doubt = situation.run, _find_doubt(situation)
    if run is None or doubt:
        return False, doubt
    return bool(run.is_passed), f"run {run.pk}: {run.passed_count} passed, {run.failed_count} failed"


def _measure_stop(situation: Situation) -> Measured:
    if halted := list_halted(situation.account):
        return False, f"stopped: {', '.join(halted)}"
    drill = find_last_good_drill()
    if drill is None:
        return False, "no drill passed on this code"
    is_young = situation.clocks.wall_at - drill.finished_at < get_stop_rules().drill_every
    return is_young, f"drill {drill.pk} passed on {drill.finished_at:%Y-%m-%d %H:%M} UTC"


def _measure_global_risk(situation: Situation) -> Measured:
    if situation.config is None:
        return False, NOTHING_LOADED
    level = RiskLevel(get_risk_state(situation.clocks)["global_risk"]["level"])
    worst = RiskLevel(situation.config.require_risk_state)
    return level.severity <= worst.severity, f"{level.value}, at worst {worst.value} is allowed"


def _measure_config(situation: Situation) -> Measured:
    if situation.config is None:
        return False, NOTHING_LOADED
    try:
        filed = read_config_file()
    except YamlError as error:
        return False, error.message
    is_same = filed == values_of(situation.config)
    return is_same, f"loaded {situation.config.digest[:12]}" if is_same else "the file is not what is loaded"


def _measure_profile(situation: Situation) -> Measured:
    digest = get_profile_limits(situation.profile).digest
    is_stored = LimitSet.objects.filter(digest=digest).exists()
    return is_stored, f"{situation.profile} {digest[:12]}{'' if is_stored else ' is not loaded'}"


def _measure_nothing_live(situation: Situation) -> Measured:
    """A live permit stands on an activation, of its own or before a demotion or rollback of the account."""
    live = Permit.objects.filter(active=True, kind="LIVE")
    wild = live.filter(account__activations__isnull=True).select_related("account")
    names = sorted({permit.account.name for permit in wild})
    return not names, ", ".join(names) or "every live permit stands on an activation"


def _measure_keys(situation: Situation) -> Measured:
    config = situation.config
    if config is None:
        return False, NOTHING_LOADED
    keys = ("required_preflight", "require_testnet_history", "require_ess_inactive")
    missing = [key for key in keys if getattr(config, key) is not True]
    return not missing, ", ".join(missing) or f"required; {config.min_testnet_trades} trades at least"


def _measure_limits(situation: Situation) -> Measured:
    permit = get_active_permit(situation.account)
    known = None if permit is None else get_limits(permit.limit_set_digest)
    if known is None:
        return False, "no permit with known limits"
    effective = get_effective_limits(known).digest == known.digest
    return effective, f"{known.profile} {known.digest[:12]}{'' if effective else ' is above the ceiling'}"


def _measure_documents(situation: Situation) -> Measured:
    path = settings.BASE_DIR / "docs" / "OPERATOR_MANUAL.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    missing = [name.value for name in CheckName if name.value not in text]
    return not missing, f"missing: {', '.join(missing)}" if missing else "all six are described"


def _measure_trades(situation: Situation) -> Measured:
    if situation.config is None:
        return False, NOTHING_LOADED
    rows = list_counting_trades(situation.account, get_programme_rules(), situation.clocks.market_at)
    count, least = rows.count(), situation.config.min_testnet_trades
    return count >= least, f"{count} closed with both protections verified, {least} needed"


MEASURED_BY: Mapping[str, Callable[[Situation], Measured]] = {
    "code_version": _measure_code,
    "stop_inactive": _measure_stop,
    "global_risk": _measure_global_risk,
    "run_passed": _measure_run,
    "config_valid": _measure_config,
    "profile_loaded": _measure_profile,
    "nothing_live": _measure_nothing_live,
    "safety_keys": _measure_keys,
    "limits_in_force": _measure_limits,
    "checks_documented": _measure_documents,
    "demo_trades": _measure_trades,
}
