"""Triggers that are measured from rows: each trips its own scope, beyond its threshold and not before."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from controlplane.approvals.core import Role
from risk import models
from risk.stops.rules import get_stop_rules
from risk.stops.triggers import watch_all
from tests.approvals.conftest import choose_mode, make_person
from tests.risk import desk
from tests.risk.desk import D
from tests.risk.rearming import approve, ask, make_ready
from trading import models as facts
from trading.core.values import Clocks
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db(transaction=True)
RULES = get_stop_rules()


@pytest.fixture
def account() -> facts.Account:
    return desk.make_desk()


def look(*, later: timedelta = timedelta(0), began: timedelta = timedelta(hours=1)) -> list[tuple[str, str]]:
    """One pass by a guard that began a while ago; what stands then.

    No venue answers here, so that in time the account's own readings are missed too: not told of here.
    """
    now = get_clocks()
    clocks = Clocks(wall_at=now.wall_at + later, market_at=now.market_at + later)
    watch_all(clocks=clocks, began_at=now.wall_at - began, call_sweeper=lambda _: None)
    rows = models.StopEvent.objects.filter(ended_at__isnull=True).order_by("id")
    missed = ("account:main", "stale_data")
    return [stop for stop in rows.values_list("scope", "source") if stop != missed]


def watch_of(trigger: str, scope: str) -> models.Watch:
    return models.Watch.objects.get(trigger=trigger, scope=scope)


def ago(seconds: float) -> datetime:
    return get_clocks().wall_at - timedelta(seconds=seconds)


def test_a_desk_in_order_has_nothing_that_trips(account):
    desk.hold(account)
    assert look() == []
    assert watch_of("losing_run", "strategy:trend").measured == "0"


# Losing runs -----------------------------------------------------------------------------------------


def trade(
    account: facts.Account, net: Any, *, strategy: str = "trend", risk: Any = 2, minutes_ago: float = 0
):
    at = get_clocks().market_at - timedelta(minutes=minutes_ago)
    return facts.Trade.objects.create(
        venue_account=desk.place_of(account),
        strategy=strategy,
        symbol="SOLUSDT",
        side="buy",
        max_quantity=1,
        entry_price=150,
        exit_price=149,
        net_pnl=D(net),
        risk_amount=None if risk is None else D(risk),
        opened_at=at - timedelta(minutes=1),
        closed_at=at,
    )


def test_the_sixth_loss_in_a_row_stops_its_strategy_only(account):
    for number in range(5):
        trade(account, -1, minutes_ago=60 - number)
    assert look() == []
    trade(account, -1, minutes_ago=50)

    assert look() == [("strategy:trend", "losing_run")]
    event = models.StopEvent.objects.get()
    assert (event.evidence["measured"], event.evidence["threshold"]) == ("6", "5")
    assert event.evidence["account"] == account.name
    states = dict(facts.TradingState.objects.values_list("scope", "state"))
    assert states.pop("strategy:trend") == "HALTED"
    assert set(states.values()) == {"ACTIVE"}


@pytest.mark.parametrize(
    ("net", "risk", "run"),
    [("0.5", 2, 3), ("-0.2", 2, 6), ("-0.21", 2, 7), ("-0.01", None, 7), ("0", None, 6)],
)
def test_what_comes_between_losses(account, net, risk, run):
    """Six losses and something after the third: a profit resets, a scratch is passed over."""
    for number in range(6):
        trade(account, -1, minutes_ago=60 - 10 * number)
    trade(account, net, risk=risk, minutes_ago=35)
    look()

    assert watch_of("losing_run", "strategy:trend").measured == str(run)


def test_each_account_has_a_run_of_its_own(account):
    other = desk.make_desk(name="other")
    for number in range(4):
        trade(account, -1, minutes_ago=60 - number)
        trade(other, -1, minutes_ago=40 - number)
        trade(account, -1, strategy="reversion", minutes_ago=20 - number)
    assert look() == []
    assert watch_of("losing_run", "strategy:trend").measured == "4"


@pytest.fixture
def people(db) -> None:
    choose_mode()
    make_person("ann", Role.REQUESTER)
    make_person("bob", Role.APPROVER)


def arm_again() -> None:
    """Asked by one, approved by another."""
    assert approve(ask(make_ready(models.StopEvent.objects.get()))).state == "executed"


def test_what_was_lost_before_the_scope_was_armed_again_counts_no_more(account, people):
    for number in range(8):
        trade(account, -1, minutes_ago=60 - number)
    assert look() == [("strategy:trend", "losing_run")]
    arm_again()

    assert look() == []
    assert watch_of("losing_run", "strategy:trend").measured == "0"
    for _ in range(5):
        trade(account, -1, minutes_ago=-1)
    assert look() == []
    trade(account, -1, minutes_ago=-1)
    assert look() == [("strategy:trend", "losing_run")]


def test_a_trade_ended_when_its_last_fill_was_booked_however_fast_the_market_runs(account, people):
    """A market that runs ahead of the wall: the trades before the re-arming are dated after it."""
    for number in range(6):
        ended = trade(account, -1, minutes_ago=-600 - number)
        fill(account, ended, number)
    assert look() == [("strategy:trend", "losing_run")]
    arm_again()
    assert look() == []


def fill(account: facts.Account, ended: facts.Trade, number: int) -> None:
    facts.Fill.objects.create(
        venue_account=ended.venue_account,
        symbol=ended.symbol,
        venue_fill_id=str(number),
        venue_order_id=str(number),
        side="sell",
        quantity=1,
        price=149,
        fee=0,
        fee_asset="USDT",
        realised_pnl=-1,
        is_maker=False,
        market_at=ended.closed_at,
        at=ago(60),
    )


# Orders and books ------------------------------------------------------------------------------------


def errors(account: facts.Account, count: int, *, seconds_ago: float = 5, **fields: Any) -> None:
    intent = desk.ask(account)
    order = facts.Order.objects.create(
        intent=intent,
        venue_account=desk.place_of(account),
        symbol="SOLUSDT",
        client_order_id=f"o{next(desk.NUMBERS)}",
        purpose="entry",
        side="buy",
        order_type="market",
        quantity=1,
        reduce_only=False,
        state="rejected",
        market_at=ago(0),
    )
    facts.OrderEvent.objects.bulk_create(
        facts.OrderEvent(
            order=order, market_at=ago(0), at=ago(seconds_ago), **({"state": "rejected"} | fields)
        )
        for _ in range(count)
    )


def test_a_burst_of_refused_orders_stops_the_account(account):
    other = desk.make_desk(name="other")
    errors(account, RULES.max_errors)
    errors(other, RULES.max_errors)
    errors(account, 5, seconds_ago=RULES.error_window.total_seconds() + 1)
    errors(account, 5, venue_code="FENCED")
    assert look() == []
    errors(account, 1, state="unknown")

    assert look() == [("account:main", "execution_errors")]
    assert models.StopEvent.objects.get().evidence["measured"] == "11"


def compared(account: facts.Account, *seconds_ago: float, is_clean: bool = False) -> None:
    for seconds in seconds_ago:
        facts.ReconciliationRun.objects.create(
            venue_account=desk.place_of(account),
            is_clean=is_clean,
            differences=[] if is_clean else [{"kind": "position", "symbol": "SOLUSDT"}],
            market_at=ago(seconds),
            started_at=ago(seconds),
            finished_at=ago(seconds),
        )


def test_books_that_differ_for_too_long_stop_the_account(account):
    facts.ReconciliationRun.objects.update(finished_at=ago(300))
    compared(account, 119, 60, 0)
    assert look() == []
    assert watch_of("reconciliation", "account:main").measured == "119 s"
    compared(account, 125)

    assert look() == [("account:main", "reconciliation")]
    assert models.StopEvent.objects.get().evidence["differences"] == [
        {"kind": "position", "symbol": "SOLUSDT"}
    ]


def test_a_clean_comparison_between_or_a_long_pause_ends_a_mismatch(account):
    compared(account, 200, 100, 10)
    compared(account, 60, is_clean=True)
    assert look() == []
    facts.ReconciliationRun.objects.filter(is_clean=True).update(finished_at=ago(5000))
    facts.ReconciliationRun.objects.filter(is_clean=False).delete()
    compared(account, 4000, 10)
    assert look() == []


# Prices ----------------------------------------------------------------------------------------------


def priced(symbol: str, **fields: Any) -> None:
    assert facts.MarketPrice.objects.filter(symbol=symbol).update(**fields) == 1


def test_no_price_where_something_is_held_stops_the_venue(account):
    priced("SOLUSDT", read_at=ago(125))
    priced("DOGEUSDT", read_at=ago(1))
    assert look() == []
    desk.hold(account)

    assert look() == [("venue:binanceusdm", "stale_data")]
    assert models.StopEvent.objects.get().evidence["symbols"] == ["SOLUSDT"]


def test_an_entry_that_waits_needs_prices_too(account):
    intent = desk.ask(account)
    priced("SOLUSDT", read_at=ago(125))
    assert look() == []
    facts.OrderIntent.objects.filter(pk=intent.pk).update(state="approved", decision_id=1)

    assert look() == [("venue:binanceusdm", "stale_data")]


def test_one_fresh_price_of_what_is_held_is_enough(account):
    desk.hold(account)
    desk.hold(account, symbol="DOGEUSDT", quantity=D(100), entry_price=D("0.2"))
    priced("SOLUSDT", read_at=ago(125))
    priced("DOGEUSDT", read_at=ago(1))
    assert look() == []


@pytest.mark.parametrize("broken", [{"mark": 0}, {"last": -1}, {"index": D("151.6")}, {"last": D("148.4")}])
def test_a_corrupt_price_is_none(account, broken):
    desk.hold(account)
    priced("SOLUSDT", **broken)
    assert look() == []
    assert look(later=timedelta(seconds=119)) == []
    priced("SOLUSDT", read_at=ago(-119))

    assert look(later=timedelta(seconds=125)) == [("venue:binanceusdm", "stale_data")]


def test_a_price_that_is_sound_again_ends_the_silence(account):
    desk.hold(account)
    priced("SOLUSDT", mark=0)
    look()
    priced("SOLUSDT", mark=150, read_at=ago(-119))
    assert look(later=timedelta(seconds=125)) == []
    assert watch_of("stale_data", "venue:binanceusdm").absent_since is None


def test_a_guard_that_has_just_begun_waits(account):
    desk.hold(account)
    priced("SOLUSDT", read_at=ago(9000))
    assert look(began=timedelta(seconds=100)) == []
    assert look(began=timedelta(seconds=125)) == [("venue:binanceusdm", "stale_data")]


# The desk --------------------------------------------------------------------------------------------


def assessed(level: str, since: float, checked: float, *findings: tuple[str, str, str], where: str = "main"):
    """A stretch of global risk, with findings of (level, code, measured)."""
    models.GlobalRisk.objects.create(
        level=level,
        inputs={
            "findings": [
                {
                    "level": at,
                    "code": code,
                    "measured": seen,
                    "account": where,
                    "venue": "binanceusdm",
                    "text": code,
                }
                for at, code, seen in findings
            ]
        },
        since_at=ago(since),
        checked_at=ago(checked),
        market_at=ago(checked),
    )


LEVERAGE = ("CRITICAL", "leverage", "2.4 x")


def test_global_risk_that_stays_critical_stops_everything(account):
    assessed("CRITICAL", 299, 0, LEVERAGE)
    assert look() == []
    assessed("CRITICAL", 305, 0, LEVERAGE)

    assert look() == [("all", "global_risk")]
    assert models.StopEvent.objects.get().evidence["reasons"] == ["main: leverage"]


def test_stretches_that_follow_each_other_are_one(account):
    assessed("CRITICAL", 310, 200, LEVERAGE)
    assessed("CRITICAL", 198, 0, LEVERAGE, ("WARNING", "volatility", "2.5 x"))
    assert look() == [("all", "global_risk")]


@pytest.mark.parametrize(
    "between", [("OK", 200, 150), ("WARNING", 200, 150, ("WARNING", "leverage", "1.7 x"))]
)
def test_what_is_less_than_critical_between_begins_anew(account, between):
    assessed("CRITICAL", 400, 201, LEVERAGE)
    assessed(*between)
    assessed("CRITICAL", 149, 0, LEVERAGE)
    assert look() == []


@pytest.mark.parametrize(
    "finding",
    [
        ("CRITICAL", "leverage", "unknown"),
        ("CRITICAL", "price_age", "400 s"),
        ("CRITICAL", "venue_answer_age", "400 s"),
        ("WARNING", "leverage", "1.9 x"),
    ],
)
def test_what_is_unknown_or_old_denies_and_does_not_stop(account, finding):
    assessed("CRITICAL", 1000, 0, finding)
    assert look() == []


def test_an_assessment_that_is_not_made_any_more_does_not_grow(account):
    assessed("CRITICAL", 1000, 800, LEVERAGE)
    assert look() == []
    assert watch_of("global_risk", "all").measured == "0 s"


def test_what_a_halted_account_measures_stops_nobody_else(account):
    facts.TradingState.objects.filter(scope="account:main").update(state="HALTED")
    assessed("CRITICAL", 1000, 0, ("CRITICAL", "drawdown", "1.6 %"))
    assert look() == []
    assessed("CRITICAL", 1000, 0, ("CRITICAL", "drawdown", "1.6 %"), where="other")
    assert look() == [("all", "global_risk")]


def beats(**seconds_ago: float) -> None:
    for name, seconds in seconds_ago.items():
        facts.Heartbeat.objects.update_or_create(name=name, defaults={"beat_at": ago(seconds)})


def test_schedule_and_workers_both_silent_stop_everything(account):
    beats(beat=1000, worker=299)
    assert look() == []
    beats(beat=1000, worker=305)
    assert look() == [("all", "heartbeat")]


def test_a_guard_that_has_just_begun_knows_of_no_silence(account):
    beats(beat=9000, worker=9000)
    assert look(began=timedelta(seconds=299)) == []
    assert look(began=timedelta(seconds=305)) == [("all", "heartbeat")]


def test_a_desk_that_never_had_workers_is_starting(account):
    assert look(began=timedelta(days=1)) == []
