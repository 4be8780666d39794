"""Global risk as measured on the database and stored in stretches."""

from datetime import timedelta
from decimal import Decimal

import pytest
from prometheus_client import REGISTRY

from risk import models
from risk.assessment import assess_global_risk, measure_drawdown
from tests.risk import desk
from trading import models as facts
from trading.core.values import Clocks
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
D = Decimal


@pytest.fixture
def account() -> facts.Account:
    made = desk.make_desk()
    models.GlobalRisk.objects.all().delete()
    return made


def later(clocks: Clocks, seconds: int) -> Clocks:
    step = timedelta(seconds=seconds)
    return Clocks(wall_at=clocks.wall_at + step, market_at=clocks.market_at + step)


def test_a_fresh_desk_is_ok_and_its_inputs_are_kept(account):
    row = assess_global_risk(clocks=get_clocks())

    assert (row.level, row.reasons) == ("OK", [])
    inputs = row.inputs["main"]
    assert inputs["venue"] == "binanceusdm"
    assert Decimal(inputs["drawdown_ratio"]) == 0
    assert inputs["balance_age"] < 60


def test_the_same_finding_extends_the_stretch_and_another_begins_one(account):
    clocks = get_clocks()
    first = assess_global_risk(clocks=clocks)
    second = assess_global_risk(clocks=later(clocks, 50))
    assert second.pk == first.pk
    assert second.checked_at == clocks.wall_at + timedelta(seconds=50)
    assert second.since_at == clocks.wall_at

    warned = assess_global_risk(clocks=later(clocks, 100))
    assert (warned.level, warned.pk == first.pk) == ("WARNING", False)
    critical = assess_global_risk(clocks=later(clocks, 200))
    assert critical.level == "CRITICAL"
    assert models.GlobalRisk.objects.count() == 3


def test_a_pause_ends_a_stretch(account):
    clocks = get_clocks()
    assess_global_risk(clocks=clocks)
    facts.MarketPrice.objects.update(read_at=later(clocks, 3600).wall_at)
    desk.refresh(account)
    models.GlobalRisk.objects.exclude(pk=models.GlobalRisk.objects.earliest("pk").pk).delete()

    assess_global_risk(clocks=later(clocks, 61))

    assert models.GlobalRisk.objects.count() == 2


def test_an_account_without_a_permit_endangers_nobody(account):
    facts.Permit.objects.update(active=False)
    facts.MarketPrice.objects.all().delete()
    assert assess_global_risk(clocks=get_clocks()).level == "OK"


def test_an_account_that_was_never_read_is_critical(account):
    facts.MarketPrice.objects.all().delete()
    row = assess_global_risk(clocks=get_clocks())
    assert row.level == "CRITICAL"
    assert row.reasons == ["CRITICAL: main at binanceusdm: prices unknown"]


def test_drawdown_is_from_the_days_peak_net_of_flows(account):
    place = desk.place_of(account)
    noon = get_clocks().market_at.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
    assert measure_drawdown(place, noon) is None
    for minutes, equity in ((0, 1000), (10, 1200), (20, 1100)):
        desk.sample_equity(place, equity, market_at=noon + timedelta(minutes=minutes))
    end = noon + timedelta(minutes=30)
    assert measure_drawdown(place, end) == D(100) / 1200

    # 100 of the rise was a deposit: the peak is 1100, and nothing was lost of it but the 0 since.
    facts.Income.objects.create(
        venue_account=place,
        venue_income_id="1",
        kind="TRANSFER",
        amount=100,
        market_at=noon + timedelta(minutes=5),
    )
    assert measure_drawdown(place, end) == D(100) / 1100

    # Yesterday's peak is yesterday's.
    assert measure_drawdown(place, end + timedelta(days=1)) is None


def test_an_account_without_equity_has_no_drawdown_to_measure(account):
    place = desk.place_of(account)
    tomorrow = get_clocks().market_at + timedelta(days=1)
    desk.sample_equity(place, 0, market_at=tomorrow)
    assert measure_drawdown(place, tomorrow) is None


@pytest.mark.django_db(transaction=True)
def test_every_scopes_state_is_shown_as_the_database_has_it():
    desk.make_desk()
    facts.TradingState.objects.filter(scope="account:main").update(state="HALTED")

    assess_global_risk(clocks=get_clocks())

    assert REGISTRY.get_sample_value("ess_state", {"scope": "account:main"}) == 2
    assert REGISTRY.get_sample_value("ess_state", {"scope": "all"}) == 0
    assert REGISTRY.get_sample_value("global_risk_level") is not None
