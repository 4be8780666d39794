"""What an approval takes along in its one statement: the throttle's count and an override's use."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection

from controlplane.alerts.models import Alert
from controlplane.audit.models import AuditEvent
from risk import judgement, models
from risk.judgement import GateContended, judge_intent
from risk.selectors import explain_decision
from risk.snapshot import load_intent
from tests.approvals.conftest import grant_override, unguarded
from tests.risk import desk
from tests.risk.test_races import SYMBOLS, WIDE, ask, at_once, judge, make_wide_desk
from trading import models as facts
from trading.selectors import get_clocks

D = Decimal


def codes(decision: models.Decision) -> list[str]:
    return [item["code"] for item in json.loads(decision.breaches)]


def activity() -> models.Activity:
    return models.Activity.objects.get(strategy="trend", symbol="SOLUSDT")


def forget_approved() -> None:
    """As if what was approved had lapsed at the door."""
    facts.OrderIntent.objects.filter(state="approved").update(state="lapsed")


def raise_limit(account: facts.Account, **changes: Any) -> models.Override:
    body: dict[str, Any] = {"limit": "max_position_notional", "value": D(150), "max_uses": 1}
    return grant_override(account, **body | changes, window=timedelta(minutes=10))


# The throttle --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_executed_entry_is_counted_with_its_signal_and_nothing_else_is():
    account = desk.make_desk()
    judge(desk.ask(account, execute=False))
    judge(desk.ask(account, quantity=D(5)))
    assert (activity().entries, activity().window_started_at) == (0, None)

    intent = desk.ask(account)
    decision = judge(intent)

    row = activity()
    assert (row.entries, row.window_started_at) == (1, decision.market_at)
    assert (row.last_signal_at, row.last_side, row.throttled_at) == (intent.signal_at, "buy", None)


@pytest.mark.django_db
def test_a_window_that_has_run_out_begins_anew_and_one_that_has_not_goes_on():
    account = desk.make_desk()
    now = get_clocks().market_at
    models.Activity.objects.update(entries=8, window_started_at=now - timedelta(minutes=59))
    assert judge(desk.ask(account)).allowed
    assert activity().entries == 9
    forget_approved()
    models.Activity.objects.update(window_started_at=now - timedelta(minutes=61))
    later = judge(desk.ask(account))
    assert (activity().entries, activity().window_started_at) == (1, later.market_at)


@pytest.mark.django_db
def test_the_same_signal_is_acted_on_once():
    account = desk.make_desk()
    first = desk.ask(account)
    assert judge(first).allowed
    forget_approved()
    assert codes(judge(desk.ask(account, signal_at=first.signal_at))) == ["DUPLICATE_INTENT"]
    assert judge(desk.ask(account)).allowed


@pytest.mark.django_db(transaction=True)
def test_the_throttle_latches_exactly_at_the_limit_under_racing_judges():
    account = make_wide_desk(max_positions=100, **WIDE | {"max_repeats": 3})
    allowed = []
    for _ in range(5):
        decisions = at_once(judge, [ask(account, SYMBOLS[0]) for _ in range(4)])
        allowed.append(sum(row.allowed for row in decisions))
        forget_approved()

    assert allowed == [1, 1, 1, 0, 0]
    row = models.Activity.objects.get(strategy="trend", symbol=SYMBOLS[0])
    assert (row.entries, row.throttled_at is not None) == (3, True)
    assert {row.reason for row in decisions} == {"STRATEGY_THROTTLED"}
    event = AuditEvent.objects.get(action="risk.throttle")
    assert event.payload["detail"]["entries"] == 3
    assert Alert.objects.get(code="strategy_throttled").scope == f"main trend {SYMBOLS[0]}"
    assert judge(ask(account, SYMBOLS[1])).allowed


# Overrides -----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_override_allows_what_the_limits_deny_is_named_and_used_up():
    account = desk.make_desk()
    override = raise_limit(account)
    intent = desk.ask(account, quantity=D("0.9"))

    decision = judge(intent)

    assert (decision.allowed, decision.override_id, decision.quantity) == (True, override.pk, D("0.9"))
    override.refresh_from_db()
    assert override.used == 1
    assert explain_decision(decision.pk).agrees
    forget_approved()
    again = judge(desk.ask(account, quantity=D("0.9")))
    assert (again.override_id, codes(again)) == (0, ["ORDER_NOTIONAL", "POSITION_NOTIONAL"])


@pytest.mark.django_db
def test_an_override_is_left_alone_where_the_limits_allow_or_it_does_not_help_or_nothing_is_sent():
    account = desk.make_desk()
    override = raise_limit(account)
    assert judge(desk.ask(account, execute=False)).override_id == 0
    assert judge(desk.ask(account, quantity=D(2), execute=False)).override_id == 0
    assert judge(desk.ask(account, quantity=D("0.9"), execute=False)).override_id == override.pk
    override.refresh_from_db()
    assert override.used == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "change",
    [
        "ended_at = now()",
        "starts_at = now() - interval '1 minute', expires_at = now() - interval '1 millisecond'",
        "starts_at = now() + interval '1 minute'",
        "account_id = (SELECT id FROM trading_account WHERE name = 'other')",
    ],
    ids=["ended", "expired", "to come", "another account"],
)
def test_an_override_that_is_not_in_force_is_not_known(change):
    account = desk.make_desk()
    desk.make_desk(name="other")
    raise_limit(account)
    with unguarded("risk_override") as owner:
        owner.execute(f"UPDATE risk_override SET {change}")
    assert not judge(desk.ask(account, quantity=D("0.9"))).allowed


@pytest.mark.django_db
def test_of_two_overrides_only_those_that_are_needed_are_used():
    account = desk.make_desk()
    idle = raise_limit(account, limit="max_trades_per_day", value=D(30))
    needed = raise_limit(account)
    wide = raise_limit(account, limit="max_gross_exposure", value=D(300))
    assert judge(desk.ask(account, quantity=D("0.9"))).override_id == needed.pk
    used = dict(models.Override.objects.values_list("pk", "used"))
    assert used == {idle.pk: 0, needed.pk: 1, wide.pk: 0}


@pytest.mark.django_db
def test_an_override_that_ends_before_the_answer_is_stored_stores_nothing():
    account = desk.make_desk()
    override = raise_limit(account, max_uses=None)
    intent = desk.ask(account, quantity=D("0.9"))
    loaded = load_intent(intent_id=intent.pk, clocks=get_clocks())
    models.Override.objects.filter(pk=override.pk).update(ended_at=get_clocks().wall_at)

    assert judgement._decide_and_store(loaded) is None

    assert not models.Decision.objects.exists()
    assert activity().entries == 0
    assert not judge(intent).allowed


@pytest.mark.django_db(transaction=True)
def test_a_single_use_is_taken_once_by_racing_judges():
    account = make_wide_desk(max_positions=100, max_daily_loss_ratio=D("0.019"), **WIDE)
    override = raise_limit(account)

    decisions = at_once(judge, [ask(account, symbol, "12") for symbol in SYMBOLS[:6]])

    override.refresh_from_db()
    assert override.used == 1
    assert [row.override_id for row in decisions if row.allowed] == [override.pk]
    assert {row.reason for row in decisions if not row.allowed} == {"ORDER_NOTIONAL"}
    assert all(explain_decision(row.pk).agrees for row in decisions)


# Contention ----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_book_that_somebody_holds_is_waited_for_a_while_and_then_left():
    account = desk.make_desk()
    intent, too_large = desk.ask(account), desk.ask(account, quantity=D(5))
    with open_connection() as other:
        other.execute("SELECT 1 FROM risk_accountbook WHERE account_id = %s FOR UPDATE", [account.pk])
        with pytest.raises(GateContended):
            judge_intent(intent_id=intent.pk, clocks=get_clocks())
        # A denial reserves nothing and waits for nobody.
        assert not judge(too_large).allowed
    assert not models.Decision.objects.filter(intent=intent).exists()
    intent.refresh_from_db()
    assert intent.state == "proposed"
    assert judge(intent).allowed


def open_connection() -> "psycopg.Connection[tuple[Any, ...]]":
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    return psycopg.connect(**parameters)
