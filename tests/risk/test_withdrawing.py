"""Consequences at the venue: entries taken back, forced fills found, a liquidation that stops the account."""

from typing import Any

import pytest
from django.db.models.functions import Now

from controlplane.approvals.core import Actor, ActorKind, Role
from risk import models
from risk.core.emergency_stop import Cause
from risk.reducing.consequences import apply_consequences
from risk.reducing.freshness import Freshness
from risk.reducing.restrictions import acknowledge_restriction, list_restrictions, restrict
from risk.reducing.withdrawing import cancel_resting_entries
from tests.factories import HeartbeatFactory
from tests.risk.test_sweep import D, foreign, open_ids, rest
from trading import dispatch
from trading import models as facts
from trading.core.values import OrderType, Side
from trading.reconcile import reconcile_venue_account
from trading.selectors import get_clocks

OPERATOR = Actor(name="ann", kind=ActorKind.PERSON, roles=frozenset({Role.OPERATOR}))


@pytest.fixture
def desk(venue_desk: Any) -> Any:
    # A stop that is tripped here is not swept by a process of its own.
    HeartbeatFactory(name="guard:sweep")
    return venue_desk


def begin(scope: str, cause: Cause, **evidence: Any) -> None:
    restrict(
        scope=scope, cause=cause, reason="a test", actor="guard:test", clocks=get_clocks(), evidence=evidence
    )


def account_scope(desk: Any) -> str:
    return f"account:{desk.place.account.name}"


def withdraw(desk: Any) -> int:
    return cancel_resting_entries(account=desk.place.account)


def follow(desk: Any) -> None:
    apply_consequences(account=desk.place.account, clocks=get_clocks(), freshness=Freshness())


def reconcile(desk: Any) -> None:
    reconcile_venue_account(venue_account=desk.place, market_at=get_clocks().market_at)


@pytest.mark.parametrize("cause", [Cause.DAILY_LOSS, Cause.WEEKLY_LOSS, Cause.MAINTENANCE_MARGIN])
def test_resting_entries_of_the_account_go_and_protections_and_positions_stay(desk, cause):
    dispatch.send_intent(intent_id=desk.approve().id)
    resting, protections, held = rest(desk, "SOLUSDT"), desk.resting(), desk.held()
    assert withdraw(desk) == 0
    begin(account_scope(desk), cause)

    assert withdraw(desk) == 1
    resting.refresh_from_db()
    assert resting.state == "cancelled"
    assert (desk.resting(), desk.held()) == (protections, held)
    assert withdraw(desk) == 0


def test_in_an_oversize_symbol_only_its_entries_go(desk):
    ether, sol = rest(desk), rest(desk, "SOLUSDT")
    begin("symbol:SOLUSDT", Cause.OVERSIZE, places={str(desk.place.pk): get_clocks().wall_at.isoformat()})
    assert withdraw(desk) == 1
    ether.refresh_from_db()
    sol.refresh_from_db()
    assert (ether.state, sol.state) == ("open", "cancelled")


@pytest.mark.parametrize("cause", [Cause.STALE_DATA, Cause.MISMATCH, Cause.FORCED_FILL])
def test_other_causes_leave_what_rests(desk, cause):
    rest(desk)
    begin(account_scope(desk), cause)
    assert withdraw(desk) == 0


def test_a_venue_that_does_not_answer_is_asked_again(desk):
    order = rest(desk)
    begin(account_scope(desk), Cause.DAILY_LOSS)
    desk.fault("error_before", times=10_000)
    assert withdraw(desk) == 0
    desk.clear_faults()
    # What was not known for a moment rests again once recovery has looked.
    dispatch.settle_order(order_id=order.pk)
    assert withdraw(desk) == 1


def force(desk: Any, client_id: str) -> None:
    """The venue closes our position by itself, and we learn of it."""
    dispatch.send_intent(intent_id=desk.approve().id)
    reconcile(desk)
    foreign(
        desk,
        client_order_id=client_id,
        side=Side.SELL,
        order_type=OrderType.MARKET,
        price=None,
        reduce_only=True,
    )
    reconcile(desk)
    assert facts.Fill.objects.filter(order=None).count() == 1


def standing(scope: str) -> set[str]:
    return set(list_restrictions(scope).values_list("cause", flat=True))


@pytest.mark.parametrize(
    ("client_id", "kind"), [("adl_autoclose", "adl"), ("settlement_autoclose-1", "settlement")]
)
def test_a_forced_fill_reduces_the_symbol_until_a_person_has_seen_it(desk, client_id, kind):
    force(desk, client_id)
    follow(desk)
    row = list_restrictions("symbol:ETHUSDT").get(cause="forced_fill")
    assert row.evidence["kind"] == kind
    assert kind in row.reason
    assert facts.TradingState.objects.get(scope="symbol:ETHUSDT").state == "REDUCING"
    reconcile(desk)
    follow(desk)
    assert standing("symbol:ETHUSDT") == {"forced_fill"}

    acknowledge_restriction(restriction_id=row.pk, reason="seen and understood", actor=OPERATOR)
    follow(desk)
    follow(desk)
    assert standing("symbol:ETHUSDT") == set()
    assert facts.TradingState.objects.get(scope="symbol:ETHUSDT").state == "ACTIVE"


def test_what_a_person_closed_at_the_venue_is_no_forced_fill(desk):
    force(desk, "web_by_hand")
    asked = desk.requests_to("GET", "/fapi/v1/order")
    follow(desk)
    reconcile(desk)
    follow(desk)
    assert standing("symbol:ETHUSDT") == set()
    assert desk.requests_to("GET", "/fapi/v1/order") == asked + 1


def test_whose_fill_it_was_is_asked_until_the_venue_says(desk):
    force(desk, "adl_autoclose")
    desk.fault("error_before", times=10_000)
    follow(desk)
    assert "forced_fill" not in standing("symbol:ETHUSDT")
    desk.clear_faults()
    follow(desk)
    assert "forced_fill" in standing("symbol:ETHUSDT")


def liquidate(desk: Any) -> None:
    """A long of 20 x leverage, and a market that falls by a tenth."""
    reconcile(desk)
    setting = desk.venue.engine.state.setting("ETHUSDT")
    setting.leverage, setting.isolated = 20, True
    foreign(desk, order_type=OrderType.MARKET, price=None, quantity=D("0.4"))
    desk.gap("-10")
    assert desk.held() == 0
    reconcile(desk)


def test_a_liquidation_halts_the_account_at_once(desk):
    liquidate(desk)
    follow(desk)
    event = models.StopEvent.objects.get()
    assert (event.scope, event.source, event.actor) == (
        account_scope(desk),
        "liquidation",
        "guard:consequences",
    )
    assert event.evidence["symbol"] == "ETHUSDT"
    assert facts.TradingState.objects.get(scope=account_scope(desk)).state == "HALTED"
    follow(desk)
    assert models.StopEvent.objects.count() == 1


@pytest.mark.parametrize("sign", ["income", "fill"])
def test_either_sign_of_a_liquidation_is_enough(desk, sign):
    reconcile(desk)
    now = get_clocks()
    if sign == "income":
        facts.Income.objects.create(
            venue_account=desk.place,
            venue_income_id="1",
            kind="INSURANCE_CLEAR",
            symbol="ETHUSDT",
            amount=D(-3),
            market_at=now.market_at,
        )
    else:
        force(desk, "autoclose-1")
    follow(desk)
    assert models.StopEvent.objects.get().source == "liquidation"


def test_what_was_liquidated_before_our_first_look_is_not_ours(desk):
    facts.Income.objects.create(
        venue_account=desk.place,
        venue_income_id="1",
        kind="INSURANCE_CLEAR",
        symbol="ETHUSDT",
        amount=D(-3),
        market_at=get_clocks().market_at,
    )
    reconcile(desk)
    follow(desk)
    assert not models.StopEvent.objects.exists()


def test_entries_are_still_at_the_venue_when_only_the_book_says_so(desk):
    order = rest(desk)
    begin(account_scope(desk), Cause.DAILY_LOSS)
    assert open_ids(desk) == {order.client_order_id}
    assert withdraw(desk) == 1
    assert open_ids(desk) == set()
    assert facts.Order.objects.filter(state="cancelled", updated_at__lte=Now()).count() == 1
