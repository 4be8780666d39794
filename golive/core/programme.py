"""The programme's conditions: from facts to met or not met, with the text and what comes next.

Pure: times enter as facts. Whatever is not known is not met.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from golive.core.programme_values import Condition, ProgrammeFacts, ProgrammeRules
from golive.core.words import LADDER, GuardVerdict, Phase, Recommendation

PAPER = "paper"

Judge = Callable[[ProgrammeFacts, ProgrammeRules], Condition]


def rung_of(profile: str | None) -> int:
    """0 for MICRO and so on; -1 for paper."""
    return LADDER.index(profile) if profile in LADDER else -1


def is_promotion(facts: ProgrammeFacts) -> bool:
    """Whether the programme leads to a higher rung than MICRO and than the present one."""
    return rung_of(facts.profile) > max(rung_of(facts.current_profile), 0)


def list_conditions(
    names: tuple[str, ...], facts: ProgrammeFacts, rules: ProgrammeRules
) -> tuple[Condition, ...]:
    """Each named condition as of now, in the order of the names."""
    return tuple(CONDITIONS[name](facts, rules) for name in names)


def waits_until(since_at: datetime, phase: Phase, rules: ProgrammeRules) -> datetime:
    """Until when the phase lasts at least, in market time; nothing shortens it."""
    return since_at + rules.phases[phase].min_duration


def _met(name: str, text: str) -> Condition:
    return Condition(name=name, is_met=True, text=text)


def _unmet(name: str, code: str, text: str, then: str) -> Condition:
    return Condition(name=name, is_met=False, text=text, next=then, code=code)


# Who and how far ------------------------------------------------------------------------------------


def judge_environment(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    if facts.environment != facts.desk_environment:
        text = f"the account is for {facts.environment}, the desk runs in {facts.desk_environment}"
        return _unmet("environment", "wrong_environment", text, "set TRADING_ENVIRONMENT and start again")
    return _met("environment", f"account and desk are in {facts.environment}")


def judge_rung(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    """One rung upward at a time; a desk of one person not too high and not too often."""
    wanted, present = rung_of(facts.profile), rung_of(facts.current_profile)
    if wanted < 0 or wanted > present + 1:
        text = f"{facts.current_profile or PAPER} to {facts.profile or 'nothing'} is no single rung"
        return _unmet("rung", "rung_skipped", text, "ask for the next rung")
    if facts.barred_until is not None and wanted > present and facts.market_now < facts.barred_until:
        text = f"demoted to paper until {facts.barred_until:%Y-%m-%d %H:%M} UTC of market time"
        return _unmet("rung", "demoted", text, "trade on paper until then")
    if not facts.is_solo or wanted <= present:
        return _met("rung", f"from {facts.current_profile or PAPER} to {facts.profile}")
    return _judge_solo_rung(facts, rules, wanted)


def _judge_solo_rung(facts: ProgrammeFacts, rules: ProgrammeRules, wanted: int) -> Condition:
    if wanted > rung_of(rules.solo_highest):
        text = f"a desk of one person reaches {rules.solo_highest} at most"
        return _unmet("rung", "solo_ceiling", text, "invite a second person: manage.py desk invite")
    last = facts.last_rung_at
    if last is not None and facts.now - last < rules.solo_rung_every:
        text = f"the last rung was on {last:%Y-%m-%d}; one in {rules.solo_rung_every.days} days"
        return _unmet("rung", "solo_rung_wait", text, "wait")
    return _met("rung", f"to {facts.profile}: same person, delayed")


# Configuration --------------------------------------------------------------------------------------


def judge_config(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    if facts.config is None:
        then = "manage.py golive config load --actor NAME --reason WHY"
        return _unmet("config", "config_missing", "config/go_live.yaml was never loaded", then)
    return _met("config", f"go_live.yaml {facts.config.digest[:12]} is loaded")


def judge_enabled(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    if facts.config is None or not facts.config.is_enabled:
        text = "activation_enabled is not true in the loaded configuration"
        return _unmet("enabled", "activation_disabled", text, "set it in config/go_live.yaml and load it")
    return _met("enabled", "activation_enabled is true")


def judge_profile_allowed(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    allowed = () if facts.config is None else facts.config.allowed_profiles
    if facts.profile not in allowed:
        text = f"allowed_profiles: {', '.join(allowed) or 'none'}; asked for {facts.profile}"
        return _unmet("profile_allowed", "profile_not_allowed", text, "ask for an allowed profile")
    return _met("profile_allowed", f"{facts.profile} is allowed")


def judge_ceiling(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    if facts.config is None or facts.config.above:
        above = "no ceiling is loaded" if facts.config is None else "; ".join(facts.config.above)
        return _unmet("ceiling", "above_ceiling", above, "raise the ceiling in config/go_live.yaml, load it")
    return _met("ceiling", "every limit is within go_live.yaml")


# Evidence -------------------------------------------------------------------------------------------


def judge_preflight(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    """All checks passed, of this code, not too long ago."""
    run, command = facts.run, f"manage.py preflight --account {facts.account}"
    if run is None:
        return _unmet("preflight", "preflight_missing", "no complete pre-flight has finished", command)
    if run.code_version != facts.code_version:
        text = f"run {run.run_id} was made by other code"
        return _unmet("preflight", "preflight_other_code", text, command)
    if not run.is_passed or run.passed < run.checks:
        text = f"run {run.run_id} passed {run.passed} of {run.checks}"
        return _unmet("preflight", "preflight_failed", text, command)
    age = facts.now - run.started_at
    if not timedelta(0) <= age <= rules.preflight_age:
        text = f"run {run.run_id} is older than {int(rules.preflight_age.total_seconds() // 60)} min"
        return _unmet("preflight", "preflight_stale", text, command)
    return _met("preflight", f"run {run.run_id} passed {run.passed} of {run.checks}")


def judge_venue(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    status = "" if facts.run is None else facts.run.exchange_status
    if status != "pass":
        text = f"check_exchange_connectivity: {status or 'not run'}"
        then = "manage.py preflight --check check_exchange_connectivity"
        return _unmet("venue", "venue_unverified", text, then)
    return _met("venue", "check_exchange_connectivity passed")


def judge_trades(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    """Closed round trips of this code with both protections read back, on enough symbols."""
    least = None if facts.config is None else facts.config.min_trades
    found = facts.trades
    text = f"{found.count} closed with both protections verified, on {found.symbols} symbols"
    if least is None or found.count < least or found.symbols < rules.min_symbols:
        wanted = f"; wanted: {least if least is not None else 'unknown'} on {rules.min_symbols}"
        return _unmet("trades", "too_few_trades", text + wanted, "let the strategies trade on")
    return _met("trades", text)


def judge_triggers(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    """One stop and one target have really triggered."""
    text = f"{facts.trades.stops} ended by a stop, {facts.trades.targets} by a target"
    if not facts.trades.stops or not facts.trades.targets:
        return _unmet("triggers", "protection_never_triggered", text, "let the strategies trade on")
    return _met("triggers", text)


def judge_checklist(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    if facts.unmet_lines is None:
        return _unmet("checklist", "checklist_unknown", "nothing measures the checklist", "")
    if facts.unmet_lines:
        text = f"{len(facts.unmet_lines)} lines are open: {', '.join(facts.unmet_lines[:3])}"
        then = f"manage.py golive checklist --account {facts.account}"
        return _unmet("checklist", "checklist_open", text, then)
    return _met("checklist", "every line is met")


def judge_evaluation(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    """A rung above MICRO is earned: the newest evaluation of the present profile says promote."""
    if not is_promotion(facts):
        return _met("evaluation", "no promotion above MICRO is asked for")
    return _judge_promotion("evaluation", "not_promoted", facts, rules)


def _judge_promotion(name: str, code: str, facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    found, then = facts.evaluation, f"manage.py profiles evaluate --account {facts.account}"
    if found is None or found.profile != facts.current_profile:
        return _unmet(name, code, f"{facts.current_profile or PAPER} was not evaluated", then)
    if not timedelta(0) <= facts.now - found.evaluated_at <= rules.evaluation_age:
        return _unmet(name, code, f"evaluated on {found.evaluated_at:%Y-%m-%d %H:%M} UTC: too old", then)
    if found.recommendation != Recommendation.PROMOTE:
        return _unmet(name, code, f"the evaluation says {found.recommendation}", then)
    return _met(name, f"the evaluation of {found.profile} says promote")


def judge_cumulative(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    """Many small steps are one large one: judged against what was confirmed before the window."""
    if facts.growth is None:
        return _met("cumulative", "nothing was confirmed before")
    text = (
        f"{facts.growth_limit or 'nothing'} up by {facts.growth:.1%} within {rules.cumulative_window.days} d"
    )
    if facts.growth <= rules.cumulative_ratio:
        return _met("cumulative", text)
    earned = _judge_promotion("cumulative", "cumulative_increase", facts, rules)
    if earned.is_met:
        return _met("cumulative", f"{text}; {earned.text}")
    return _unmet("cumulative", earned.code, f"{text}; {earned.text}", earned.next)


# State of the desk ----------------------------------------------------------------------------------


def judge_no_stop(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    if facts.halted_scopes:
        text = f"stopped: {', '.join(facts.halted_scopes)}"
        return _unmet("no_stop", "stop_stands", text, "manage.py emergency_stop rearm-request")
    return _met("no_stop", "nothing that the account trades under is stopped")


def judge_global_risk(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    worst = None if facts.config is None else facts.config.worst_risk
    level = facts.risk_level
    if worst is None or level is None or level.severity > worst.severity:
        text = f"global risk is {level or 'unknown'}, at worst {worst or 'unknown'} is allowed"
        return _unmet("global_risk", "global_risk_not_ok", text, "wait until it is")
    return _met("global_risk", f"global risk is {level}")


def judge_no_hold(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    if facts.is_held:
        text = "the account is held after a rollback or a trip"
        return _unmet("no_hold", "held", text, "ask for its release; two people decide")
    return _met("no_hold", "the account is not held")


def judge_freeze(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    if not facts.is_frozen:
        return _unmet("freeze", "not_frozen", "nothing is frozen yet", "manage.py golive advance")
    if facts.drift:
        text = f"not as frozen any more: {', '.join(facts.drift)}"
        return _unmet("freeze", "freeze_drifted", text, "manage.py golive advance freezes anew")
    return _met("freeze", "everything is as it was frozen")


def judge_request(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    if facts.request_state != "executed":
        text = f"the request is {facts.request_state or 'not made'}"
        return _unmet("request", "not_activated", text, "request, approve and activate")
    return _met("request", "the approved request was activated")


# After activation -----------------------------------------------------------------------------------


def judge_observed(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    """Every mark was taken and passed, and no guard has tripped."""
    if facts.live is None:
        return _unmet("observed", "not_activated", "nothing is live", "activate")
    if facts.live.trips:
        return _unmet("observed", "guard_tripped", "a guard took it back", "manage.py golive status")
    missing = [mark for mark in rules.marks if facts.live.verdicts.get(mark) != GuardVerdict.PASS]
    if missing:
        text = f"not passed yet: minute {', '.join(str(mark) for mark in missing)}"
        return _unmet("observed", "observation_open", text, "wait")
    return _met("observed", "every mark passed")


def judge_live_entry(facts: ProgrammeFacts, rules: ProgrammeRules) -> Condition:
    """One live entry was protected and read back before the longest observation was over."""
    if facts.live is None:
        return _unmet("live_entry", "not_activated", "nothing is live", "activate")
    found, until = facts.live.protected_entry_at, facts.live.activated_at + rules.max_observation
    if found is not None and found <= until:
        return _met("live_entry", f"protected and read back at {found:%Y-%m-%d %H:%M:%S} UTC")
    if facts.market_now > until:
        text = f"no live entry was protected by {until:%Y-%m-%d %H:%M} UTC"
        return _unmet("live_entry", "observation_over", text, "manage.py golive rollback, then anew")
    return _unmet("live_entry", "no_live_entry", "no live entry was protected and read back yet", "wait")


CONDITIONS: Mapping[str, Judge] = {
    "environment": judge_environment,
    "rung": judge_rung,
    "config": judge_config,
    "enabled": judge_enabled,
    "profile_allowed": judge_profile_allowed,
    "ceiling": judge_ceiling,
    "preflight": judge_preflight,
    "venue": judge_venue,
    "trades": judge_trades,
    "triggers": judge_triggers,
    "checklist": judge_checklist,
    "evaluation": judge_evaluation,
    "cumulative": judge_cumulative,
    "no_stop": judge_no_stop,
    "global_risk": judge_global_risk,
    "no_hold": judge_no_hold,
    "freeze": judge_freeze,
    "request": judge_request,
    "observed": judge_observed,
    "live_entry": judge_live_entry,
}
