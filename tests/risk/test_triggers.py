"""Readings of a simulated venue, and what trips: the right scope, at the third reading, and no sooner."""

import threading
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from controlplane.audit.models import AuditEvent
from risk import models
from risk.limits import load_profiles
from risk.registration import store_limit_set
from risk.stops import triggers
from risk.stops.capital import rebase_capital
from risk.stops.emergency import trip_emergency_stop
from risk.stops.escalation import get_loss
from risk.stops.triggers import GUARD, run_each, watch_all
from tests.factories import PermitFactory
from trading import dispatch, locks
from trading import models as facts
from trading.core.values import Clocks
from trading.equity import get_own_wallet
from trading.reconcile import reconcile_venue_account
from trading.selectors import get_clocks
from trading.simulator import ledger

D = Decimal
ACCOUNT = "/fapi/v3/account"
EVER = 1000


class Watcher:
    """One guard and its clocks, which the test moves."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk
        self.now = get_clocks()
        self.began_at = self.now.wall_at
        self.swept: list[int] = []

    def pass_time(self, seconds: float, *, market: float | None = None) -> None:
        wall = timedelta(seconds=seconds)
        moved = wall if market is None else timedelta(seconds=market)
        self.now = Clocks(wall_at=self.now.wall_at + wall, market_at=self.now.market_at + moved)

    def look(self, count: int = 1, *, every: float = 1) -> None:
        for _ in range(count):
            self.pass_time(every)
            watch_all(clocks=self.now, began_at=self.began_at, call_sweeper=self.swept.append)

    def send(self, amount: str) -> None:
        """Money from outside, now by the watcher's clock; not in our books yet."""
        behind = self.now.market_at - get_clocks().market_at
        self.desk.venue.clock.ahead_ms = max(0, behind // timedelta(milliseconds=1))
        self.desk.venue.execute("deposit", amount=amount)

    def compare(self) -> None:
        reconcile_venue_account(venue_account=self.desk.place, market_at=self.now.market_at)

    def restart(self) -> None:
        """Another process watches from now on."""
        self.began_at = self.now.wall_at


@pytest.fixture
def desk(venue_desk: Any) -> Any:
    """MICRO limits, books compared: the account of 1,100 USDT is flat."""
    limits = load_profiles()["MICRO"]
    row = store_limit_set(limits=limits, actor="system:test", reason="limits of the test")
    facts.Permit.objects.update(limit_set_digest=row.digest, profile="MICRO")
    venue_desk.permit.refresh_from_db()
    facts.StrategyAssignment.objects.create(
        account=venue_desk.place.account, strategy="trend", symbols=["ETHUSDT", "SOLUSDT"]
    )
    compare(venue_desk)
    return venue_desk


@pytest.fixture
def watcher(desk: Any) -> Watcher:
    return Watcher(desk)


def compare(desk: Any) -> facts.ReconciliationRun:
    return reconcile_venue_account(venue_account=desk.place, market_at=get_clocks().market_at)


def hold(desk: Any, quantity: str = "0.2") -> None:
    """About 500 USDT of ETHUSDT, long."""
    assert isinstance(dispatch.send_intent(intent_id=desk.approve(quantity=D(quantity)).id), facts.Order)
    compare(desk)


def lose(desk: Any, usdt: str) -> None:
    """What the venue takes without a trade: both sources see it when the books are compared."""
    with desk.venue.at_now() as engine:
        ledger.post_income(engine.state, "INSURANCE_CLEAR", "", -D(usdt))
    compare(desk)


def stops() -> list[tuple[str, str]]:
    return list(models.StopEvent.objects.order_by("id").values_list("scope", "source"))


def watch_of(trigger: str, scope: str) -> models.Watch:
    return models.Watch.objects.get(trigger=trigger, scope=scope)


def reducing() -> list[tuple[str, str]]:
    rows = models.Restriction.objects.filter(lifted_at__isnull=True)
    return list(rows.values_list("scope", "cause"))


def account_scope(desk: Any) -> str:
    return f"account:{desk.place.account.name}"


# Equity ----------------------------------------------------------------------------------------------


def test_an_ordinary_account_is_measured_and_trips_nothing(desk, watcher):
    hold(desk)
    watcher.look(5)

    loss, drawdown = (watch_of(t, account_scope(desk)) for t in ("capital_loss", "daily_drawdown"))
    assert stops() == reducing() == []
    assert (loss.breaches, loss.threshold, drawdown.threshold) == (0, "0.04", "0.015")
    assert D(loss.measured) < D("0.002")
    assert D(drawdown.measured) < D("0.002")
    assert loss.read_at == watcher.now.market_at


def test_the_third_reading_beyond_the_days_drawdown_stops_the_account_only(desk, watcher):
    hold(desk)
    watcher.look(2)
    lose(desk, "20")
    watcher.look(2)
    assert stops() == []
    assert watch_of("daily_drawdown", account_scope(desk)).breaches == 2

    watcher.look()
    event = models.StopEvent.objects.get()
    assert (event.scope, event.source, event.actor) == (
        account_scope(desk),
        "daily_drawdown",
        "guard:triggers",
    )
    assert D("0.015") < D(event.evidence["measured"]) < D("0.021")
    assert (event.evidence["threshold"], event.evidence["readings"]) == ("0.015", 3)
    assert D(event.evidence["peak"]) > D(event.evidence["equity"]) > D(1000)
    assert watcher.swept == [event.pk]
    assert facts.TradingState.objects.get(scope=account_scope(desk)).state == "HALTED"
    assert facts.TradingState.objects.get(scope="all").state == "ACTIVE"


def test_what_is_halted_is_not_stopped_again_and_goes_on_being_measured(desk, watcher):
    watcher.look()
    lose(desk, "20")
    watcher.look(3)
    lose(desk, "10")
    watcher.look(3)

    assert stops() == [(account_scope(desk), "daily_drawdown")]
    row = watch_of("daily_drawdown", account_scope(desk))
    assert (row.breaches, row.read_at) == (6, watcher.now.market_at)
    assert D(row.measured) == pytest.approx(D(30) / 1100, rel=D("0.001"))


def test_a_loss_joins_the_stop_that_stood_for_something_else(desk, watcher):
    watcher.look()
    stop_by_hand(desk, watcher)
    lose(desk, "20")
    watcher.look(5)

    event = models.StopEvent.objects.get()
    loss = get_loss(event)
    assert (event.source, loss["trigger"], loss["threshold"]) == ("manual", "daily_drawdown", "0.015")
    assert AuditEvent.objects.filter(action="risk.stop_trip").count() == 2


def stop_by_hand(desk: Any, watcher: Watcher) -> None:
    trip_emergency_stop(
        scope=account_scope(desk), actor=GUARD, clocks=watcher.now, call_sweeper=watcher.swept.append
    )


def test_capital_loss_is_from_the_base_that_the_first_reading_set(desk, watcher):
    watcher.look()
    base = models.CapitalBase.objects.get()
    assert (base.equity, base.set_by) == (D(1100), "guard:triggers")
    assert AuditEvent.objects.get(action="risk.capital_base").subject_id == desk.place.account.name

    watcher.look(3)
    assert models.CapitalBase.objects.count() == 1
    rebase_capital(account=desk.place.account, equity=D(1200), reason="a test of the base", set_by="someone")
    watcher.look(2)
    assert stops() == []
    watcher.look()

    assert stops() == [(account_scope(desk), "capital_loss")]
    evidence = models.StopEvent.objects.get().evidence
    assert D(evidence["measured"]) == pytest.approx(D(100) / 1200)
    assert D(evidence["base"]) == 1200


def test_readings_that_come_too_soon_do_not_count(desk, watcher):
    watcher.look()
    lose(desk, "20")
    watcher.look(6, every=0.3)
    # 0.3 to 1.8 s after the one before: only one of them is a second later.
    assert watch_of("daily_drawdown", account_scope(desk)).breaches == 1
    assert stops() == []


def test_who_watches_next_goes_on_counting(desk, watcher):
    watcher.look()
    lose(desk, "20")
    watcher.look(2)
    other = Watcher(desk)
    other.now = watcher.now
    other.restart()
    other.look()

    assert stops() == [(account_scope(desk), "daily_drawdown")]


def test_an_absent_reading_neither_adds_nor_resets(desk, watcher):
    watcher.look()
    lose(desk, "20")
    for _ in range(2):
        watcher.look()
        desk.fault("error_before", path=ACCOUNT, times=EVER)
        watcher.look(2)
        desk.clear_faults()
    assert stops() == []
    assert watch_of("daily_drawdown", account_scope(desk)).breaches == 2

    watcher.look()
    assert stops() == [(account_scope(desk), "daily_drawdown")]


def test_a_wick_trips_nothing_and_what_lasts_does(desk, watcher):
    hold(desk)
    watcher.look()
    with desk.venue.at_now() as engine:
        market = engine.state.markets["ETHUSDT"]
        before, market.mark = market.mark, market.mark * D("0.9")
    watcher.look(2)
    beyond = watch_of("daily_drawdown", account_scope(desk))
    set_mark(desk, before)
    watcher.look(3)

    assert (beyond.breaches, stops()) == (2, [])
    assert watch_of("daily_drawdown", account_scope(desk)).breaches == 0
    set_mark(desk, before * D("0.9"))
    watcher.look(3)
    # A tenth of some 500 USDT is lost: of the day's equity, and of the capital as well.
    assert stops()[0] == (account_scope(desk), "capital_loss")


def set_mark(desk: Any, mark: Decimal) -> None:
    with desk.venue.at_now() as engine:
        engine.state.markets["ETHUSDT"].mark = mark


def set_wallet(desk: Any, wallet: Decimal) -> Decimal:
    with desk.venue.at_now() as engine:
        before, engine.state.wallet = engine.state.wallet, wallet
    return before


# Readings that cannot be believed --------------------------------------------------------------------


def test_one_balance_of_zero_trips_nothing(desk, watcher):
    watcher.look()
    before = set_wallet(desk, D(0))
    watcher.look(5)
    set_wallet(desk, before)
    watcher.look(5)

    assert stops() == reducing() == []
    assert watch_of("capital_loss", account_scope(desk)).breaches == 0


def test_a_balance_of_zero_that_stays_is_reducing_and_then_the_stop(desk, watcher):
    watcher.look()
    set_wallet(desk, D(0))
    watcher.look(16)
    assert reducing() == []
    row = watch_of("stale_data", account_scope(desk))
    assert (row.measured, row.detail) == ("absent", "the venue says 0.00, our book 1100.00 USDT")

    watcher.look()
    assert reducing() == [(account_scope(desk), "stale_reading")]
    assert stops() == []
    watcher.look(44)
    assert stops() == []
    watcher.look()
    event = models.StopEvent.objects.get()
    assert (event.scope, event.source) == (account_scope(desk), "stale_data")
    assert "the venue says 0.00" in event.evidence["detail"]


def test_a_venue_that_does_not_answer_is_reducing_until_readings_are_back_for_a_minute(desk, watcher):
    watcher.look()
    desk.fault("error_before", path=ACCOUNT, times=EVER)
    watcher.look(2, every=20)
    assert reducing() == [(account_scope(desk), "stale_reading")]
    assert facts.TradingState.objects.get(scope=account_scope(desk)).state == "REDUCING"

    desk.clear_faults()
    watcher.look(6, every=11)
    assert reducing() != []
    watcher.look()
    assert reducing() != []
    watcher.look(2, every=2)
    assert (reducing(), stops()) == ([], [])
    assert facts.TradingState.objects.get(scope=account_scope(desk)).state == "ACTIVE"


def test_how_long_is_wall_time_whatever_the_markets_speed(desk, watcher):
    watcher.look()
    desk.fault("error_before", path=ACCOUNT, times=EVER)
    for _ in range(14):
        watcher.pass_time(0, market=60)
        watcher.look()
    assert stops() == reducing() == []


def test_nothing_was_absent_before_somebody_watched(desk, watcher):
    watcher.look()
    desk.fault("error_before", path=ACCOUNT, times=EVER)
    watcher.look(2, every=10)
    watcher.pass_time(3600)
    watcher.restart()
    watcher.look(2, every=7)
    assert stops() == reducing() == []

    watcher.look(6, every=8)
    assert stops() == [(account_scope(desk), "stale_data")]


def test_a_price_that_is_missing_or_old_is_no_reading(desk, watcher):
    hold(desk)
    watcher.look()
    watcher.pass_time(1, market=3600)
    watcher.look()

    row = watch_of("stale_data", account_scope(desk))
    assert (row.measured, row.detail) == ("absent", "ETHUSDT: the venue gives no usable mark price")


def sample(desk: Any, equity: str, at: datetime) -> None:
    facts.EquitySample.objects.create(
        venue_account=desk.place,
        market_at=at,
        **dict.fromkeys(("wallet", "equity", "available"), D(equity)),
        **dict.fromkeys(("initial_margin", "maintenance_margin"), D(0)),
    )


# Money from outside ----------------------------------------------------------------------------------


def test_a_withdrawal_is_no_loss_before_it_is_booked_and_after(desk, watcher):
    watcher.look(2)
    watcher.send("-60")
    watcher.look(4)
    assert not facts.Income.objects.filter(kind="TRANSFER", amount=-60).exists()
    watcher.compare()
    assert facts.Income.objects.filter(kind="TRANSFER", amount=-60).exists()
    watcher.look(4)

    assert stops() == reducing() == []
    for trigger in ("capital_loss", "daily_drawdown"):
        row = watch_of(trigger, account_scope(desk))
        assert (row.breaches, D(row.measured)) == (0, D(0))


def test_a_deposit_hides_no_loss(desk, watcher):
    sample(desk, "1100", watcher.now.market_at - timedelta(minutes=10))
    watcher.look(2)
    lose(desk, "20")
    watcher.pass_time(1)
    watcher.send("500")
    watcher.look(2)
    watcher.compare()
    watcher.look()

    assert stops() == [(account_scope(desk), "daily_drawdown")]


def test_a_deposit_in_the_middle_of_a_comparison_is_no_peak(desk, watcher):
    """The sample is dated before the deposit that it holds already."""
    watcher.look(2)
    at = watcher.now.market_at
    watcher.pass_time(3)
    watcher.send("500")
    watcher.pass_time(1)
    sample(desk, "1600", at)
    watcher.compare()
    watcher.look(4)

    assert stops() == []
    assert D(watch_of("daily_drawdown", account_scope(desk)).measured) == 0


def test_no_base_is_taken_while_money_from_outside_is_not_booked(desk, watcher):
    watcher.send("-300")
    watcher.look(4)
    assert not models.CapitalBase.objects.exists()
    watcher.compare()
    watcher.look(4)

    assert models.CapitalBase.objects.get().equity == 800
    assert stops() == reducing() == []


def test_a_fill_that_is_booked_before_its_income_is_counted_once(desk, watcher):
    hold(desk)
    desk.gap("-3")
    before = get_own_wallet(desk.place)
    dispatch.send_intent(intent_id=desk.approve_exit().id)
    lost = sum(fill.realised_pnl - fill.fee for fill in facts.Fill.objects.order_by("-id")[:1])

    assert lost < -10
    assert get_own_wallet(desk.place) == before + lost
    compare(desk)
    assert get_own_wallet(desk.place) == before + lost


# Who is watched --------------------------------------------------------------------------------------


def test_an_account_without_a_permit_is_not_watched(desk, watcher):
    facts.Permit.objects.update(active=False)
    watcher.look()
    assert not models.Watch.objects.filter(scope=account_scope(desk)).exists()
    PermitFactory(account=desk.place.account, environment="live", kind="LIVE")
    watcher.look()
    assert not models.Watch.objects.filter(scope=account_scope(desk)).exists()


def test_one_account_that_cannot_be_read_keeps_no_other_unwatched(desk, watcher):
    other = facts.Account.objects.create(name="another", environment="paper")
    facts.Permit.objects.create(
        account=other,
        kind="PAPER",
        environment="paper",
        profile="MICRO",
        limit_set_digest="f" * 64,
        fencing_token=10_000,
        active=True,
        lease_expires_at=timezone.now(),
    )
    watcher.look()
    lose(desk, "20")
    watcher.look(3)

    assert watch_of("stale_data", "account:another").detail == "the limits of its permit are not stored"
    assert stops() == [(account_scope(desk), "daily_drawdown")]


def test_a_look_that_fails_is_raised_after_the_others():
    done: list[int] = []

    def fail() -> None:
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        run_each([fail, lambda: done.append(1), fail, lambda: done.append(2)])
    assert done == [1, 2]


def test_accounts_are_read_side_by_side_once_they_have_taken_too_long(monkeypatch):
    """The first waits for the second: one after the other neither would end."""
    monkeypatch.setattr(triggers, "ONE_BY_ONE_SECONDS", 0.0)
    second, failure = threading.Event(), ValueError("the second")

    def wait() -> None:
        assert second.wait(20)

    def fail() -> None:
        second.set()
        raise failure

    assert triggers.attempt_soon([wait, fail]) == [failure]


def test_one_process_watches_at_a_time(desk, watcher, monkeypatch):
    monkeypatch.setattr(triggers, "PATIENCE", timedelta(milliseconds=50))
    parameters = connection.get_connection_params()
    names = {"cursor_factory", "context"}
    with psycopg.connect(**{k: v for k, v in parameters.items() if k not in names}) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('triggers', 0))")
        with pytest.raises(locks.LockBusy):
            watcher.look()
    assert not models.Watch.objects.exists()
    watcher.look()
    assert models.Watch.objects.exists()


def test_a_row_is_written_only_where_something_changed(desk, watcher):
    watcher.look(2)
    steady = {row.pk: row.updated_at for row in models.Watch.objects.exclude(read_at__isnull=False)}
    watcher.look(3)

    assert len(steady) >= 6
    after = models.Watch.objects.filter(pk__in=steady)
    assert {row.pk: row.updated_at for row in after} == steady
