from datetime import timedelta

import pytest

from golive.core.values import CheckName, Purpose
from golive.preflight.check_risk_system import _measure_drill, is_only_stale, judge_proof, measure
from golive.preflight.context import Context
from risk import models
from risk.canary import ABSENCES, GateProof, prove_gate_denies
from risk.services import assess_global_risk
from tests.golive.preflight.conftest import GOLIVE, REARM, reasons
from tests.risk.desk import make_desk
from tests.risk.drilling import make_drill
from trading.models import Instrument, MarketPrice, OrderIntent, Permit, StrategyAssignment, TradingState
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
FEEDS = (CheckName.EXCHANGE, CheckName.DATABASE)
OLDER = timedelta(hours=193)


@pytest.fixture(autouse=True)
def drill(request):
    """The stop was rehearsed a moment ago; a test about that takes it away."""
    return make_drill() if not hasattr(request, "param") else None


def test_a_calm_desk_passes_and_shows_what_the_gate_said():
    make_desk()
    found = measure(GOLIVE)
    assert found.findings == ()
    assert found.details["global_risk"]["level"] == "OK"
    gate = found.details["gate"]["main"]
    assert gate["canary"] == "denied"
    assert "ORDER_NOTIONAL" in gate["codes"]
    assert gate["absences_denied"] is True


def test_the_canary_leaves_no_trace_that_could_be_sent():
    make_desk()
    measure(GOLIVE)
    assert not OrderIntent.objects.exists()
    assert not models.Decision.objects.exists()


def test_a_halted_scope_fails_going_live_and_is_what_a_rearm_expects():
    make_desk()
    TradingState.objects.filter(scope="account:main").update(state="HALTED")
    assert reasons(measure(GOLIVE)) == ["ess_active"]
    assert reasons(measure(REARM)) == []


def test_a_rearm_of_a_desk_that_trades_has_no_subject():
    make_desk()
    assert reasons(measure(REARM)) == ["nothing_halted"]


def test_reducing_fails_going_live():
    make_desk()
    TradingState.objects.filter(scope="symbol:BTCUSDT").update(state="REDUCING")
    assert reasons(measure(GOLIVE)) == ["trading_reducing"]


@pytest.mark.parametrize("context", [GOLIVE, REARM])
def test_a_scope_without_a_state_fails_whatever_the_purpose(context):
    make_desk()
    TradingState.objects.filter(scope="all").delete()
    assert "trading_state_missing" in reasons(measure(context))


def test_global_risk_that_was_never_or_long_ago_assessed_is_not_a_level():
    make_desk()
    models.GlobalRisk.objects.update(checked_at=get_clocks().wall_at - timedelta(seconds=31))
    assert reasons(measure(GOLIVE)) == ["global_risk_stale"]
    models.GlobalRisk.objects.all().delete()
    found = measure(GOLIVE)
    assert reasons(found) == ["global_risk_unknown"]
    assert found.findings[0].depends_on == (CheckName.DATABASE,)


def test_risk_that_is_critical_for_old_facts_only_points_at_those_who_bring_them():
    make_desk()
    MarketPrice.objects.update(read_at=get_clocks().wall_at - timedelta(seconds=200))
    assess_global_risk(clocks=get_clocks())
    found = measure(GOLIVE)
    assert reasons(found) == ["global_risk_critical"]
    assert found.findings[0].depends_on == FEEDS


def test_risk_that_is_critical_for_a_loss_is_a_failure_of_its_own():
    assert not is_only_stale(
        {
            "main": {
                "account": "main",
                "venue": "binanceusdm",
                "price_age": 500.0,
                "is_reconciled": True,
                "drawdown_ratio": "0.02",
                "drawdown_limit_ratio": "0.015",
            }
        }
    )
    assert not is_only_stale({})


def test_without_a_price_the_canary_cannot_be_valued_and_the_feeds_are_asked():
    make_desk()
    MarketPrice.objects.all().delete()
    found = measure(GOLIVE)
    assert reasons(found) == ["gate_proof_incomplete"]
    assert found.findings[0].depends_on == FEEDS


def test_without_a_permit_the_lowest_profile_is_the_one_to_break():
    account = make_desk()
    Permit.objects.update(active=False)
    proof = prove_gate_denies(account=account, clocks=get_clocks())
    assert (proof.profile, proof.is_limit_named, proof.unnoticed) == ("MICRO", True, ())


def test_every_absence_is_noticed_even_where_other_facts_are_gone():
    account = make_desk()
    Instrument.objects.all().delete()
    proof = prove_gate_denies(account=account, clocks=get_clocks())
    assert proof.unnoticed == ()
    assert len(ABSENCES) == 24


@pytest.mark.parametrize(("allowed", "unnoticed"), [(True, ()), (False, ("balance",))])
def test_a_gate_that_allows_calls_for_the_emergency_stop(allowed, unnoticed):
    proof = GateProof(
        symbol="BTCUSDT", profile="MICRO", has_price=True, allowed=allowed, codes=(), unnoticed=unnoticed
    )
    (finding,) = judge_proof("main", proof)
    assert finding.reason == "gate_allows"
    assert finding.next == "python3 manage.py emergency_stop trip --scope all"
    assert finding.depends_on == ()


def test_a_desk_without_accounts_or_strategies_says_so():
    assert reasons(measure(GOLIVE)) == ["no_account"]
    named = Context(purpose=Purpose.GOLIVE, account="nobody")
    assert reasons(measure(named)) == ["account_not_found"]
    make_desk()
    StrategyAssignment.objects.all().delete()
    assert reasons(measure(GOLIVE)) == ["nothing_assigned"]


def test_the_last_good_drill_is_shown_with_what_it_took():
    make_desk()
    assert measure(GOLIVE).details["drill"] | {"last_good": 0} == {
        "last_good": 0,
        "age_hours": 0,
        "stopped_within_seconds": 0.5,
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ago": OLDER}, "drill_stale"),
        ({"code_version": "f" * 64}, "drill_missing"),
        ({"is_passed": False}, "drill_missing"),
    ],
)
@pytest.mark.parametrize("drill", [None], indirect=True)
def test_without_a_recent_good_drill_of_this_code_nothing_goes_live(drill, changes, reason):
    make_desk()
    make_drill(**changes)
    (found,) = measure(GOLIVE).findings
    assert (found.reason, found.next) == (reason, "python3 manage.py emergency_stop drill")
    TradingState.objects.filter(scope="account:main").update(state="HALTED")
    assert reasons(measure(REARM)) == []


@pytest.mark.parametrize("drill", [None], indirect=True)
def test_a_desk_that_does_not_rehearse_on_paper_says_where_to(drill, settings):
    make_desk()
    settings.TRADING_ENVIRONMENT = "live"
    details, (found,) = _measure_drill(GOLIVE, get_clocks())
    assert (details, found.reason) == ({"last_good": None}, "drill_missing")
    assert found.next == "TRADING_ENVIRONMENT=paper python3 manage.py emergency_stop drill"


def test_a_drill_under_way_is_no_stop_of_the_desk():
    make_desk()
    TradingState.objects.create(scope="account:paper-drill", state="HALTED", reason="", source="drill")
    assert measure(GOLIVE).findings == ()
    assert reasons(measure(REARM)) == ["nothing_halted"]
