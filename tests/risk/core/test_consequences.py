"""When a restriction begins, when it is over, and when nothing can be said (RISK.md part 2)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from risk.core import consequences as core
from risk.core.consequences import Finding, Held, Standing
from risk.core.emergency_stop import Cause
from risk.core.values import Anchor, AnchorName
from tests.risk import build

D = Decimal
AT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def anchor(name: AnchorName, equity: str, flow: str = "0") -> Anchor:
    return Anchor(name=name, equity=D(equity), net_flow=D(flow), at=AT, is_first_sample=False)


def snapshot(equity: str, *anchors: Anchor):
    made = build.snapshot()
    return replace(made, balance=replace(made.balance, equity=D(equity), wallet=D(equity)), anchors=anchors)


LIMIT = D("0.01")
LIMITS = replace(build.limits(), max_daily_loss_ratio=LIMIT, max_weekly_loss_ratio=D("0.02"))


@pytest.mark.parametrize(
    ("equity", "day", "rolling", "standing"),
    [
        ("990.01", "1000", "1000", Standing.OVER),
        ("990", "1000", "1000", Standing.PRESENT),
        ("990", "990", "1000", Standing.PRESENT),
        ("990", "1000", "980", Standing.PRESENT),
        ("1200", "1000", "1000", Standing.OVER),
    ],
)
def test_a_daily_loss_is_reached_at_the_limit_of_either_anchor(equity, day, rolling, standing):
    facts = snapshot(equity, anchor(AnchorName.DAY, day), anchor(AnchorName.ROLLING_DAY, rolling))
    assert core.judge_daily_loss(facts, LIMITS).standing is standing


def test_what_came_from_outside_is_neither_lost_nor_won():
    deposit = anchor(AnchorName.DAY, "1000", "500"), anchor(AnchorName.ROLLING_DAY, "1000", "500")
    found = core.judge_daily_loss(snapshot("1485", *deposit), LIMITS)
    assert found.standing is Standing.PRESENT
    assert found.evidence["measured"] == "0.015"
    withdrawal = anchor(AnchorName.DAY, "1000", "-500"), anchor(AnchorName.ROLLING_DAY, "1000", "-500")
    assert core.judge_daily_loss(snapshot("500", *withdrawal), LIMITS).standing is Standing.OVER


@pytest.mark.parametrize(
    "anchors",
    [
        (),
        (anchor(AnchorName.DAY, "1000"),),
        (anchor(AnchorName.DAY, "0"), anchor(AnchorName.ROLLING_DAY, "9")),
    ],
)
def test_an_anchor_that_is_not_known_says_nothing(anchors):
    assert core.judge_daily_loss(snapshot("1", *anchors), LIMITS).standing is Standing.UNKNOWN


def test_only_a_loss_of_the_day_itself_names_the_day():
    today = snapshot("980", anchor(AnchorName.DAY, "1000"), anchor(AnchorName.ROLLING_DAY, "1000"))
    assert core.judge_daily_loss(today, LIMITS).evidence["day"] == today.market_at.date().isoformat()
    before = snapshot("980", anchor(AnchorName.DAY, "980"), anchor(AnchorName.ROLLING_DAY, "1000"))
    assert "day" not in core.judge_daily_loss(before, LIMITS).evidence


def test_a_weekly_loss_has_anchors_and_a_limit_of_its_own():
    anchors = anchor(AnchorName.WEEK, "1000"), anchor(AnchorName.ROLLING_WEEK, "1000")
    assert core.judge_weekly_loss(snapshot("980.01", *anchors), LIMITS).standing is Standing.OVER
    assert core.judge_weekly_loss(snapshot("980", *anchors), LIMITS).standing is Standing.PRESENT


@pytest.mark.parametrize(
    ("maintenance", "equity", "standing"),
    [
        ("0", "1000", Standing.OVER),
        ("499.99", "1000", Standing.OVER),
        ("500", "1000", Standing.PRESENT),
        ("0", "0", Standing.PRESENT),
        ("1", "-5", Standing.PRESENT),
    ],
)
def test_half_of_equity_as_maintenance_margin_is_too_much(maintenance, equity, standing):
    balance = replace(build.snapshot().balance, maintenance_margin=D(maintenance), equity=D(equity))
    assert core.judge_maintenance(balance).standing is standing


def held(quantity: str, *, entry: str = "100", mark: str | None = "100") -> Held:
    return Held(
        symbol="SOLUSDT",
        quantity=D(quantity),
        entry_price=D(entry),
        mark=None if mark is None else D(mark),
    )


@pytest.mark.parametrize(
    ("position", "standing"),
    [
        (held("1"), Standing.OVER),
        (held("-1.01"), Standing.PRESENT),
        (held("1.01"), Standing.PRESENT),
        (held("1", mark="150"), Standing.OVER),
        (held("1.01", mark="90"), Standing.OVER),
        (held("-1", entry="120", mark="110"), Standing.PRESENT),
        (held("5", mark=None), Standing.UNKNOWN),
    ],
)
def test_a_position_is_oversize_by_the_limits_and_not_by_its_price(position, standing):
    limits = replace(build.limits(), max_position_notional=D(100), max_symbol_share_ratio=D(1))
    assert core.judge_oversize(position, build.snapshot().balance, limits).standing is standing


def test_a_position_may_also_be_too_large_a_share():
    limits = replace(
        build.limits(),
        max_position_notional=D(10_000),
        max_symbol_share_ratio=D("0.1"),
        reference_capital=D(500),
    )
    balance = build.snapshot().balance
    assert core.judge_oversize(held("0.5"), balance, limits).standing is Standing.OVER
    assert core.judge_oversize(held("0.51"), balance, limits).standing is Standing.PRESENT
    assert core.judge_oversize(held("0.5"), None, limits).standing is Standing.UNKNOWN


@pytest.mark.parametrize(
    ("stale", "seen", "standing"),
    [
        ((), (), Standing.OVER),
        (("balance",), (), Standing.UNKNOWN),
        (("balance",), ("lease",), Standing.UNKNOWN),
        (("balance", "lease"), ("lease",), Standing.PRESENT),
    ],
)
def test_only_what_was_fresh_can_become_stale(stale, seen, standing):
    assert core.judge_staleness(stale, seen).standing is standing


def test_old_facts_end_nothing():
    assert core.doubt(found(Standing.OVER)).standing is Standing.UNKNOWN
    assert core.doubt(found(Standing.PRESENT)).standing is Standing.PRESENT


def found(standing: Standing) -> Finding:
    return Finding(cause=Cause.DAILY_LOSS, standing=standing)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ((Standing.OVER, Standing.PRESENT), Standing.PRESENT),
        ((Standing.OVER, Standing.UNKNOWN), Standing.UNKNOWN),
        ((Standing.UNKNOWN, Standing.PRESENT), Standing.PRESENT),
        ((Standing.OVER, Standing.OVER), Standing.OVER),
    ],
)
def test_it_is_over_only_where_it_is_over_everywhere(parts, whole):
    merged = core.merge(found(part) for part in parts)
    assert merged is not None
    assert merged.standing is whole


def test_the_next_day_begins_at_midnight():
    assert not core.is_next_day(AT, AT.replace(hour=23, minute=59))
    assert core.is_next_day(AT, AT.replace(hour=0) + timedelta(days=1))
    assert not core.is_next_day(AT, AT - timedelta(days=1))
