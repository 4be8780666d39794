"""Where a smaller size will do: what is stored, what is sent, and that a race spends nothing twice."""

import json
from decimal import Decimal

import pytest

from risk import models
from risk.judgement import judge_intent
from risk.selectors import explain_decision
from tests.risk import desk
from tests.risk.test_races import SYMBOLS, WIDE, ask, at_once, judge, make_wide_desk
from trading import models as facts
from trading.selectors import get_clocks

D = Decimal


def let_resize(intent: facts.OrderIntent) -> facts.OrderIntent:
    facts.OrderIntent.objects.filter(pk=intent.pk).update(may_resize=True)
    return intent


@pytest.mark.django_db
def test_the_largest_allowed_quantity_is_stored_and_becomes_the_intents():
    account = desk.make_desk()
    intent = let_resize(desk.ask(account, quantity=D(1)))

    decision = judge_intent(intent_id=intent.pk, clocks=get_clocks())

    assert (decision.allowed, decision.reason, json.loads(decision.breaches)) == (True, "none", [])
    assert (decision.requested_quantity, decision.quantity, decision.max_quantity) == (
        D(1),
        D("0.66"),
        D("0.66"),
    )
    intent.refresh_from_db()
    assert (intent.state, intent.quantity, intent.requested_quantity) == ("approved", D("0.66"), D(1))
    explained = explain_decision(decision.pk)
    assert explained.agrees
    assert [item.code.value for item in explained.again.resized_for] == [
        "ORDER_NOTIONAL",
        "POSITION_NOTIONAL",
    ]


@pytest.mark.django_db
def test_what_is_denied_keeps_its_quantity():
    account = desk.make_desk()
    facts.TradingState.objects.filter(scope="all").update(state="HALTED")
    intent = let_resize(desk.ask(account, quantity=D(1)))
    decision = judge_intent(intent_id=intent.pk, clocks=get_clocks())
    intent.refresh_from_db()
    assert (decision.allowed, decision.quantity, intent.quantity) == (False, D(1), D(1))
    assert explain_decision(decision.pk).agrees


@pytest.mark.django_db(transaction=True)
def test_racing_entries_are_resized_to_what_is_left_and_to_no_more():
    account = make_wide_desk(
        max_positions=100, max_daily_loss_ratio=D("0.019"), **WIDE | {"max_gross_exposure": D(200)}
    )
    intents = [let_resize(ask(account, symbol, "8")) for symbol in SYMBOLS[:4]]

    decisions = at_once(judge, intents)

    quantities = sorted(row.quantity for row in decisions if row.allowed)
    assert quantities == [D(4), D(8), D(8)]
    assert [row.reason for row in decisions if not row.allowed] == ["GROSS_EXPOSURE"]
    reserved = facts.OrderIntent.objects.filter(state="approved")
    assert sum(row.quantity * 10 for row in reserved) == 200
    assert {row.requested_quantity for row in reserved} == {D(8)}
    assert all(explain_decision(row.pk).agrees for row in models.Decision.objects.all())
