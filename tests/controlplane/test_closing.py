"""Closing by hand, through the same gate and the same door, whatever the trading state is."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from controlplane import closing, guard
from controlplane.approvals.core import STOPPING_ROLES, Actor, ActorKind, Role
from controlplane.approvals.eligibility import NoPerson
from controlplane.approvals.services import NotDesignated
from controlplane.audit.models import AuditEvent
from controlplane.errors import InvalidInput
from risk import models as risk
from tests.factories import UserFactory
from tests.risk.test_sweep import D, foreign
from trading import dispatch
from trading import models as facts
from trading.core.values import OrderType, TradingStateName
from trading.reconcile import reconcile_venue_account
from trading.selectors import get_clocks, list_waiting_intents

ANN = Actor(name="ann", kind=ActorKind.PERSON, roles=frozenset({Role.OPERATOR}))
WHY = "closed by a test"


@pytest.fixture
def desk(venue_desk: Any) -> Any:
    """A long position with both protections at the venue."""
    UserFactory(username="ann", roles=(Role.OPERATOR,))
    UserFactory(username="eve", roles=(Role.AUDITOR,))
    dispatch.send_intent(intent_id=venue_desk.approve().id)
    assert venue_desk.resting() == ["STOP_MARKET", "TAKE_PROFIT_MARKET"]
    return venue_desk


def close(desk: Any, actor: Actor = ANN) -> closing.Closing:
    return closing.close_now(position=desk.position(), reason=WHY, actor=actor)[-1]


def set_states(state: TradingStateName) -> None:
    facts.TradingState.objects.update(state=state)


def run(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("positions", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


@pytest.mark.parametrize("state", TradingStateName)
def test_the_whole_position_is_closed_whatever_the_state(desk, state):
    set_states(state)
    done = close(desk)
    assert (done.is_flat, done.order.state, desk.held()) == (True, "filled", 0)
    assert desk.resting() == []
    assert (done.intent.source, done.intent.purpose, done.intent.reduce_only) == ("operator", "exit", True)
    decision = risk.Decision.objects.get(intent=done.intent)
    assert decision.allowed
    event = AuditEvent.objects.get(action="desk.position_close")
    assert (event.actor, event.reason, event.correlation_id) == ("ann", WHY, str(done.intent.pk))


def test_it_works_without_permit_state_or_balance(desk):
    facts.Permit.objects.update(active=False, ended_at=get_clocks().wall_at)
    facts.TradingState.objects.all().delete()
    assert close(desk).is_flat


@pytest.mark.parametrize("role", sorted(set(Role) - STOPPING_ROLES))
def test_others_may_not_and_the_attempt_is_audited(desk, role):
    with pytest.raises(NotDesignated):
        close(desk, Actor(name="eve", kind=ActorKind.PERSON, roles=frozenset({role})))
    assert AuditEvent.objects.get(action="desk.position_close.denied").actor == "eve"
    assert desk.held() != 0
    assert not closing.list_closings().exists()


@pytest.mark.parametrize("kind", [ActorKind.TOKEN, ActorKind.GUARD, ActorKind.SYSTEM])
def test_only_people_close_by_hand(desk, kind):
    with pytest.raises(NoPerson):
        close(desk, Actor(name="bot", kind=kind, roles=frozenset(Role)))


def test_it_takes_a_reason(desk):
    with pytest.raises(InvalidInput, match="say why"):
        closing.request_close(position=desk.position(), reason="  ", actor=ANN)


def test_asking_sends_nothing_and_asking_twice_is_asking_once(desk):
    first = closing.request_close(position=desk.position(), reason=WHY, actor=ANN)
    assert closing.request_close(position=desk.position(), reason=WHY, actor=ANN).intent == first.intent
    assert (first.intent.state, first.order, first.is_settled) == ("approved", None, False)
    assert desk.held() != 0
    assert AuditEvent.objects.filter(action="desk.position_close").count() == 1


def test_one_that_nobody_sent_in_time_is_asked_anew(desk):
    first = closing.request_close(position=desk.position(), reason=WHY, actor=ANN)
    facts.OrderIntent.objects.filter(pk=first.intent.pk).update(valid_until=get_clocks().wall_at)
    again = closing.request_close(position=desk.position(), reason=WHY, actor=ANN)
    assert again.intent != first.intent
    assert again.decision.allowed


def test_the_guard_sends_what_a_person_asked_for_without_waiting(desk, no_redis):
    # The broker cannot be reached: nobody but the guard is left.
    asked = closing.request_close(position=desk.position(), reason=WHY, actor=ANN)
    assert list(list_waiting_intents()) == [asked.intent]
    guard.pick_up_intents()
    now = closing.get_closing(asked.intent.pk)
    assert (now.is_flat, now.is_settled, desk.held()) == (True, True, 0)


def test_a_foreign_position_is_closed_once_the_book_has_it(desk):
    assert close(desk).is_flat
    reconcile_venue_account(venue_account=desk.place, market_at=get_clocks().market_at)
    foreign(desk, order_type=OrderType.MARKET, price=None)
    assert desk.held() == D("0.04")
    with pytest.raises(closing.NothingHeld, match="reconcile"):
        closing.find_position(account=desk.place.account.name, symbol="ETHUSDT")
    reconcile_venue_account(venue_account=desk.place, market_at=get_clocks().market_at)
    position = closing.find_position(account=desk.place.account.name, symbol="ETHUSDT")
    assert position.strategy == "foreign"
    set_states(TradingStateName.HALTED)
    assert close(desk).is_flat
    assert desk.held() == 0


def test_what_is_larger_than_the_venue_takes_is_closed_in_slices(desk):
    facts.Instrument.objects.update_or_create(
        venue=desk.place.venue,
        symbol="ETHUSDT",
        defaults={
            "base": "ETH",
            "is_trading": True,
            "tick_size": D("0.01"),
            "lot_size": D("0.001"),
            "min_quantity": D("0.001"),
            "max_quantity": D(1000),
            "max_market_quantity": D("0.015"),
            "min_notional": D(5),
            "min_price": D("0.01"),
            "max_price": D(100_000),
            "read_at": get_clocks().wall_at,
        },
    )
    done = closing.close_now(position=desk.position(), reason=WHY, actor=ANN)
    assert [one.intent.quantity for one in done] == [D("0.015"), D("0.015"), D("0.010")]
    assert done[-1].is_flat


def test_a_venue_that_does_not_answer_leaves_it_open_and_says_so(desk):
    desk.fault("error_before", times=10_000)
    code, text = run(
        "close", "--account", "paper-main", "--symbol", "ETHUSDT", "--actor", "ann", "--reason", WHY
    )
    assert code == 1
    assert "not flat yet" in text
    desk.clear_faults()
    assert desk.held() != 0


def test_the_command_closes_and_says_what_became_of_it(desk, no_redis):
    code, text = run("list", "--json")
    (listed,) = json.loads(text)["positions"]
    assert (code, listed["account"], listed["symbol"], listed["quantity"]) == (
        0,
        "paper-main",
        "ETHUSDT",
        "0.04",
    )
    code, text = run(
        "close", "--account", "paper-main", "--symbol", "ETHUSDT", "--actor", "ann", "--reason", WHY, "--json"
    )
    answer = json.loads(text)
    assert (code, answer["is_flat"]) == (0, True)
    (one,) = answer["closings"]
    assert (one["decision"], one["order"], one["filled"], one["left"]) == ("allowed", "filled", "0.04", "0")
    assert run("list") == (0, "nothing is held\n")


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"--actor": "eve"}, 1, "not_designated"),
        ({"--actor": "nobody"}, 1, "nobody"),
        ({"--account": "other"}, 1, "account_not_found"),
        ({"--symbol": "BTCUSDT"}, 1, "nothing_held"),
        ({"--venue": "bybit"}, 1, "nothing_held"),
    ],
)
def test_the_command_says_why_it_refuses(desk, changes, code, text):
    options = {"--account": "paper-main", "--symbol": "ETHUSDT", "--actor": "ann", "--reason": WHY} | changes
    found, said = run("close", *(word for pair in options.items() for word in pair))
    assert found == code
    assert text in said
    assert desk.held() != 0


def test_the_venue_must_be_named_where_two_hold_the_symbol(desk):
    place = facts.VenueAccount.objects.create(account=desk.place.account, venue="bybit", priority=1)
    facts.Position.objects.create(venue_account=place, symbol="ETHUSDT", quantity=1, entry_price=1)
    code, text = run(
        "close", "--account", "paper-main", "--symbol", "ETHUSDT", "--actor", "ann", "--reason", WHY
    )
    assert code == 2
    assert "binanceusdm, bybit" in text
    assert closing.find_position(account="paper-main", symbol="ETHUSDT", venue="bybit").venue_account == place
