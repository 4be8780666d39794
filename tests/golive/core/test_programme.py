"""Each condition: met, not met, and unknown, which is not met."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from golive.core.programme import CONDITIONS, is_promotion, list_conditions, waits_until
from golive.core.programme_values import (
    ConfigFacts,
    EvaluationFacts,
    LiveFacts,
    ProgrammeFacts,
    RunFacts,
    TradeFacts,
)
from golive.core.words import Phase
from golive.programme_rules import get_programme_rules_path, load_programme_rules
from risk.core.values import RiskLevel

RULES = load_programme_rules(get_programme_rules_path())
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
MARKS = (0, 15, 30, 60, 90, 120)
CONFIG = ConfigFacts(
    digest="c" * 64,
    is_enabled=True,
    allowed_profiles=("MICRO", "SMALL", "MEDIUM"),
    min_trades=3,
    worst_risk=RiskLevel.OK,
    above=(),
)
RUN = RunFacts(
    run_id=1,
    is_passed=True,
    passed=6,
    checks=6,
    code_version="v" * 64,
    started_at=NOW - timedelta(minutes=5),
    exchange_status="pass",
)
TRADES = TradeFacts(count=3, symbols=2, stops=1, targets=1)
LIVE = LiveFacts(
    activated_at=NOW - timedelta(hours=3),
    verdicts=dict.fromkeys(MARKS, "pass"),
    trips=0,
    protected_entry_at=NOW - timedelta(hours=2),
)
EARNED = EvaluationFacts(profile="MICRO", recommendation="promote", evaluated_at=NOW - timedelta(hours=1))
FACTS = ProgrammeFacts(
    now=NOW,
    market_now=NOW,
    account="main",
    profile="SMALL",
    environment="paper",
    desk_environment="paper",
    is_solo=False,
    current_profile="MICRO",
    last_rung_at=NOW - timedelta(days=40),
    code_version="v" * 64,
    config=CONFIG,
    run=RUN,
    trades=TRADES,
    unmet_lines=(),
    halted_scopes=(),
    risk_level=RiskLevel.OK,
    is_held=False,
    evaluation=EARNED,
    growth_limit="max_position_notional",
    growth=Decimal(4),
    is_frozen=True,
    drift=(),
    request_state="executed",
    live=LIVE,
)


def judge(name: str, **changes: Any):
    return CONDITIONS[name](replace(FACTS, **changes), RULES)


def test_with_everything_in_order_every_condition_is_met():
    found = list_conditions(tuple(CONDITIONS), FACTS, RULES)
    assert [item.name for item in found] == list(CONDITIONS)
    assert all(item.is_met and item.text and not item.code and not item.next for item in found)


def observed(**changes: Any) -> LiveFacts:
    return replace(LIVE, **changes)


@pytest.mark.parametrize(
    ("name", "changes", "code"),
    [
        ("environment", {"desk_environment": "live"}, "wrong_environment"),
        ("rung", {"profile": "MEDIUM"}, "rung_skipped"),
        ("rung", {"profile": "SMALL", "current_profile": None}, "rung_skipped"),
        ("rung", {"profile": "HUGE"}, "rung_skipped"),
        ("rung", {"is_solo": True, "last_rung_at": NOW - timedelta(days=27, hours=23)}, "solo_rung_wait"),
        ("rung", {"is_solo": True, "profile": "MEDIUM", "current_profile": "SMALL"}, "solo_ceiling"),
        ("config", {"config": None}, "config_missing"),
        ("enabled", {"config": None}, "activation_disabled"),
        ("enabled", {"config": replace(CONFIG, is_enabled=False)}, "activation_disabled"),
        ("profile_allowed", {"config": None}, "profile_not_allowed"),
        (
            "profile_allowed",
            {"config": replace(CONFIG, allowed_profiles=("MICRO",))},
            "profile_not_allowed",
        ),
        ("ceiling", {"config": None}, "above_ceiling"),
        ("ceiling", {"config": replace(CONFIG, above=("max_leverage: 5 above 2",))}, "above_ceiling"),
        ("preflight", {"run": None}, "preflight_missing"),
        ("preflight", {"code_version": "w" * 64}, "preflight_other_code"),
        ("preflight", {"run": replace(RUN, is_passed=False)}, "preflight_failed"),
        ("preflight", {"run": replace(RUN, passed=5)}, "preflight_failed"),
        ("preflight", {"now": NOW + timedelta(minutes=26)}, "preflight_stale"),
        ("preflight", {"now": NOW - timedelta(minutes=6)}, "preflight_stale"),
        ("venue", {"run": None}, "venue_unverified"),
        ("venue", {"run": replace(RUN, exchange_status="not_applicable")}, "venue_unverified"),
        ("trades", {"trades": replace(TRADES, count=2)}, "too_few_trades"),
        ("trades", {"trades": replace(TRADES, symbols=1)}, "too_few_trades"),
        ("trades", {"config": None}, "too_few_trades"),
        ("triggers", {"trades": replace(TRADES, stops=0)}, "protection_never_triggered"),
        ("triggers", {"trades": replace(TRADES, targets=0)}, "protection_never_triggered"),
        ("checklist", {"unmet_lines": None}, "checklist_unknown"),
        ("checklist", {"unmet_lines": ("grafana",)}, "checklist_open"),
        ("evaluation", {"evaluation": None}, "not_promoted"),
        ("evaluation", {"evaluation": replace(EARNED, profile="SMALL")}, "not_promoted"),
        ("evaluation", {"evaluation": replace(EARNED, recommendation="hold")}, "not_promoted"),
        ("evaluation", {"evaluation": replace(EARNED, recommendation="demote")}, "not_promoted"),
        ("evaluation", {"now": NOW + timedelta(hours=23, seconds=1)}, "not_promoted"),
        ("cumulative", {"evaluation": None}, "cumulative_increase"),
        ("cumulative", {"evaluation": None, "growth": Decimal("0.1001")}, "cumulative_increase"),
        ("no_stop", {"halted_scopes": ("all",)}, "stop_stands"),
        ("global_risk", {"risk_level": None}, "global_risk_not_ok"),
        ("global_risk", {"risk_level": RiskLevel.WARNING}, "global_risk_not_ok"),
        ("global_risk", {"config": None}, "global_risk_not_ok"),
        ("no_hold", {"is_held": True}, "held"),
        ("freeze", {"is_frozen": False}, "not_frozen"),
        ("freeze", {"drift": ("limits: other",)}, "freeze_drifted"),
        ("request", {"request_state": ""}, "not_activated"),
        ("request", {"request_state": "approved"}, "not_activated"),
        ("observed", {"live": None}, "not_activated"),
        ("observed", {"live": observed(trips=1)}, "guard_tripped"),
        ("observed", {"live": observed(verdicts={})}, "observation_open"),
        ("live_entry", {"live": None}, "not_activated"),
        ("live_entry", {"live": observed(protected_entry_at=None)}, "no_live_entry"),
        (
            "live_entry",
            {"live": observed(protected_entry_at=None, activated_at=NOW - timedelta(hours=25))},
            "observation_over",
        ),
        (
            "live_entry",
            {"live": observed(protected_entry_at=NOW, activated_at=NOW - timedelta(hours=24, seconds=1))},
            "observation_over",
        ),
    ],
)
def test_what_is_missing_has_a_code_and_says_so(name, changes, code):
    found = judge(name, **changes)
    assert (found.name, found.is_met, found.code) == (name, False, code)
    assert found.text


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("verdict", ["fail", "inconclusive", "error", None])
def test_every_mark_must_have_passed(mark, verdict):
    verdicts = {**LIVE.verdicts, mark: verdict}
    if verdict is None:
        verdicts.pop(mark)
    assert judge("observed", live=observed(verdicts=verdicts)).code == "observation_open"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("rung", {"is_solo": True}),
        ("rung", {"is_solo": True, "last_rung_at": None, "profile": "MICRO", "current_profile": None}),
        ("rung", {"is_solo": True, "last_rung_at": NOW, "profile": "MICRO"}),
        ("rung", {"profile": "MICRO", "current_profile": "LARGE"}),
        ("evaluation", {"evaluation": None, "profile": "MICRO", "current_profile": None}),
        ("evaluation", {"evaluation": None, "profile": "MICRO", "current_profile": "SMALL"}),
        ("evaluation", {"evaluation": None, "profile": "MICRO"}),
        ("cumulative", {"evaluation": None, "growth": None}),
        ("cumulative", {"evaluation": None, "growth": Decimal("0.1")}),
        (
            "global_risk",
            {"risk_level": RiskLevel.WARNING, "config": replace(CONFIG, worst_risk=RiskLevel.WARNING)},
        ),
        ("preflight", {"now": NOW + timedelta(minutes=25)}),
    ],
)
def test_what_is_met_at_the_edge(name, changes):
    assert judge(name, **changes).is_met


def test_a_promotion_is_a_rung_above_micro_and_above_the_present_one():
    def asks(profile, present):
        return is_promotion(replace(FACTS, profile=profile, current_profile=present))

    assert asks("SMALL", "MICRO")
    assert not asks("MICRO", None)
    assert not asks("SMALL", "SMALL")
    assert not asks("SMALL", "MEDIUM")


def test_a_phase_lasts_its_time():
    assert waits_until(NOW, Phase.OBSERVATION, RULES) == NOW + timedelta(minutes=120)
    assert waits_until(NOW, Phase.FREEZE, RULES) == NOW + timedelta(minutes=10)


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
        datetime(2026, 10, 25, 1, 0, tzinfo=UTC),
        datetime(2026, 3, 8, 7, 0, tzinfo=UTC),
        datetime(2026, 11, 1, 6, 0, tzinfo=UTC),
    ],
)
def test_an_hour_that_the_clocks_change_in_counts_like_any_other(at):
    """Half an hour is half an hour on both sides of a change, in the instants that the database gives."""
    for zone in ("Europe/London", "America/New_York", "Australia/Sydney"):
        began = (at - timedelta(minutes=15)).astimezone(ZoneInfo(zone)).astimezone(UTC)
        run = replace(RUN, started_at=began)
        assert judge("preflight", run=run, now=began + timedelta(minutes=30)).is_met
        late = began + timedelta(minutes=30, microseconds=1)
        assert judge("preflight", run=run, now=late).code == "preflight_stale"
        waits = judge("rung", is_solo=True, last_rung_at=began, now=began + timedelta(days=28))
        assert waits.is_met
        early = judge(
            "rung", is_solo=True, last_rung_at=began, now=began + timedelta(days=28, microseconds=-1)
        )
        assert early.code == "solo_rung_wait"


def test_the_rules_that_are_shipped():
    assert RULES.marks == MARKS
    assert RULES.trade_age == timedelta(days=7)
    assert (RULES.min_symbols, RULES.solo_highest) == (2, "SMALL")
    assert RULES.solo_rung_every == timedelta(days=28)
    assert RULES.cumulative_window == timedelta(days=30)
    assert RULES.max_observation == timedelta(hours=24)
