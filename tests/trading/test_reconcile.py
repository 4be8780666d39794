"""Our book against the venue's: what was missed is adopted, what is not ours is said so."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tests.trading.foreign import trade_by_hand
from trading import dispatch, locks, models, reconcile, selectors
from trading.venues.gateway import VenueError

SYMBOL = "ETHUSDT"
ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"


def run(desk: Any) -> models.ReconciliationRun:
    return reconcile.reconcile_venue_account(
        venue_account=desk.place, market_at=selectors.get_clocks().market_at
    )


def kinds(found: models.ReconciliationRun) -> list[tuple[str, str]]:
    return [(item["kind"], item["symbol"]) for item in found.differences]


def enter(desk: Any) -> models.Order:
    order = dispatch.send_intent(intent_id=desk.approve().id)
    assert isinstance(order, models.Order)
    return order


def test_a_quiet_book_is_clean_and_its_equity_is_sampled(desk: Any) -> None:
    found = run(desk)
    assert (found.is_clean, found.differences, found.adopted_fills) == (True, [], 0)
    sample = models.EquitySample.objects.get()
    assert (sample.wallet, sample.equity, sample.own_equity) == (1100, 1100, 1100)


def test_a_traded_book_is_clean_to_the_last_digit(desk: Any) -> None:
    run(desk)
    enter(desk)
    assert run(desk).is_clean
    dispatch.send_intent(intent_id=desk.approve_exit().id)
    assert run(desk).is_clean
    trade = models.Trade.objects.get()
    sample = selectors.latest_equity(desk.place)
    assert sample is not None
    assert sample.wallet == 1100 + trade.net_pnl


def deposit(desk: Any, amount: str) -> None:
    desk.venue.execute("deposit", amount=amount)


def test_the_expected_wallet_is_carried_from_run_to_run(desk: Any) -> None:
    first = run(desk)
    assert (first.wallet_expected, first.income_id) == (1100, models.Income.objects.get().pk)
    deposit(desk, "50")
    second = run(desk)
    assert second.is_clean
    assert (second.wallet_expected, second.income_id) == (1150, models.Income.objects.latest("id").pk)
    deposit(desk, "-20")
    assert run(desk).wallet_expected == 1130
    # Only what is new is added: the same as all of it, from the first sample on.
    models.ReconciliationRun.objects.all().delete()
    third = run(desk)
    assert third.is_clean
    assert third.wallet_expected == 1130


def test_money_that_no_income_explains_stays_a_mismatch(desk: Any) -> None:
    run(desk)
    state = desk.venue.engine.state
    state.wallet += Decimal("0.01")
    for _ in range(2):
        found = run(desk)
        assert kinds(found) == [("balance", "")]
        # What the venue says its wallet is never becomes what is expected.
        assert found.wallet_expected == 1100


def test_a_triggered_stop_is_booked_to_it_and_its_sibling_is_cleared(desk: Any) -> None:
    run(desk)
    enter(desk)
    desk.gap("-3")
    assert desk.held() == 0
    found = run(desk)
    assert found.is_clean
    trade = models.Trade.objects.get()
    assert trade.closed_by == "stop_loss"
    assert trade.net_pnl is not None
    assert trade.net_pnl < 0
    stop = models.Order.objects.get(purpose="stop_loss")
    assert (stop.state, stop.filled_quantity) == ("filled", Decimal("0.04"))
    assert stop.executed_by
    assert desk.resting() == []
    assert not dispatch.has_orphan_protections(venue_account=desk.place, symbol=SYMBOL)


def test_a_triggered_target_is_booked_to_it(desk: Any) -> None:
    run(desk)
    enter(desk)
    desk.gap("5")
    assert run(desk).is_clean
    trade = models.Trade.objects.get()
    assert trade.closed_by == "take_profit"
    assert trade.gross_pnl > 0
    assert desk.resting() == []


def test_a_stop_that_somebody_cancelled_is_placed_again(desk: Any) -> None:
    run(desk)
    enter(desk)
    stop = models.Order.objects.get(purpose="stop_loss")
    desk.venue.execute("cancel_algo", algo_id=0, client_id=stop.client_order_id)
    assert desk.resting() == ["TAKE_PROFIT_MARKET"]
    assert run(desk).is_clean
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    assert models.Order.objects.filter(purpose="stop_loss", state="open").count() == 1
    stop.refresh_from_db()
    assert stop.state == "cancelled"


def test_a_fill_of_ours_that_nobody_booked_is_booked_to_its_order(desk: Any) -> None:
    run(desk)
    desk.fault("lost_answer", method="POST", path=ORDER)
    desk.fault("error_before", method="GET", path=ORDER, status=503)
    order = enter(desk)
    assert order.state == "unknown"
    assert run(desk).is_clean
    order.refresh_from_db()
    assert order.state == "filled"
    assert models.Fill.objects.filter(order=None).count() == 0
    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_a_foreign_position_is_reported_every_time_and_left_alone(desk: Any) -> None:
    run(desk)
    trade_by_hand(desk.venue, SYMBOL, "BUY", "0.02")
    first = run(desk)
    assert not first.is_clean
    assert first.adopted_fills == 1
    assert ("foreign_fill", SYMBOL) in kinds(first)
    position = desk.position()
    assert (position.strategy, position.quantity) == ("foreign", Decimal("0.02"))
    second = run(desk)
    assert kinds(second) == [("foreign_position", SYMBOL), ("unprotected", SYMBOL)]
    assert desk.held() == Decimal("0.02")
    trade_by_hand(desk.venue, SYMBOL, "SELL", "0.02", reduce_only=True)
    run(desk)
    assert run(desk).is_clean
    assert models.Trade.objects.get().closed_by == "foreign"


def test_a_position_reduced_by_hand_keeps_its_owner_and_its_target_follows(desk: Any) -> None:
    run(desk)
    enter(desk)
    trade_by_hand(desk.venue, SYMBOL, "SELL", "0.01", reduce_only=True)
    run(desk)
    assert run(desk).is_clean
    position = desk.position()
    assert (position.strategy, position.quantity) == ("trend", Decimal("0.03"))
    (target,) = [algo for algo in desk.venue.engine.state.algos.values() if not algo.close_position]
    assert target.quantity == Decimal("0.03")


def test_what_was_held_before_the_first_sample_is_a_mismatch_for_a_person(desk: Any) -> None:
    trade_by_hand(desk.venue, SYMBOL, "BUY", "0.02")
    run(desk)
    found = run(desk)
    assert kinds(found) == [("position", SYMBOL), ("unprotected", SYMBOL)]
    assert not models.Fill.objects.exists()


def test_a_foreign_order_is_reported(desk: Any) -> None:
    run(desk)
    mark = desk.refresh_price()
    trade_by_hand(
        desk.venue,
        SYMBOL,
        "BUY",
        "0.02",
        type="LIMIT",
        price=str(round(mark * Decimal("0.95"), 1)),
        time_in_force="GTC",
    )
    assert kinds(run(desk)) == [("foreign_order", SYMBOL)]


def test_an_order_of_ours_that_rests_though_it_is_over_is_cancelled(desk: Any) -> None:
    run(desk)
    mark = desk.refresh_price()
    price = round(mark * Decimal("0.97"), 1)
    order = dispatch.send_intent(
        intent_id=desk.approve(
            order_type="limit", price=price, stop_loss=round(price * Decimal("0.95"), 1)
        ).id
    )
    assert isinstance(order, models.Order)
    models.Order.objects.filter(pk=order.pk).update(state="never_placed", venue_order_id="")
    run(desk)
    assert run(desk).is_clean
    assert not desk.venue.engine.state.orders


def test_a_deposit_is_explained_and_flows(desk: Any) -> None:
    run(desk)
    desk.venue.execute("deposit", amount="50")
    assert run(desk).is_clean
    sample = selectors.latest_equity(desk.place)
    assert sample is not None
    assert (sample.wallet, sample.net_flow) == (1150, 50)


def test_money_that_no_income_explains_is_a_mismatch(desk: Any) -> None:
    run(desk)
    desk.venue.engine.state.wallet += 5
    found = run(desk)
    assert kinds(found) == [("balance", "")]
    assert not found.is_clean


def test_a_venue_that_does_not_answer_concludes_nothing(desk: Any) -> None:
    run(desk)
    enter(desk)
    desk.fault("error_before", path="/fapi/v3/positionRisk", status=503, times=9)
    with pytest.raises(VenueError):
        run(desk)
    assert models.ReconciliationRun.objects.count() == 1
    assert desk.position().quantity == Decimal("0.04")


@pytest.mark.parametrize("path", ["/fapi/v3/positionRisk", "/fapi/v1/openOrders", "/fapi/v1/openAlgoOrders"])
def test_an_empty_answer_is_not_an_empty_book(desk: Any, path: str) -> None:
    run(desk)
    enter(desk)
    desk.fault("empty_body", method="GET", path=path)
    with pytest.raises(VenueError):
        run(desk)
    assert models.Order.objects.filter(state="open").count() == 2


def test_only_one_process_compares_a_book(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "PATIENCE", timedelta(milliseconds=50))
    other = connection.copy()
    with other.cursor() as cursor:
        key = locks.reconciliation_key(desk.place)
        cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [key])
    with pytest.raises(reconcile.ReconciliationRunning):
        run(desk)
    other.close()
    assert run(desk).is_clean


def test_a_symbol_that_a_worker_is_busy_with_is_left_out(desk: Any) -> None:
    run(desk)
    desk.fault("error_before", method="POST", path=ORDER, status=503)
    enter(desk)
    trade_by_hand(desk.venue, SYMBOL, "BUY", "0.02")
    other = connection.copy()
    with other.cursor() as cursor:
        key = locks.symbol_key(desk.place, SYMBOL)
        cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [key])
    found = run(desk)
    other.close()
    assert found.is_clean
    assert models.Order.objects.get().lookups == 1


def test_the_age_of_the_worst_venue_is_known_or_infinite(desk: Any) -> None:
    now = timezone.now()
    account = desk.place.account
    assert reconcile.measure_reconciliation_age(account=account, wall_at=now) == float("inf")
    found = run(desk)
    age = reconcile.measure_reconciliation_age(
        account=account, wall_at=found.finished_at + timedelta(seconds=7)
    )
    assert age == 7
    models.VenueAccount.objects.create(account=account, venue="bybit", priority=1)
    assert reconcile.measure_reconciliation_age(account=account, wall_at=now) == float("inf")
