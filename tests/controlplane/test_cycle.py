"""One bar from wish to protected position and out again, at the simulated venue."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from threading import Event
from typing import Any

import pytest
from django.db import connection

from controlplane import cycle
from risk.selectors import get_active_limits
from tests.factories import PermitFactory, TradingStateFactory
from trading import candles, locks, models, services
from trading.core.values import Side
from trading.selectors import get_clocks, get_position
from trading.strategies import STRATEGIES, Enter, Leave, View

SYMBOL = "ETHUSDT"
BUY = Enter(side=Side.BUY, stop_ratio=Decimal("0.025"), target_ratio=Decimal("0.05"), reason="a test says so")
OUT = Leave(reason="a test says so")


@dataclass(frozen=True)
class Scripted:
    """Wants to enter while it holds nothing, and out while it holds something."""

    enter: Enter | None = BUY
    leave: Leave | None = None
    name: str = "trend"
    version: str = "1"
    interval: str = "1m"
    lookback: int = 5

    def propose(self, view: View) -> Enter | Leave | None:
        return self.enter if view.holding is None else self.leave


class Broken(Scripted):
    def propose(self, view: View) -> Enter | Leave | None:
        raise ZeroDivisionError


@pytest.fixture(autouse=True)
def history(request: pytest.FixtureRequest) -> None:
    """The last hour is known, so that no cycle reads thirty days; a test may delete it."""
    if "desk" not in request.fixturenames:
        return
    desk = request.getfixturevalue("desk")
    last = candles.floor_to_hour(get_clocks().market_at) - timedelta(hours=1)
    price = dict.fromkeys(("open", "high", "low", "close", "volume"), Decimal(2500))
    rows = [
        models.Candle(venue=desk.place.venue, symbol=symbol, interval="1h", open_at=open_at, **price)
        for open_at in (last, last + timedelta(hours=1))
        for symbol in (SYMBOL, "SOLUSDT")
    ]
    models.Candle.objects.bulk_create(rows, ignore_conflicts=True)


def script(monkeypatch: pytest.MonkeyPatch, **wants: Any) -> None:
    monkeypatch.setitem(STRATEGIES, "trend", Scripted(**wants))


def run_cycle(desk: Any) -> models.CycleRun:
    """Trade a bar that no cycle has had yet."""
    bar_at = cycle.floor_to_bar(get_clocks().market_at) - timedelta(minutes=models.CycleRun.objects.count())
    run = cycle._claim(desk.place.account, bar_at)
    assert run is not None
    cycle._run(run)
    run.refresh_from_db()
    return run


def test_a_wish_becomes_a_protected_position_and_then_a_closed_trade(desk: Any, monkeypatch: Any) -> None:
    script(monkeypatch)
    entered = run_cycle(desk)
    assert (entered.state, entered.detail) == ("done", {"order:filled": 1})
    assert desk.held() > 0
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]

    script(monkeypatch, enter=None, leave=OUT)
    assert run_cycle(desk).detail == {"order:filled": 1}
    assert desk.held() == 0
    trade = models.Trade.objects.get()
    assert (trade.closed_by, trade.net_pnl is not None) == ("exit", True)


def test_a_bar_is_claimed_once(desk: Any) -> None:
    bar_at = cycle.floor_to_bar(get_clocks().market_at)
    assert cycle._claim(desk.place.account, bar_at) is not None
    assert cycle._claim(desk.place.account, bar_at) is None


def test_the_same_wish_of_the_same_bar_is_one_intent(desk: Any, monkeypatch: Any) -> None:
    script(monkeypatch)
    run = run_cycle(desk)
    cycle._run(run)
    assert models.OrderIntent.objects.filter(purpose="entry").count() == 1
    assert len(desk.venue_orders()) == 1


def test_an_assignment_that_cannot_be_seen_does_not_keep_another_from_leaving(
    desk: Any, monkeypatch: Any
) -> None:
    script(monkeypatch)
    run_cycle(desk)
    services.assign_strategy(account=desk.place.account, strategy="a-lost-one", symbols=["GONEUSDT"])
    services.assign_strategy(account=desk.place.account, strategy="reversion", symbols=["GONEUSDT"])

    script(monkeypatch, enter=None, leave=OUT)
    assert run_cycle(desk).state == "done"
    assert desk.held() == 0


def test_what_is_held_outside_of_an_assignment_may_only_be_left(desk: Any, monkeypatch: Any) -> None:
    script(monkeypatch)
    run_cycle(desk)
    models.StrategyAssignment.objects.update(enabled=False)

    script(monkeypatch, leave=OUT)
    run_cycle(desk)
    assert desk.held() == 0
    run_cycle(desk)
    assert models.OrderIntent.objects.filter(purpose="entry").count() == 1


def test_an_exit_is_tried_while_the_book_cannot_be_compared(desk: Any, monkeypatch: Any) -> None:
    script(monkeypatch)
    run_cycle(desk)
    models.ReconciliationRun.objects.all().delete()
    desk.fault("error_before", path="/fapi/v1/income", status=500, times=100)

    script(monkeypatch, enter=None, leave=OUT)
    run_cycle(desk)
    assert desk.held() == 0


def test_a_venue_that_is_away_opens_nothing_and_ends_the_bar(desk: Any, monkeypatch: Any) -> None:
    script(monkeypatch)
    desk.fault("error_before", status=503, times=10_000)
    run = run_cycle(desk)
    assert run.finished_at is not None
    assert not models.Order.objects.exists()


def test_a_bug_fails_the_cycle_and_is_not_hidden(desk: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(STRATEGIES, "trend", Broken())
    with pytest.raises(ZeroDivisionError):
        run_cycle(desk)
    run = models.CycleRun.objects.get()
    assert (run.state, run.detail) == ("failed", {"code": "bug"})


def test_a_cycle_that_was_killed_does_not_stay_running(desk: Any) -> None:
    long_ago = get_clocks().wall_at - timedelta(hours=1)
    killed = models.CycleRun.objects.create(
        account=desk.place.account, bar_at=long_ago, state="running", started_at=long_ago
    )
    assert cycle._claim(desk.place.account, cycle.floor_to_bar(get_clocks().market_at)) is not None
    killed.refresh_from_db()
    assert (killed.state, killed.detail) == ("failed", {"code": "worker_died"})


def test_one_failure_does_not_keep_the_others_from_their_turn() -> None:
    seen: list[int] = []

    def act(item: int) -> None:
        seen.append(item)
        if item == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cycle.do_each([1, 2, 3], act)
    assert seen == [1, 2, 3]


def test_an_account_without_a_venue_does_not_keep_the_others_from_trading(
    desk: Any, monkeypatch: Any
) -> None:
    script(monkeypatch)
    homeless = models.Account.objects.create(name="a-homeless-one", environment="paper")
    PermitFactory(account=homeless)
    TradingStateFactory(scope="account:a-homeless-one")
    cycle.run_due_cycles()
    states = dict(models.CycleRun.objects.values_list("account__name", "state"))
    assert states == {"a-homeless-one": "failed", desk.place.account.name: "done"}


def test_prices_and_book_are_read_between_bars_when_they_are_due(desk: Any) -> None:
    models.MarketPrice.objects.all().delete()
    cycle.observe_accounts()
    read = models.MarketPrice.objects.get(symbol=SYMBOL).read_at
    runs = models.ReconciliationRun.objects.count()

    cycle.observe_accounts()
    assert models.MarketPrice.objects.get(symbol=SYMBOL).read_at == read
    assert models.ReconciliationRun.objects.count() == runs


def test_what_is_held_keeps_its_leverage_and_what_is_flat_is_prepared(desk: Any, monkeypatch: Any) -> None:
    limits = get_active_limits(desk.place.account)
    cycle._prepare_symbol(desk.place, SYMBOL, limits)
    old = get_clocks().wall_at - timedelta(hours=2)
    models.VenueSetting.objects.update(read_at=old)
    cycle._prepare_symbol(desk.place, SYMBOL, limits)
    assert models.VenueSetting.objects.get().read_at > old

    script(monkeypatch)
    run_cycle(desk)
    models.VenueSetting.objects.update(read_at=old)
    cycle._prepare_symbol(desk.place, SYMBOL, limits)
    assert models.VenueSetting.objects.get().read_at == old


def list_prepared() -> list[str]:
    return sorted(models.VenueSetting.objects.values_list("symbol", flat=True))


def run_quiet_cycle(desk: Any, monkeypatch: Any) -> models.CycleRun:
    script(monkeypatch, enter=None)
    return run_cycle(desk)


def test_an_entry_may_be_made_smaller_and_an_exit_may_not(desk: Any, monkeypatch: Any) -> None:
    script(monkeypatch)
    run_cycle(desk)
    script(monkeypatch, enter=None, leave=OUT)
    run_cycle(desk)
    asked = dict(models.OrderIntent.objects.values_list("purpose", "may_resize"))
    assert asked == {"entry": True, "exit": False}
    assert all(row.requested_quantity is not None for row in models.OrderIntent.objects.all())


def test_an_outside_programs_symbols_are_priced_and_prepared_and_nothing_is_proposed(
    desk: Any, monkeypatch: Any, caplog: Any
) -> None:
    services.assign_strategy(account=desk.place.account, strategy="outside-bot", symbols=["SOLUSDT"])
    models.VenueSetting.objects.all().delete()
    run = run_quiet_cycle(desk, monkeypatch)
    assert (run.state, run.detail) == ("done", {})
    assert "outside-bot" not in caplog.text
    assert models.MarketPrice.objects.get(symbol="SOLUSDT").funding_at is not None
    setting = models.VenueSetting.objects.get(symbol="SOLUSDT")
    assert (setting.is_one_way, setting.is_single_asset, setting.margin_mode) == (True, True, "isolated")
    assert setting.leverage <= get_active_limits(desk.place.account).max_leverage
    assert list_prepared() == [SYMBOL, "SOLUSDT"]


def test_settings_are_read_back_again_when_they_are_no_longer_fresh(desk: Any, monkeypatch: Any) -> None:
    run_quiet_cycle(desk, monkeypatch)
    before = models.VenueSetting.objects.get(symbol=SYMBOL).read_at
    run_quiet_cycle(desk, monkeypatch)
    assert models.VenueSetting.objects.get(symbol=SYMBOL).read_at == before
    old = get_clocks().wall_at - cycle.SETTINGS_LIVE_FOR
    models.VenueSetting.objects.update(read_at=old)
    run_quiet_cycle(desk, monkeypatch)
    assert models.VenueSetting.objects.get(symbol=SYMBOL).read_at > old


@pytest.mark.parametrize("scope", ["all", "venue:binanceusdm", "account:paper-main"])
def test_nothing_is_set_while_the_account_is_halted(desk: Any, monkeypatch: Any, scope: str) -> None:
    models.VenueSetting.objects.all().delete()
    models.TradingState.objects.filter(scope=scope).update(state="HALTED")
    run_quiet_cycle(desk, monkeypatch)
    assert list_prepared() == []


def test_nothing_is_set_for_what_is_held(desk: Any, monkeypatch: Any) -> None:
    script(monkeypatch)
    run_cycle(desk)
    models.VenueSetting.objects.all().delete()
    run_quiet_cycle(desk, monkeypatch)
    assert list_prepared() == []


def test_a_symbol_that_another_worker_is_busy_with_is_prepared_later(desk: Any, monkeypatch: Any) -> None:
    models.VenueSetting.objects.all().delete()
    taken = Event()
    done = Event()

    def hold() -> None:
        try:
            with locks.hold(locks.symbol_key(desk.place, SYMBOL), patience=locks.PATIENCE):
                taken.set()
                done.wait(30)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        assert taken.wait(10)
        run_quiet_cycle(desk, monkeypatch)
        assert list_prepared() == []
        done.set()
        holder.result()
    run_quiet_cycle(desk, monkeypatch)
    assert list_prepared() == [SYMBOL]


def test_the_hours_of_what_is_traded_are_read_once_an_hour(desk: Any, monkeypatch: Any) -> None:
    models.Candle.objects.all().delete()
    run_quiet_cycle(desk, monkeypatch)
    assert models.Candle.objects.filter(symbol=SYMBOL, interval="1h").count() == 720
    asked = desk.requests_to("GET", "/fapi/v1/klines")
    run_quiet_cycle(desk, monkeypatch)
    # The strategy's own look, and no history.
    assert desk.requests_to("GET", "/fapi/v1/klines") == asked + 1


def test_what_cannot_be_made_ready_fails_no_cycle(desk: Any, monkeypatch: Any) -> None:
    models.VenueSetting.objects.all().delete()
    models.Candle.objects.all().delete()
    desk.fault("error_before", path="/fapi/v1/symbolConfig", status=503, times=99)
    desk.fault("error_before", path="/fapi/v1/klines", status=503, times=99)
    run = run_quiet_cycle(desk, monkeypatch)
    assert run.state == "done"
    assert list_prepared() == []


def test_those_that_wait_take_turns() -> None:
    symbols = ["a", "b", "c", "d", "e"]
    seen = [cycle._take_turns(symbols, turn) for turn in range(5)]
    assert seen[0] == ["a", "b"]
    assert seen[4] == ["e", "a"]
    assert {symbol for few in seen for symbol in few} == set(symbols)
    assert cycle._take_turns([], 3) == []


def test_a_flat_strategy_has_no_holding(desk: Any) -> None:
    assert get_position(desk.place, SYMBOL) is None
    assert cycle._get_holding(desk.place, SYMBOL, "trend") is None
