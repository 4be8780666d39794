"""Is the desk fit to take risk, and does the gate really deny?"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings

import risk.selectors
from golive.core.values import CheckName, Finding, Measured, Purpose
from golive.preflight.context import Context, Details, list_subjects, missing_account, restart
from risk.canary import GateProof, NothingAssigned, prove_gate_denies
from risk.core import global_risk
from risk.core.global_risk import AccountFacts
from risk.core.values import RiskLevel
from risk.global_risk.limits import get_global_risk_limits
from risk.global_risk.record import read_facts
from risk.registration import list_account_scopes
from risk.stops.rules import get_stop_rules
from trading import models
from trading.core.values import Clocks, Environment, TradingStateName
from trading.selectors import get_clocks

# Facts get old when the venue, the broker or the workers are silent; those have checks of their own.
FEEDS = (CheckName.EXCHANGE, CheckName.DATABASE)
MAX_AGE_SECONDS = 30.0
STATUS = "python3 manage.py emergency_stop status"
DRILL = "python3 manage.py emergency_stop drill"


def measure(context: Context) -> Measured:
    accounts = _list_traded(context)
    if not accounts:
        return Measured(reason="", findings=(missing_account(context),))
    clocks = get_clocks()
    drill, drill_findings = _measure_drill(context, clocks)
    level, level_findings = _measure_level(clocks)
    states, state_findings = _measure_states(context, accounts)
    gate, gate_findings = _measure_gate(accounts, clocks)
    return Measured(
        reason="risk_system_ok",
        details={"global_risk": level, "ess": states, "gate": gate, "drill": drill},
        findings=(*level_findings, *state_findings, *gate_findings, *drill_findings),
    )


def _list_traded(context: Context) -> list[models.Account]:
    """Without the account of the drills, which stops every day and trades nothing, unless it is named."""
    rehearsed = get_stop_rules().drill_account
    return [row for row in list_subjects(context) if row.name != rehearsed or context.account]


def _measure_level(clocks: Clocks) -> tuple[Details, list[Finding]]:
    row = risk.selectors.get_global_risk()
    if row is None:
        text = "global risk was never assessed"
        unknown = Finding(
            reason="global_risk_unknown", text=text, next=restart("guard"), depends_on=(CheckName.DATABASE,)
        )
        return {"level": None}, [unknown]
    age = max(0.0, (clocks.wall_at - row.checked_at).total_seconds())
    details: Details = {"level": row.level, "age_seconds": round(age, 1), "reasons": row.reasons}
    if age > MAX_AGE_SECONDS:
        text = f"global risk was last assessed {age:.0f} s ago"
        stale = Finding(
            reason="global_risk_stale", text=text, next=restart("guard"), depends_on=(CheckName.DATABASE,)
        )
        return details, [stale]
    if row.level != RiskLevel.CRITICAL:
        return details, []
    critical = Finding(
        reason="global_risk_critical",
        text="; ".join(map(str, row.reasons)),
        next=f"curl -sS {settings.WEB_URL}/metrics | grep -E '^(global_risk|exchange_|reconciliation_)'",
        depends_on=FEEDS if is_only_stale(row.inputs.get("accounts", {})) else (),
    )
    return details, [critical]


def is_only_stale(accounts: Mapping[str, Any]) -> bool:
    """Whether the level would not be CRITICAL if prices, balances and comparisons were fresh."""
    fresh = tuple(_with_fresh_facts(read_facts(facts)) for facts in accounts.values())
    return bool(fresh) and global_risk.assess(fresh, get_global_risk_limits()).level != RiskLevel.CRITICAL


def _with_fresh_facts(facts: AccountFacts) -> AccountFacts:
    # Where no balance of the day was read the drawdown is unknown, and without a fresh price the book
    # is: stale facts again. What is known of the book is judged as it is.
    is_unread = facts.drawdown_ratio is None and facts.drawdown_limit_ratio is not None
    return replace(
        facts,
        price_age=timedelta(0),
        balance_age=timedelta(0),
        reconciliation_age=timedelta(0),
        answer_age=timedelta(0),
        drawdown_ratio=Decimal(0) if is_unread else facts.drawdown_ratio,
        is_flat=True,
    )


def _measure_drill(context: Context, clocks: Clocks) -> tuple[Details, list[Finding]]:
    """How old the last stop is that this code has rehearsed well, in whatever environment.

    Without one, going live fails: on paper the guard rehearses within seconds of a start. Re-arming
    does not ask: what is halted cannot rehearse, and the stop that stands has just been measured.
    """
    row, rules = risk.selectors.find_last_good_drill(), get_stop_rules()
    is_paper = settings.TRADING_ENVIRONMENT == Environment.PAPER
    step = DRILL if is_paper else f"TRADING_ENVIRONMENT={Environment.PAPER} {DRILL}"
    if row is None:
        details: Details = {"last_good": None}
        text = "this code has passed no drill of the emergency stop"
        found = Finding(reason="drill_missing", text=text, next=step)
    else:
        age = max(timedelta(0), clocks.wall_at - row.finished_at)
        details = {
            "last_good": row.pk,
            "age_hours": round(age / timedelta(hours=1), 2),
            "stopped_within_seconds": None if row.seconds is None else float(row.seconds),
        }
        if age <= rules.drill_max_age:
            return details, []
        text = f"the last good drill of the emergency stop is {age / timedelta(days=1):.1f} days old"
        found = Finding(reason="drill_stale", text=text, next=step)
    return details, [] if context.purpose is Purpose.REARM else [found]


def _measure_states(context: Context, accounts: list[models.Account]) -> tuple[Details, list[Finding]]:
    known = {status.scope: status for status in risk.selectors.list_trading_states()}
    scopes = dict.fromkeys(scope for account in accounts for scope in list_account_scopes(account))
    halted = TradingStateName.HALTED
    states = {scope: known[scope].state if scope in known else halted for scope in scopes}
    details: Details = {scope: state.value for scope, state in states.items() if state != "ACTIVE"}
    details |= {"active": sum(state == TradingStateName.ACTIVE for state in states.values())}
    unregistered = [scope for scope in scopes if scope not in known]
    if unregistered:
        details["without_state"] = unregistered
    stopped = [scope for scope, state in states.items() if state == halted]
    limited = [scope for scope, state in states.items() if state == TradingStateName.REDUCING]
    return details, _judge_states(context, stopped, limited, unregistered)


def _judge_states(
    context: Context, stopped: list[str], limited: list[str], unregistered: list[str]
) -> list[Finding]:
    if unregistered:
        text = f"no trading state, which means HALTED: {', '.join(unregistered)}"
        return [Finding(reason="trading_state_missing", text=text, next=STATUS)]
    if context.purpose is Purpose.REARM:
        return [] if stopped else [_nothing_halted()]
    if stopped:
        return [Finding(reason="ess_active", text=f"HALTED: {', '.join(stopped)}", next=STATUS)]
    if limited:
        return [Finding(reason="trading_reducing", text=f"REDUCING: {', '.join(limited)}", next=STATUS)]
    return []


def _nothing_halted() -> Finding:
    return Finding(
        reason="nothing_halted", text="no scope is HALTED, so there is none to re-arm", next=STATUS
    )


def _measure_gate(accounts: list[models.Account], clocks: Clocks) -> tuple[Details, list[Finding]]:
    details: Details = {}
    findings: list[Finding] = []
    for account in accounts:
        try:
            proof = prove_gate_denies(account=account, clocks=clocks)
        except NothingAssigned as error:
            seed = Finding(reason=error.code, text=error.message, next="python3 manage.py seed_demo")
            findings.append(seed)
            continue
        details[account.name] = {
            "canary": "ALLOWED" if proof.allowed else "denied",
            "symbol": proof.symbol,
            "profile": proof.profile,
            "codes": list(proof.codes),
            "absences_denied": not proof.unnoticed,
        }
        findings += judge_proof(account.name, proof)
    return details, findings


def judge_proof(account: str, proof: GateProof) -> list[Finding]:
    """A gate that allows the canary, or overlooks an absence, must be stopped at once."""
    if proof.allowed or proof.unnoticed:
        what = "the canary was allowed" if proof.allowed else f"unnoticed: {', '.join(proof.unnoticed)}"
        trip = "python3 manage.py emergency_stop trip --scope all"
        return [Finding(reason="gate_allows", text=f"account {account}: {what}", next=trip)]
    if proof.is_limit_named:
        return []
    return [
        Finding(
            reason="gate_proof_incomplete",
            text=f"account {account}: denied, but not for its size: {', '.join(proof.codes)}",
            next="python3 manage.py preflight --check check_exchange_connectivity",
            depends_on=() if proof.has_price else FEEDS,
        )
    ]
