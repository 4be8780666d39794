"""Which resting orders a stop cancels."""

from dataclasses import replace
from decimal import Decimal

import pytest

from risk.core.emergency_stop import Owner, must_cancel, parse_scope
from trading.core.values import OrderPurpose, OrderReport, OrderState, Scope, Side

RESTING = OrderReport(
    symbol="SOLUSDT",
    client_order_id="a1",
    venue_order_id="1",
    state=OrderState.OPEN,
    is_conditional=False,
    side=Side.BUY,
    quantity=Decimal(1),
    filled_quantity=Decimal(0),
    average_price=None,
    price=Decimal(150),
    trigger_price=None,
    reduce_only=False,
    close_position=False,
    executed_by=None,
    updated_at=None,
)
ENTRY = Owner(purpose=OrderPurpose.ENTRY, strategy="trend")
ALL = Scope(kind="all")


@pytest.mark.parametrize(
    "text", ["all", "venue:binanceusdm", "account:main", "strategy:trend", "symbol:SOLUSDT"]
)
def test_a_scope_reads_and_writes_the_same(text):
    assert parse_scope(text).key == text


@pytest.mark.parametrize("text", ["", "ALL", "all:", "all:x", "venue", "venue:", "user:x"])
def test_anything_else_is_no_scope(text):
    with pytest.raises(ValueError, match="expected all"):
        parse_scope(text)


def test_an_entry_is_cancelled_conditional_or_not_whole_or_partly_filled():
    assert must_cancel(RESTING, ENTRY, ALL)
    assert must_cancel(replace(RESTING, is_conditional=True, trigger_price=Decimal(160)), ENTRY, ALL)
    assert must_cancel(replace(RESTING, filled_quantity=Decimal("0.5")), ENTRY, ALL)


@pytest.mark.parametrize(
    "changes", [{"reduce_only": True}, {"close_position": True}, {"state": OrderState.CANCELLED}]
)
def test_what_cannot_add_risk_stays_whoever_owns_it(changes):
    for owner in (ENTRY, None):
        assert not must_cancel(replace(RESTING, **changes), owner, ALL)


@pytest.mark.parametrize(
    "purpose", [purpose for purpose in OrderPurpose if purpose is not OrderPurpose.ENTRY]
)
def test_our_protections_and_exits_stay_even_if_the_venue_reports_no_flag(purpose):
    assert not must_cancel(RESTING, Owner(purpose=purpose, strategy="trend"), ALL)


@pytest.mark.parametrize(
    ("scope", "ours", "foreign"),
    [
        ("all", True, True),
        ("venue:binanceusdm", True, True),
        ("account:main", True, True),
        ("symbol:SOLUSDT", True, False),
        ("symbol:ETHUSDT", False, False),
        ("strategy:trend", True, False),
        ("strategy:reversion", False, False),
    ],
)
def test_a_narrow_stop_leaves_what_is_not_its_own(scope, ours, foreign):
    assert must_cancel(RESTING, ENTRY, parse_scope(scope)) is ours
    assert must_cancel(RESTING, None, parse_scope(scope)) is foreign
