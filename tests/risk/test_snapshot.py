"""What one statement reads: each newer fact, how old it may be, and that no history is walked through."""

import json
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest
from django.db import connection

from controlplane.native import run_native
from risk import models
from risk.canary import prove_gate_denies
from risk.core.values import Snapshot
from risk.judgement import judge_intent
from risk.selectors import DecisionOfOtherCode, explain_decision
from risk.snapshot import load_intent, time_parameters
from risk.snapshot_statements import COUNTED_FILLS, LOAD_INTENT
from tests.factories import DecisionFactory
from tests.risk import desk
from tests.risk.test_judgement import codes, judge, stop_of
from trading import models as facts
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
D = Decimal
HISTORY = (
    "trading_order",
    "trading_orderintent",
    "trading_fill",
    "trading_income",
    "trading_equitysample",
    "trading_reconciliationrun",
    "risk_globalrisk",
    "risk_decision",
)


def known(intent: facts.OrderIntent) -> Snapshot:
    return load_intent(intent_id=intent.pk, clocks=get_clocks()).snapshot


def send_messages(place: facts.VenueAccount, count: int, *, seconds_ago: int) -> None:
    facts.MessageSlot.objects.create(
        venue_account=place,
        slot=seconds_ago % 60,
        second_at=get_clocks().wall_at - timedelta(seconds=seconds_ago),
        count=count,
    )


def test_requests_of_the_last_minute_count_at_every_venue_of_the_account():
    account = desk.make_desk()
    intent = desk.ask(account)
    assert known(intent).messages_last_minute == 0
    other = facts.VenueAccount.objects.create(account=account, venue="bybit", priority=1)
    send_messages(desk.place_of(account), 50, seconds_ago=5)
    send_messages(desk.place_of(account), 1000, seconds_ago=61)
    send_messages(other, 7, seconds_ago=30)
    send_messages(desk.place_of(desk.make_desk(name="else")), 1000, seconds_ago=1)
    assert known(intent).messages_last_minute == 57
    assert judge(desk.ask(account)).allowed
    assert codes(judge(desk.ask_doge(account))) == ["MESSAGE_RATE"]


def test_correlations_are_those_of_the_book_and_an_old_or_empty_one_is_not_known():
    account = desk.make_desk()
    desk.hold(account, symbol="DOGEUSDT")
    now = get_clocks().market_at
    for first, second, value, age in (
        ("DOGEUSDT", "SOLUSDT", "0.4", 1),
        ("BTCUSDT", "SOLUSDT", "0.9", 1),
    ):
        models.Correlation.objects.create(
            first=first, second=second, value=D(value), samples=700, computed_at=now - timedelta(hours=age)
        )
    intent = desk.ask(account)
    assert [(c.first, c.second, c.value) for c in known(intent).correlations] == [
        ("DOGEUSDT", "SOLUSDT", D("0.4"))
    ]
    pair = models.Correlation.objects.filter(first="DOGEUSDT")
    pair.update(computed_at=now - timedelta(hours=2, minutes=1))
    assert known(intent).correlations == ()
    pair.update(computed_at=now, value=None)
    assert known(intent).correlations == ()


def test_conditional_orders_of_the_symbol_are_counted_whether_or_not_it_is_held():
    account = desk.make_desk()
    position = desk.hold(account)
    stop_of(position)
    assert (known(desk.ask(account)).conditional_orders, known(desk.ask(account)).orphan_protections) == (
        1,
        0,
    )
    assert known(desk.ask_doge(account)).conditional_orders == 0
    facts.Position.objects.update(quantity=0, entry_price=None)
    assert (known(desk.ask(account)).conditional_orders, known(desk.ask(account)).orphan_protections) == (
        1,
        1,
    )


@pytest.mark.parametrize(("fills", "entries"), [(COUNTED_FILLS - 1, 0), (COUNTED_FILLS, None)])
def test_a_day_with_more_fills_than_are_walked_has_no_known_number_of_entries(fills, entries):
    account = desk.make_desk()
    place, market_at = desk.place_of(account), get_clocks().market_at
    facts.Fill.objects.bulk_create(
        facts.Fill(
            venue_account=place,
            symbol="SOLUSDT",
            venue_fill_id=str(number),
            venue_order_id="not-ours",
            side="buy",
            quantity=D(1),
            price=D(150),
            fee=D(0),
            fee_asset="USDT",
            realised_pnl=D(0),
            is_maker=False,
            market_at=market_at,
        )
        for number in range(fills)
    )
    intent = desk.ask(account)
    assert known(intent).entries_today == entries
    if entries is None:
        assert "TRADE_COUNT_UNKNOWN" in codes(judge(intent))


def test_a_strategy_that_was_never_registered_for_the_symbol_is_denied():
    account = desk.make_desk()
    models.Activity.objects.all().delete()
    assert codes(judge(desk.ask(account))) == ["ACTIVITY_UNKNOWN"]


@pytest.mark.parametrize(
    ("table", "column", "code"),
    [
        (facts.Instrument, "delists_at", "DELISTING_UNKNOWN"),
        (facts.Instrument, "max_conditional_orders", "CONDITIONAL_ORDERS_UNKNOWN"),
        (facts.MarketPrice, "reference", "REFERENCE_UNKNOWN"),
        (facts.MarketPrice, "ask_quantity", "DEPTH_UNKNOWN"),
        (facts.MarketPrice, "funding_rate", "FUNDING_UNKNOWN"),
        (facts.VenueSetting, "is_one_way", "ACCOUNT_MODE_UNKNOWN"),
        (facts.VenueSetting, "is_single_asset", "ACCOUNT_MODE_UNKNOWN"),
    ],
)
def test_a_column_that_was_never_read_denies(table, column, code):
    account = desk.make_desk()
    table.objects.update(**{column: None})
    decision = judge(desk.ask(account))
    assert codes(decision) == [code]
    assert explain_decision(decision.pk).agrees


def test_the_canary_notices_every_absence_on_a_desk_that_trades():
    account = desk.make_desk()
    desk.hold(account)
    proof = prove_gate_denies(account=account, clocks=get_clocks())
    assert (proof.allowed, proof.unnoticed) == (False, ())
    facts.MarketPrice.objects.filter(symbol="SOLUSDT").delete()
    assert prove_gate_denies(account=account, clocks=get_clocks()).unnoticed == ()


def test_no_table_that_grows_is_read_from_end_to_end():
    intent = desk.ask(desk.make_desk())
    parameters = {"intent_id": intent.pk, **time_parameters(get_clocks())}
    with connection.cursor() as django_cursor:
        # An empty table is cheapest read whole; with that forbidden the plan shows whether it must be.
        django_cursor.execute("SET LOCAL enable_seqscan = off")
    plan = "\n".join(row[0] for row in run_native(f"EXPLAIN {LOAD_INTENT}", parameters))
    assert "Index" in plan
    for table in HISTORY:
        assert f"Seq Scan on {table} " not in plan, plan


def test_the_statements_of_the_decision_path_are_prepared_once():
    account = desk.make_desk()
    for _ in range(2):
        judge_intent(intent_id=desk.ask(account, execute=False).pk, clocks=get_clocks())
    connection.ensure_connection()
    rows = psycopg.Cursor(connection.connection).execute("SELECT statement FROM pg_prepared_statements")
    statements = [row[0] for row in rows.fetchall()]
    assert sum("INSERT INTO risk_decision" in text for text in statements) == 1
    assert sum("'orphan_protections'" in text for text in statements) == 1


def test_a_decision_of_code_that_knew_other_facts_says_so():
    row = DecisionFactory(inputs=json.dumps({"intent": {"symbol": "X"}, "snapshot": {}}))
    with pytest.raises(DecisionOfOtherCode, match=f"decision {row.pk} was written by the code 000000000000"):
        explain_decision(row.pk)
