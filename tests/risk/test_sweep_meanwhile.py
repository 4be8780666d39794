"""One venue while a stop still waits for another, and what is asked while a sweep is under way."""

from decimal import Decimal
from typing import Any

import pytest

from risk import models
from risk.services import sweep_stops
from risk.stops import sweep, sweep_positions
from tests.factories import TradingStateFactory
from tests.risk.test_sweep import foreign, open_ids
from tests.risk.test_sweep_positions import enter, lose_the_stop, run, step, trip
from trading import models as facts
from trading.core.values import OrderPurpose, OrderType, Side
from trading.dispatch.orders import add_order
from trading.reconcile import reconcile_venue_account
from trading.selectors import get_clocks

D = Decimal


@pytest.fixture
def desk(venue_desk: Any) -> Any:
    return venue_desk


@pytest.fixture
def dead_venue(desk: Any) -> facts.VenueAccount:
    """A second venue of the account, which never answers."""
    return facts.VenueAccount.objects.create(account=desk.place.account, venue="nowhere", priority=1)


def confirmed(event: models.StopEvent) -> dict[str, str]:
    return dict(event.steps.filter(action="confirm").values_list("venue", "status"))


def test_a_position_is_protected_at_a_confirmed_venue_while_another_has_not_confirmed(desk, dead_venue):
    enter(desk)
    event = run(trip())
    assert (event.progress, confirmed(event)["binanceusdm"]) == ("STOPPING", "done")
    lose_the_stop(desk)

    run(event)
    assert desk.resting() == ["TAKE_PROFIT_MARKET"]
    run(event, seconds=11)

    assert desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]


def test_what_comes_back_at_a_confirmed_venue_is_cancelled_while_another_has_not_confirmed(desk, dead_venue):
    event = run(trip())
    adding = foreign(desk)
    reconcile_venue_account(venue_account=desk.place, market_at=get_clocks().market_at)

    run(event)
    event = run(event)

    assert adding not in open_ids(desk)
    assert confirmed(event) == {"binanceusdm": "done", "nowhere": "retrying"}


def test_a_policy_raised_during_a_sweep_is_carried_out_before_the_stop_is_confirmed(desk, monkeypatch):
    enter(desk)
    event = trip()
    asked: list[models.StopEvent] = []

    def settle_and_be_asked(turn: Any) -> bool:
        is_done = sweep_positions.settle_positions(turn)
        if not asked:
            asked.append(trip("flatten"))
        return is_done

    parts = {
        settle_and_be_asked if part is sweep_positions.settle_positions else part: text
        for part, text in sweep.OUTSTANDING.items()
    }
    monkeypatch.setattr(sweep, "OUTSTANDING", parts)

    event = run(event)
    assert (event.positions, event.progress, confirmed(event)["binanceusdm"]) == (
        "flatten",
        "STOPPING",
        "retrying",
    )
    assert (run(event).progress, desk.held()) == ("STOPPED", 0)


def test_a_slow_venue_gives_every_stop_its_turn_and_one_run_no_more_than_one_turn(desk, monkeypatch):
    TradingStateFactory(scope="strategy:reversion")
    events = [trip(scope=scope) for scope in ("all", "venue:binanceusdm", "strategy:trend")]
    monkeypatch.setattr(sweep, "TURN_SECONDS", 0.0)
    turns = []
    for _ in events:
        sweep_stops(clocks=get_clocks())
        turns.append(models.StopStep.objects.filter(action="confirm").count())
    assert turns == [1, 2, 3]


def test_half_is_not_closed_again_while_the_first_order_for_it_may_still_fill(desk):
    position = enter(desk, quantity=D("0.045"))
    intent = position.entry_intent
    assert intent is not None
    first = add_order(
        intent=intent,
        venue_account=desk.place,
        symbol="ETHUSDT",
        client_order_id="lost1",
        purpose=OrderPurpose.FLATTEN,
        side=Side.SELL,
        order_type=OrderType.MARKET,
        quantity=D("0.022"),
        reduce_only=True,
        close_position=False,
    )

    event = run(trip("reduce"))

    first.refresh_from_db()
    assert first.state == "unknown"
    assert (event.progress, desk.held()) == ("STOPPING", D("0.045"))
    assert step(event, "reduce").status == "retrying"
    assert facts.Order.objects.filter(purpose="flatten").count() == 1

    facts.Order.objects.filter(pk=first.pk).update(state="never_placed")
    assert (run(event).progress, desk.held()) == ("STOPPED", D("0.023"))
