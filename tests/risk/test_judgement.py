"""Judging on the real database: what is read, what is stored, and who wins."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.utils import DatabaseError

from risk import models
from risk.judgement import IntentNotOpen, judge_intent
from risk.selectors import explain_decision
from risk.snapshot import IntentNotFound
from tests.risk import desk
from trading import models as facts
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
D = Decimal


def judge(intent: facts.OrderIntent) -> models.Decision:
    return judge_intent(intent_id=intent.pk, clocks=get_clocks())


def codes(decision: models.Decision) -> list[str]:
    return [item["code"] for item in json.loads(decision.breaches)]


def version_of(account: facts.Account) -> int:
    return models.AccountBook.objects.get(account=account).version


def test_an_entry_within_every_limit_is_allowed_and_reserved():
    account = desk.make_desk()
    version = version_of(account)
    intent = desk.ask(account)

    decision = judge(intent)

    assert (decision.allowed, decision.reason, codes(decision)) == (True, "none", [])
    intent.refresh_from_db()
    permit = facts.Permit.objects.get(account=account)
    assert intent.state == "approved"
    assert intent.decision_id == decision.pk
    assert intent.fencing_token == permit.fencing_token
    assert intent.limit_set_digest == permit.limit_set_digest
    assert intent.valid_until is not None
    stored = models.Decision.objects.get(pk=decision.pk)
    assert stored.decided_at == decision.decided_at
    assert (intent.valid_until - stored.decided_at).total_seconds() == pytest.approx(5, abs=0.1)
    assert version_of(account) == version + 1
    assert (decision.requested_quantity, decision.quantity) == (D("0.6"), D("0.6"))
    assert decision.override_id == 0


def test_a_second_judge_of_the_same_intent_gets_the_first_decision():
    account = desk.make_desk()
    version = version_of(account)
    intent = desk.ask(account)

    first, second = judge(intent), judge(intent)

    assert first.pk == second.pk
    assert models.Decision.objects.count() == 1
    assert version_of(account) == version + 1


def test_a_denial_is_stored_by_the_same_path_and_reserves_nothing():
    account = desk.make_desk()
    version = version_of(account)
    intent = desk.ask(account, quantity=D("0.7"))

    decision = judge(intent)

    assert not decision.allowed
    assert codes(decision) == ["ORDER_NOTIONAL", "POSITION_NOTIONAL"]
    assert decision.max_quantity == D("0.66")
    intent.refresh_from_db()
    assert (intent.state, intent.valid_until, intent.decision_id) == ("denied", None, decision.pk)
    assert version_of(account) == version


def test_an_approved_entry_that_has_not_filled_counts_for_the_next_one():
    account = desk.make_desk()
    assert judge(desk.ask(account)).allowed

    again = judge(desk.ask(account))
    other = judge(desk.ask(account, strategy="reversion"))

    assert codes(again)[0] == "DUPLICATE_INTENT"
    assert "POSITION_NOTIONAL" in codes(again)
    assert codes(other)[0] == "SYMBOL_OWNED"


def test_a_judgement_only_intent_is_answered_and_reserves_nothing():
    account = desk.make_desk()
    version = version_of(account)
    assert judge(desk.ask(account, execute=False)).allowed
    assert version_of(account) == version

    assert judge(desk.ask(account)).allowed


def test_a_missing_state_row_is_halted():
    account = desk.make_desk()
    facts.TradingState.objects.filter(scope="symbol:SOLUSDT").delete()

    assert codes(judge(desk.ask(account))) == ["STATE_HALTED"]


def test_an_account_without_a_permit_or_limits_is_denied():
    account = desk.make_desk()
    facts.Permit.objects.update(limit_set_digest="f" * 64)
    assert codes(judge(desk.ask(account))) == ["LIMITS_UNKNOWN"]

    facts.Permit.objects.update(active=False)
    assert codes(judge(desk.ask(account))) == ["PERMIT_MISSING", "LIMITS_UNKNOWN"]


def test_what_no_size_can_satisfy_is_untradable_with_a_hint():
    account = desk.make_desk()
    intent = desk.ask(
        account, symbol="BTCUSDT", quantity=D("0.001"), stop_loss=D(97500), take_profit=D(105000)
    )
    desk.set_price("BTCUSDT", 105_000, at=get_clocks().market_at)

    decision = judge(intent)

    assert decision.reason == "INSTRUMENT_UNTRADABLE"
    text = json.loads(decision.breaches)[0]["text"]
    assert "0.001 = 105 USDT" in text
    assert "100 USDT at MICRO" in text
    assert decision.max_quantity == 0


def test_an_owners_exit_is_allowed_without_permit_price_or_balance():
    account = desk.make_desk()
    desk.hold(account)
    facts.Permit.objects.update(active=False)
    facts.MarketPrice.objects.all().delete()
    facts.TradingState.objects.filter(scope="account:main").update(state="REDUCING")
    exit_body = {"purpose": "exit", "side": "sell", "reduce_only": True, "stop_loss": None}
    intent = desk.ask(account, quantity=D("0.3"), take_profit=None, **exit_body)

    decision = judge(intent)

    assert decision.allowed, decision.breaches
    assert decision.max_quantity == D("0.3")


def test_a_position_with_a_verified_stop_counts_its_distance_and_without_one_its_notional():
    account = desk.make_desk()
    position = desk.hold(account)
    entry = desk.ask_doge(account)
    assert "DAILY_LOSS_BUDGET" in codes(judge(entry))

    stop_of(position)

    assert judge(desk.ask_doge(account)).allowed


def test_an_entry_joins_its_position_only_under_the_protection_in_force():
    account = desk.make_desk()
    opening = desk.ask(account, quantity=D("0.1"), execute=False)
    position = desk.hold(account, quantity=D("0.1"), entry_intent=opening)
    stop_of(position, "146.25")

    same = judge(desk.ask(account, quantity=D("0.1"), execute=False))
    wider = judge(desk.ask(account, quantity=D("0.1"), stop_loss=D("146.24"), execute=False))
    further = judge(desk.ask(account, quantity=D("0.1"), take_profit=D(158), execute=False))

    assert same.allowed, same.breaches
    assert codes(wider) == codes(further) == ["PROTECTION_DIFFERS"]
    breach = json.loads(wider.breaches)[0]
    assert D(breach["limit"].split()[1].strip(",")) == D("146.25")
    assert all(explain_decision(row.pk).agrees for row in (same, wider, further))


def test_every_entry_filled_today_counts_and_not_each_round_trip():
    account = desk.make_desk()
    today = get_clocks().market_at.replace(hour=0, minute=0, second=0, microsecond=0)
    for number in range(20):
        entered(account, today, today, name=f"e{number}")
    entered(account, today - timedelta(seconds=1), today, name="yesterday")
    entered(account, name="unfilled")
    entered(account, today, name="exit", purpose="exit", reduce_only=True)

    decision = judge(desk.ask(account))

    assert codes(decision) == ["TRADES_PER_DAY"]
    assert json.loads(decision.breaches)[0]["measured"] == "21"
    assert explain_decision(decision.pk).agrees


def test_an_order_of_yesterday_that_goes_on_filling_is_not_one_of_today():
    account = desk.make_desk()
    today = get_clocks().market_at.replace(hour=0, minute=0, second=0, microsecond=0)
    for number in range(19):
        entered(account, today, today, name=f"e{number}")
    entered(account, today - timedelta(seconds=1), today, name="yesterday")

    assert judge(desk.ask(account)).allowed


def entered(account: facts.Account, *times: datetime, name: str, **changes: Any) -> None:
    """A settled order of SOLUSDT with one fill at each of the (market) times."""
    place = desk.place_of(account)
    body = {"purpose": "entry", "reduce_only": False} | changes
    order = facts.Order.objects.create(
        intent=desk.ask(account, execute=False),
        venue_account=place,
        symbol="SOLUSDT",
        client_order_id=name,
        side="buy",
        order_type="market",
        quantity=D("0.02"),
        state="filled",
        market_at=get_clocks().market_at,
        **body,
    )
    for number, at in enumerate(times):
        facts.Fill.objects.create(
            venue_account=place,
            order=order,
            symbol="SOLUSDT",
            venue_fill_id=f"{name}-{number}",
            venue_order_id=name,
            side="buy",
            quantity=D("0.01"),
            price=150,
            fee=0,
            fee_asset="USDT",
            realised_pnl=0,
            is_maker=False,
            market_at=at,
        )


def test_a_setting_chosen_for_a_nearer_stop_or_of_unknown_room_denies():
    account = desk.make_desk()
    settings = facts.VenueSetting.objects.filter(symbol="SOLUSDT")
    assert judge(desk.ask(account, execute=False)).allowed

    settings.update(leverage=2, max_stop_ratio=D("0.025"))
    near = judge(desk.ask(account, execute=False))
    settings.update(max_stop_ratio=None)
    unknown = judge(desk.ask(account, execute=False))

    assert codes(near) == ["LIQUIDATION_TOO_NEAR"]
    assert codes(unknown) == ["VENUE_SETTING_UNKNOWN"]
    assert all(explain_decision(row.pk).agrees for row in (near, unknown))


def stop_of(position: facts.Position, trigger: str = "147") -> facts.Order:
    clocks = get_clocks()
    account = position.venue_account.account
    opening = desk.ask(account, execute=False)
    return facts.Order.objects.create(
        intent=opening,
        venue_account=position.venue_account,
        symbol=position.symbol,
        client_order_id=f"stop{position.pk}",
        purpose="stop_loss",
        side="sell",
        order_type="stop_market",
        trigger_price=D(trigger),
        reduce_only=True,
        close_position=True,
        state="open",
        market_at=clocks.market_at,
        verified_at=clocks.wall_at,
    )


def test_protections_of_a_closed_position_keep_the_symbol_closed():
    account = desk.make_desk()
    position = desk.hold(account)
    stop_of(position)
    facts.Position.objects.update(quantity=0, entry_price=None)

    assert codes(judge(desk.ask(account))) == ["ORPHAN_PROTECTION"]


def test_a_difference_on_another_symbol_does_not_stop_this_one():
    account = desk.make_desk()
    clocks = get_clocks()
    facts.ReconciliationRun.objects.create(
        venue_account=desk.place_of(account),
        is_clean=False,
        differences=[{"symbol": "SOLUSDT", "kind": "position"}],
        market_at=clocks.market_at,
        started_at=clocks.wall_at,
    )
    assert judge(desk.ask_doge(account)).allowed
    assert codes(judge(desk.ask(account))) == ["RECONCILIATION_MISMATCH"]


def test_losses_are_measured_from_the_last_sample_before_the_anchor_net_of_flows():
    account = desk.make_desk()
    clocks = get_clocks()
    place = desk.place_of(account)
    desk.sample_equity(place, 1300, market_at=clocks.market_at.replace(year=clocks.market_at.year - 1))
    denied = judge(desk.ask(account))
    assert {"DAILY_LOSS", "WEEKLY_LOSS"} <= set(codes(denied))

    facts.Income.objects.create(
        venue_account=place,
        venue_income_id="1",
        kind="TRANSFER",
        amount=-200,
        market_at=clocks.market_at.replace(year=clocks.market_at.year - 1, month=12),
    )

    assert judge(desk.ask(account)).allowed


def test_explaining_a_decision_decides_it_again_and_agrees():
    account = desk.make_desk()
    desk.hold(account)
    for intent in (desk.ask(account), desk.ask_doge(account), desk.ask(account, quantity=D("123.456"))):
        explanation = explain_decision(judge(intent).pk)
        assert explanation.is_same_code
        assert explanation.agrees


def test_decisions_are_append_only_for_the_application():
    decision = judge(desk.ask(desk.make_desk()))
    for statement in ("UPDATE risk_decision SET allowed = false", "DELETE FROM risk_decision"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    assert models.Decision.objects.get(pk=decision.pk).allowed


def test_an_unknown_intent_and_one_that_lapsed_unjudged_are_refused():
    account = desk.make_desk()
    intent = desk.ask(account)
    facts.OrderIntent.objects.filter(pk=intent.pk).update(state="lapsed")
    with pytest.raises(IntentNotOpen):
        judge(intent)
    with pytest.raises(IntentNotFound):
        judge(facts.OrderIntent(account=account))


def test_a_denial_always_has_a_reason():
    decision = judge(desk.ask(desk.make_desk()))
    decision.pk, decision.reason = None, "STATE_HALTED"
    with pytest.raises(IntegrityError), transaction.atomic():
        decision.save(force_insert=True)
