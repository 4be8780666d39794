"""A new order in one statement: the evidence of two steps, and nothing where anything is in the way."""

import json
from datetime import timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from controlplane.approvals.core import Actor, ActorKind, Role
from controlplane.intake import Answer, request_order
from risk import models
from risk.core.values import Intent, Snapshot
from risk.evidence import build, parse_text
from risk.judgement import GateContended, judge_intent
from risk.recording import facts_of, judge_new_intent
from risk.schemas import OrderIntentIn
from risk.selectors import explain_decision
from risk.snapshot import load_intent, load_primary
from tests.risk import desk
from tests.risk.test_races import SYMBOLS, at_once, make_endless_desk, make_wide_desk, race_with_trip, reasons
from tests.risk.test_reservation import activity, open_connection, raise_limit
from trading import models as facts
from trading.core.values import OrderPurpose, OrderType, Side
from trading.selectors import get_clocks
from trading.services import make_intent

D = Decimal


def prepare(account: facts.Account, **changes: Any) -> tuple[facts.OrderIntent, Snapshot]:
    """An order like that of `desk.ask`, not stored, and the facts it is judged by."""
    clocks = get_clocks()
    found = load_primary(account=account.name, strategy="trend", symbol="SOLUSDT", clocks=clocks)
    assert found is not None
    place, snapshot = found
    body: dict[str, Any] = {
        "strategy": "trend",
        "symbol": "SOLUSDT",
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "purpose": OrderPurpose.ENTRY,
        "quantity": D("0.6"),
        "price": D(150),
        "stop_loss": D("146.25"),
        "take_profit": D("157.5"),
        "reduce_only": False,
        "source": "api",
        "client_ref": f"new-{next(desk.NUMBERS)}",
        "signal_at": clocks.market_at,
    } | changes
    row = make_intent(account=place.account, venue_account=place, market_at=clocks.market_at, **body)
    return row, snapshot


def record(account: facts.Account, **changes: Any) -> tuple[facts.OrderIntent, models.Decision | None]:
    intent, snapshot = prepare(account, **changes)
    return intent, judge_new_intent(intent=intent, snapshot=snapshot)


def version_of(account: facts.Account) -> int:
    return models.AccountBook.objects.get(account=account).version


def nothing_is_stored() -> bool:
    return not models.Decision.objects.exists() and not facts.OrderIntent.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, True),
        ({"execute": False}, True),
        ({"quantity": D(1), "may_resize": True}, True),
        ({"quantity": D(5)}, False),
        ({"price": None, "order_type": OrderType.MARKET, "take_profit": None}, False),
    ],
)
def test_what_is_returned_is_what_is_stored(changes, allowed):
    intent, decision = record(desk.make_desk(), **changes)
    assert decision is not None
    assert decision.allowed == allowed
    stored = facts.OrderIntent.objects.get(pk=intent.pk)
    for field in facts.OrderIntent._meta.concrete_fields:
        assert getattr(intent, field.attname) == getattr(stored, field.attname), field.name
    kept = models.Decision.objects.get(pk=decision.pk)
    for field in models.Decision._meta.concrete_fields:
        assert getattr(decision, field.attname) == getattr(kept, field.attname), field.name
    assert stored.state == ("approved" if allowed else "denied")
    assert (stored.valid_until is not None) == allowed
    assert explain_decision(decision.pk).agrees


@pytest.mark.django_db
@pytest.mark.parametrize("changes", [{}, {"quantity": D(5)}, {"execute": False}, {"quantity": D("0.60")}])
def test_the_evidence_is_that_of_an_order_judged_in_two_steps(changes):
    account, west = desk.make_desk(), timezone(timedelta(hours=-5))
    at = get_clocks().market_at
    changes = {"order_type": OrderType.LIMIT, "price": D(150), "signal_at": at.astimezone(west)} | changes
    waiting = desk.ask(account, **changes)
    loaded = load_intent(intent_id=waiting.pk, clocks=get_clocks())
    assert facts_of(facts.OrderIntent.objects.get(pk=waiting.pk)) == loaded.intent

    _, at_once = record(account, source="strategy", **changes)
    assert at_once is not None
    facts.OrderIntent.objects.filter(state="approved").update(state="lapsed")
    models.Activity.objects.update(entries=0, window_started_at=None, last_signal_at=None, last_side="")
    in_turn = judge_intent(intent_id=waiting.pk, clocks=get_clocks())

    first, second = parse_text(at_once.inputs), parse_text(in_turn.inputs)
    assert build(Intent, first["intent"]).quantity.as_tuple() == loaded.intent.quantity.as_tuple()
    own = ("intent_id", "client_ref")
    assert {key: value for key, value in first["intent"].items() if key not in own} == {
        key: value for key, value in second["intent"].items() if key not in own
    }
    assert first["snapshot"].keys() == second["snapshot"].keys()
    assert (at_once.outcomes, at_once.breaches) == (in_turn.outcomes, in_turn.breaches)


@pytest.mark.django_db
def test_an_entry_reserves_and_is_counted_once_and_a_mere_question_is_not():
    account = desk.make_desk()
    before = version_of(account)
    record(account, execute=False)
    record(account, quantity=D(5))
    assert (version_of(account), activity().entries) == (before, 0)
    intent, decision = record(account)
    assert decision is not None
    assert version_of(account) == before + 1
    row = activity()
    assert (row.entries, row.last_signal_at, row.last_side) == (1, intent.signal_at, "buy")
    assert row.window_started_at == decision.market_at


@pytest.mark.django_db
@pytest.mark.parametrize("changes", [{}, {"execute": False}, {"quantity": D(5)}])
def test_a_reference_that_is_known_stores_nothing_more(changes):
    account = desk.make_desk()
    record(account, client_ref="one", execute=False)
    _, again = record(account, client_ref="one", **changes)
    assert again is None
    assert (facts.OrderIntent.objects.count(), models.Decision.objects.count()) == (1, 1)
    assert activity().entries == 0


@pytest.mark.django_db
def test_an_entry_is_not_stored_if_the_book_was_swapped_since_the_facts_were_read():
    account = desk.make_desk()
    intent, snapshot = prepare(account)
    models.AccountBook.objects.update(version=version_of(account) + 1)
    assert judge_new_intent(intent=intent, snapshot=snapshot) is None
    assert nothing_is_stored()
    assert activity().entries == 0


@pytest.mark.django_db
@pytest.mark.parametrize("execute", [True, False])
def test_nothing_is_allowed_if_a_state_has_changed_since_the_facts_were_read(execute):
    account = desk.make_desk()
    intent, snapshot = prepare(account, execute=execute)
    state = facts.TradingState.objects.get(scope="account:main")
    facts.TradingState.objects.filter(pk=state.pk).update(state="HALTED", version=state.version + 1)
    before = version_of(account)
    assert judge_new_intent(intent=intent, snapshot=snapshot) is None
    assert nothing_is_stored()
    assert version_of(account) == before


@pytest.mark.django_db
def test_overrides_and_the_last_entry_of_the_throttle_go_the_longer_way():
    account = desk.make_desk()
    override = raise_limit(account)
    assert record(account, quantity=D("0.9"))[1] is None
    override.refresh_from_db()
    assert override.used == 0
    window = get_clocks().market_at - timedelta(minutes=1)
    models.Activity.objects.update(entries=9, window_started_at=window)
    assert record(account)[1] is None
    assert nothing_is_stored()


@pytest.mark.django_db(transaction=True)
def test_a_book_that_somebody_holds_stores_nothing():
    account = desk.make_desk()
    with open_connection() as other:
        other.execute("SELECT 1 FROM risk_accountbook WHERE account_id = %s FOR UPDATE", [account.pk])
        with pytest.raises(GateContended):
            record(account)
        assert record(account, quantity=D(5))[1] is not None
    assert not models.Decision.objects.filter(allowed=True).exists()


# Over HTTP ------------------------------------------------------------------------------------------


def request(**changes: Any) -> Answer:
    body: dict[str, Any] = {
        "account": "main",
        "strategy": "trend",
        "symbol": "SOLUSDT",
        "side": "buy",
        "type": "limit",
        "quantity": "0.6",
        "price": "150",
        "stop_loss": "146.25",
        "take_profit": "157.5",
        "client_ref": "bot-1",
        "execute": False,
    } | changes
    actor = Actor(name="bot", kind=ActorKind.TOKEN, roles=frozenset({Role.OPERATOR}))
    return request_order(wish=OrderIntentIn(**body), actor=actor, clocks=get_clocks())


@pytest.mark.django_db
@pytest.mark.parametrize("changes", [{}, {"execute": True}, {"quantity": "5"}])
def test_a_new_order_takes_none_of_the_statements_of_the_models(changes):
    desk.make_desk()
    request(client_ref="bot-0")  # the limit set is read once in the life of a process
    with CaptureQueriesContext(connection) as queries:
        answer = request(**changes)
    assert answer.decision.allowed == ("quantity" not in changes)
    assert [query["sql"] for query in queries if not query["sql"].startswith("SAVEPOINT")] == []


@pytest.mark.django_db
def test_an_override_is_used_over_http_and_the_throttle_latches():
    account = desk.make_desk()
    override = raise_limit(account)
    answer = request(quantity="0.9", execute=True)
    assert answer.decision.override_id == override.pk
    facts.OrderIntent.objects.filter(state="approved").update(state="lapsed")
    window = get_clocks().market_at - timedelta(minutes=1)
    models.Activity.objects.update(entries=9, window_started_at=window)
    assert request(client_ref="bot-2", execute=True).decision.allowed
    assert activity().throttled_at is not None


@pytest.mark.django_db
def test_a_known_reference_gets_its_first_answer_and_the_order_it_became():
    desk.make_desk()
    first = request(execute=True)
    order = facts.Order.objects.create(
        intent=first.intent,
        venue_account=first.intent.venue_account,
        symbol="SOLUSDT",
        client_order_id="entry1",
        purpose="entry",
        side="buy",
        order_type="limit",
        quantity=D("0.6"),
        price=D(150),
        reduce_only=False,
        state="open",
        market_at=first.intent.market_at,
    )
    facts.OrderIntent.objects.update(state="dispatched")
    again = request(execute=True)
    assert (again.decision.pk, again.intent.pk) == (first.decision.pk, first.intent.pk)
    assert (again.order, first.order) == (order, None)
    assert json.loads(again.decision.breaches) == []


# Races ----------------------------------------------------------------------------------------------


def request_entry(symbol: str, **changes: Any) -> models.Decision:
    """The entry of the races' desk, asked over HTTP."""
    body: dict[str, Any] = {"quantity": "3"} | changes
    answer = request(
        symbol=symbol,
        type="market",
        price=None,
        stop_loss="9.75",
        take_profit="10.5",
        client_ref=f"race-{next(desk.NUMBERS)}",
        execute=True,
        **body,
    )
    return answer.decision


@pytest.mark.django_db(transaction=True)
def test_racing_requests_of_one_reference_get_one_answer_and_reserve_once():
    account = desk.make_desk()
    before = version_of(account)
    answers = at_once(lambda _: request(execute=True), list(range(6)))
    assert len({(answer.intent.pk, answer.decision.pk) for answer in answers}) == 1
    assert (facts.OrderIntent.objects.count(), models.Decision.objects.count()) == (1, 1)
    assert activity().entries == 1
    assert version_of(account) > before


@pytest.mark.django_db(transaction=True)
def test_twelve_requests_never_open_more_positions_than_the_limit():
    make_wide_desk()
    assert reasons(at_once(request_entry, SYMBOLS)) == {"none": 2, "POSITION_COUNT": 10}
    assert facts.OrderIntent.objects.filter(state="approved").count() == 2


@pytest.mark.django_db(transaction=True)
def test_no_request_is_allowed_after_the_trips_commit():
    for number in range(8):
        account = make_endless_desk(f"desk{number}")
        race_with_trip(account, partial(request_entry, account=account.name, quantity="0.5"), SYMBOLS)
