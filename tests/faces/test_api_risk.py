"""Headroom, risk state and the emergency stop over HTTP."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from controlplane.approvals.core import TokenScope
from controlplane.audit.models import AuditEvent
from risk.models import GlobalRisk, StopEvent
from tests import factories
from tests.faces.test_api_facts import problem
from trading.models import MarketPrice, TradingState


def limits_of(api):
    rows = api.get("/accounts/paper-main/headroom").json()["limits"]
    return {row["limit"]: row for row in rows}


def test_headroom_says_what_is_left_of_each_limit(api, desk):
    answer = api.get("/accounts/paper-main/headroom").json()
    assert (answer["profile"], answer["account"]) == ("MICRO", "paper-main")
    limits = limits_of(api)
    assert limits["positions"] == {
        "limit": "positions",
        "unit": "count",
        "measured": "1",
        "allowed": "2",
        "headroom": "1",
    }
    assert limits["largest_position"]["measured"] == "75"
    assert limits["largest_position"]["headroom"] == "25"
    assert limits["daily_loss"]["measured"] == "0"


def test_a_loss_uses_up_the_daily_limit(api, desk):
    later = timezone.now() + timedelta(seconds=1)
    factories.EquityFactory(venue_account=desk, equity=Decimal("1094.5"), market_at=later)
    row = limits_of(api)["daily_loss"]
    assert (row["measured"], row["allowed"], row["headroom"]) == ("0.005", "0.005", "0")


def test_a_position_without_a_price_makes_its_measures_unknown(api, desk):
    MarketPrice.objects.filter(symbol="ETHUSDT").delete()
    limits = limits_of(api)
    assert limits["largest_position"]["measured"] is None
    assert limits["leverage"]["headroom"] is None


def test_without_a_permit_there_is_no_limit_to_use(api, desk):
    desk.account.permits.update(active=False)
    answer = api.get("/accounts/paper-main/headroom").json()
    assert (answer["profile"], answer["limits"]) == (None, [])


def test_the_risk_state_has_both_clocks_the_level_and_every_scope(api, desk):
    answer = api.get("/risk/state").json()
    assert answer.keys() == {"now", "market_now", "global_risk", "trading_state"}
    assert answer["global_risk"]["level"] == "OK"
    assert answer["global_risk"]["age_seconds"] >= 0
    scopes = {row["scope"]: row["state"] for row in answer["trading_state"]}
    assert scopes["all"] == "ACTIVE"
    assert scopes["symbol:ETHUSDT"] == "ACTIVE"


def test_an_old_or_missing_assessment_reads_critical(api, desk):
    GlobalRisk.objects.update(checked_at=timezone.now() - timedelta(minutes=5))
    assert api.get("/risk/state").json()["global_risk"]["level"] == "CRITICAL"
    GlobalRisk.objects.all().delete()
    answer = api.get("/risk/state").json()["global_risk"]
    assert (answer["level"], answer["age_seconds"]) == ("CRITICAL", None)


def test_one_call_stops_and_is_audited(api, desk):
    answer = api.post("/emergency-stop", {"scope": "account:paper-main"}).json()
    assert (answer["scope"], answer["state"], answer["progress"]) == (
        "account:paper-main",
        "HALTED",
        "STOPPING",
    )
    assert TradingState.objects.get(scope="account:paper-main").state == "HALTED"
    event = AuditEvent.objects.get(action="risk.stop_trip")
    assert (event.actor_kind, event.actor) == ("token", "bot")
    status = api.get(f"/emergency-stop/{answer['event_id']}").json()
    assert (status["progress"], status["steps"]) == ("STOPPING", [])


def test_stopping_what_is_stopped_answers_with_the_stop_that_stands(api, desk):
    first = api.post("/emergency-stop", {"scope": "all", "reason": "first"}).json()
    assert api.post("/emergency-stop", {"scope": "all"}).json() == first
    assert StopEvent.objects.get().reason == "first"


@pytest.mark.parametrize("scope", ["everything", "account:nobody", "venue:", "symbol:btc"])
def test_a_scope_that_names_nothing_is_refused(api, desk, scope):
    problem(api.post("/emergency-stop", {"scope": scope}), 422, "scope_invalid")
    assert not StopEvent.objects.exists()


def test_stopping_takes_the_scope_stop_and_the_refusal_is_audited(api, desk, token):
    type(token).objects.update(scopes=[TokenScope.READ.value])
    problem(api.post("/emergency-stop", {"scope": "all"}), 403, "scope_missing")
    assert AuditEvent.objects.filter(action="risk.stop_trip.denied").count() == 1


def test_an_unknown_stop_is_not_found(api, desk):
    problem(api.get("/emergency-stop/999"), 404, "stop_event_not_found")
