"""Global risk as measured on the database and stored in stretches."""

import json
import math
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.utils import timezone
from prometheus_client import REGISTRY

from risk import models
from risk.core.global_risk import MeasureName, Threshold, assess
from risk.global_risk.assessment import assess_global_risk
from risk.global_risk.limits import get_global_risk_limits
from risk.global_risk.record import read_inputs
from tests.risk import desk
from tests.risk.candles import make_hours
from trading import models as facts
from trading.core.values import Clocks, OrderPurpose
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


def measured(row: models.GlobalRisk, account: str = "main") -> dict:
    return row.inputs["accounts"][account]


def codes(row: models.GlobalRisk) -> set[tuple[str, str]]:
    return {(finding["code"], finding["level"]) for finding in row.inputs["findings"]}


def assess_now() -> models.GlobalRisk:
    return assess_global_risk(clocks=get_clocks())


# Stretches ----------------------------------------------------------------------------------------


def test_a_fresh_desk_is_ok_and_its_inputs_are_kept(account):
    row = assess_now()

    assert (row.level, row.reasons) == ("OK", [])
    inputs = measured(row)
    assert inputs["venue"] == "binanceusdm"
    assert Decimal(inputs["drawdown_ratio"]) == 0
    assert inputs["balance_age"] < 60
    assert inputs["answer_age"] <= inputs["balance_age"]
    assert inputs["is_flat"] is True
    names = ("leverage", "concentration_ratio", "bet_ratio", "var_ratio", "es_ratio", "maintenance_ratio")
    assert {inputs[name] for name in names} == {"0"}
    assert row.inputs["limits"]["digest"] == get_global_risk_limits().digest


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


@pytest.mark.parametrize("is_held", [False, True])
def test_the_level_can_be_found_again_from_the_row_alone(account, is_held):
    if is_held:
        desk.hold(account)
    assess_global_risk(clocks=later(get_clocks(), 100))
    row = models.GlobalRisk.objects.latest("pk")

    accounts, limits = read_inputs(json.loads(json.dumps(row.inputs)))
    again = assess(accounts, limits)

    assert limits == get_global_risk_limits()
    assert (again.level.value, list(again.reasons)) == (row.level, row.reasons)
    assert row.level == ("CRITICAL" if is_held else "WARNING")
    assert [finding.measured for finding in again.findings] == [
        finding["measured"] for finding in row.inputs["findings"]
    ]


def test_other_thresholds_would_have_been_another_level(account):
    assess_global_risk(clocks=later(get_clocks(), 100))
    accounts, limits = read_inputs(models.GlobalRisk.objects.latest("pk").inputs)
    slow = Threshold(warning=D(150), critical=D(180))
    patient = replace(limits, data_age=slow, answer_age=slow)
    assert assess(accounts, patient).level != assess(accounts, limits).level


# Accounts -----------------------------------------------------------------------------------------


def test_an_account_without_a_permit_endangers_nobody(account):
    facts.Permit.objects.update(active=False)
    facts.MarketPrice.objects.all().delete()
    assert assess_now().level == "OK"


def test_an_account_that_was_never_read_is_critical(account):
    facts.MarketPrice.objects.all().delete()
    row = assess_now()
    assert row.level == "CRITICAL"
    assert row.reasons == ["CRITICAL: main at binanceusdm: prices unknown"]


def test_an_account_without_a_primary_venue_is_critical_and_stops_nobody_elses_measure(account):
    lost = facts.Account.objects.create(name="lost", environment="paper")
    limit_set = models.LimitSet.objects.latest("pk")
    desk.make_permit(lost, limit_set, get_clocks())

    row = assess_now()

    assert row.level == "CRITICAL"
    assert {finding["account"] for finding in row.inputs["findings"]} == {"lost"}
    assert measured(row, "lost")["drawdown_ratio"] is None
    assert measured(row, "main")["drawdown_ratio"] is not None


def test_an_account_whose_limits_are_not_stored_is_critical(account):
    facts.Permit.objects.update(limit_set_digest="0" * 64)
    row = assess_now()
    assert codes(row) == {("drawdown", "CRITICAL")}
    desk.hold(account)
    assert ("leverage", "CRITICAL") in codes(assess_now())


# The book -----------------------------------------------------------------------------------------


def test_a_position_is_measured_with_the_history_of_its_symbol(account):
    make_hours("SOLUSDT", count=721)
    desk.hold(account, quantity=D("0.6"))
    row = assess_now()
    inputs = measured(row)

    assert row.level == "OK", row.reasons
    # 90 of the 1,100 that may be risked.
    assert float(inputs["leverage"]) == pytest.approx(90 / 1100, abs=1e-6)
    assert float(inputs["concentration_ratio"]) == pytest.approx(90 / 1100, abs=1e-6)
    assert float(inputs["bet_ratio"]) == pytest.approx(90 / 1100, abs=1e-6)
    # Every hour moved by 1 %: the loss of a day is the root of its hours.
    assert float(inputs["var_ratio"]) == pytest.approx(90 / 1100 * 0.01 * math.sqrt(24), rel=1e-2)
    assert float(inputs["es_ratio"]) >= float(inputs["var_ratio"])
    assert inputs["loss_method"] == "historical"
    assert float(inputs["volatility_ratio"]) == pytest.approx(1, rel=1e-2)
    assert Decimal(inputs["maintenance_ratio"]) == 0


def test_what_waits_to_fill_counts_as_filled(account):
    make_hours("SOLUSDT", count=721)
    desk.hold(account, quantity=D("0.3"))
    alone = float(measured(assess_now())["leverage"])
    intent = desk.ask(account, quantity=D("0.3"))
    facts.OrderIntent.objects.filter(pk=intent.pk).update(state="approved", decision_id=1)
    inputs = measured(assess_now())
    assert float(inputs["leverage"]) == pytest.approx(2 * alone, abs=1e-6)
    assert inputs["is_flat"] is False


def test_without_history_what_is_held_is_critical_and_what_is_not_held_is_not(account):
    assert assess_now().level == "OK"
    desk.hold(account)
    row = assess_now()
    assert codes(row) == {
        ("value_at_risk", "CRITICAL"),
        ("expected_shortfall", "CRITICAL"),
        ("volatility", "CRITICAL"),
    }


@pytest.mark.parametrize(("hours", "method"), [(49, "parametric"), (200, "parametric"), (201, "historical")])
def test_the_loss_is_read_or_estimated_by_how_much_history_there_is(account, hours, method):
    make_hours("SOLUSDT", count=hours)
    desk.hold(account)
    row = assess_now()
    assert (measured(row)["loss_method"], row.level) == (method, "OK")


def test_history_that_stopped_is_not_known_any_more(account):
    desk.hold(account)
    make_hours("SOLUSDT", count=300, ended_hours_ago=6)
    assert assess_now().level == "OK"
    facts.Candle.objects.all().delete()
    make_hours("SOLUSDT", count=300, ended_hours_ago=7)
    assert ("value_at_risk", "CRITICAL") in codes(assess_now())


def test_a_book_without_a_fresh_price_is_not_known(account):
    make_hours("SOLUSDT", count=300)
    desk.hold(account)
    facts.MarketPrice.objects.filter(symbol="SOLUSDT").update(at=get_clocks().market_at - timedelta(hours=1))
    assert ("leverage", "CRITICAL") in codes(assess_now())


def test_without_equity_nothing_can_be_a_share_of_it(account):
    make_hours("SOLUSDT", count=300)
    desk.hold(account)
    desk.sample_equity(desk.place_of(account), 0, market_at=get_clocks().market_at)
    found = codes(assess_now())
    assert {("leverage", "CRITICAL"), ("drawdown", "CRITICAL")} <= found


def test_a_wild_market_is_critical_before_anything_is_bought(account):
    make_hours("SOLUSDT", count=721, last_moves=[0.2] * 24)
    row = assess_now()
    assert codes(row) == {("volatility", "CRITICAL")}
    assert float(measured(row)["volatility_ratio"]) > 4


@pytest.mark.parametrize(
    ("margin", "level"), [(274, None), (275, "WARNING"), (549, "WARNING"), (550, "CRITICAL")]
)
def test_maintenance_margin_is_of_equity(account, margin, level):
    make_hours("SOLUSDT", count=300)
    desk.hold(account)
    place, at = desk.place_of(account), get_clocks().market_at
    sample = desk.sample_equity(place, 1100, market_at=at)
    fields = {
        name: getattr(sample, name)
        for name in ("wallet", "equity", "available", "initial_margin", "market_at")
    }
    facts.EquitySample.objects.create(venue_account=place, maintenance_margin=margin, **fields)
    assert codes(assess_now()) == (set() if level is None else {("maintenance_margin", level)})


# The venue ----------------------------------------------------------------------------------------


def send(account: facts.Account, state: str, *, seconds_ago: int, code: str = "") -> facts.Order:
    order = facts.Order.objects.create(
        intent=desk.ask(account),
        venue_account=desk.place_of(account),
        symbol="SOLUSDT",
        client_order_id=f"c{next(desk.NUMBERS)}",
        purpose=OrderPurpose.EXIT,
        side="sell",
        order_type="market",
        quantity=1,
        reduce_only=True,
        state=state,
        market_at=get_clocks().market_at,
        sent_at=timezone.now() - timedelta(seconds=seconds_ago),
    )
    facts.OrderEvent.objects.create(
        order=order,
        state=state,
        venue_code=code,
        market_at=order.market_at,
        at=timezone.now() - timedelta(seconds=seconds_ago),
    )
    return order


@pytest.mark.parametrize("state", ["unknown", "sending"])
@pytest.mark.parametrize(("number", "level"), [(1, "WARNING"), (3, "CRITICAL")])
def test_orders_without_an_outcome_for_a_quarter_minute_are_found(account, state, number, level):
    for _ in range(number):
        send(account, state, seconds_ago=10)
    assert ("unknown_orders", level) not in codes(assess_now())
    facts.Order.objects.update(sent_at=timezone.now() - timedelta(seconds=20))
    assert ("unknown_orders", level) in codes(assess_now())


def test_a_resting_order_is_no_unknown_one(account):
    send(account, "open", seconds_ago=600)
    assert assess_now().level == "OK"


@pytest.mark.parametrize(("number", "level"), [(2, None), (3, "WARNING"), (10, "CRITICAL")])
def test_refusals_of_the_last_minutes_are_counted(account, number, level):
    for _ in range(number):
        send(account, "rejected", seconds_ago=200, code="-2019")
    for _ in range(12):
        send(account, "rejected", seconds_ago=400, code="-2019")
        send(account, "never_placed", seconds_ago=5, code="FENCED")
        send(account, "cancelled", seconds_ago=5)
    assert codes(assess_now()) == (set() if level is None else {("execution_errors", level)})


def test_another_accounts_refusals_are_its_own(account):
    desk.make_desk(name="other")
    for _ in range(10):
        send(account, "rejected", seconds_ago=5)
    assert {finding["account"] for finding in assess_now().inputs["findings"]} == {"main"}


@pytest.mark.parametrize(
    ("equity", "level"),
    [("1092", None), ("1091.75", "WARNING"), ("1083.6", "WARNING"), ("1083.5", "CRITICAL")],
)
def test_half_of_the_stop_warns_and_the_stop_is_critical(account, equity, level):
    desk.sample_equity(desk.place_of(account), equity, market_at=get_clocks().market_at)
    assert codes(assess_now()) == (set() if level is None else {("drawdown", level)})


# Writing ------------------------------------------------------------------------------------------


def test_the_lock_is_taken_before_the_first_fact_is_read(account):
    clocks, recorder = get_clocks(), Recorder()
    with connection.execute_wrapper(recorder):
        assess_global_risk(clocks=clocks)
    assert "pg_advisory_xact_lock" in recorder.seen[0]
    assert len(recorder.seen) > 5


class Recorder:
    """Which statements ran, in their order."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, execute, sql, params, many, context):
        if not sql.startswith("SAVEPOINT"):
            self.seen.append(sql)
        return execute(sql, params, many, context)


@pytest.mark.django_db(transaction=True)
def test_levels_and_measures_are_shown_as_the_database_has_them():
    account = desk.make_desk()
    facts.TradingState.objects.filter(scope="account:main").update(state="HALTED")
    desk.hold(account)

    assess_global_risk(clocks=get_clocks())

    def shown(name: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(name, labels)

    assert shown("ess_state", scope="account:main") == 2
    assert shown("ess_state", scope="all") == 0
    assert shown("global_risk_level") == 2
    for name in MeasureName:
        assert shown("global_risk_measure", account="main", measure=name.value) is not None, name
    assert shown("global_risk_measure", account="main", measure="leverage") == pytest.approx(
        45 / 1100, abs=1e-6
    )
    assert math.isnan(shown("global_risk_measure", account="main", measure="value_at_risk"))
