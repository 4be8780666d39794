"""Global risk: the gravest finding wins, and what is unknown is grave."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from risk.core.global_risk import AccountFacts, assess
from risk.core.values import RiskLevel

D = Decimal
SECOND = timedelta(seconds=1)
CALM = AccountFacts(
    account="main",
    venue="binanceusdm",
    price_age=SECOND,
    balance_age=SECOND,
    reconciliation_age=SECOND,
    is_reconciled=True,
    drawdown_ratio=D("0.001"),
    drawdown_limit_ratio=D("0.015"),
)


def test_fresh_facts_and_a_small_drawdown_are_ok_and_so_is_an_idle_desk():
    assert assess((CALM,)).level is RiskLevel.OK
    assert assess((CALM,)).reasons == ()
    assert assess(()).level is RiskLevel.OK


@pytest.mark.parametrize("name", ["price_age", "balance_age", "reconciliation_age"])
@pytest.mark.parametrize(
    ("age", "level"),
    [
        (90 * SECOND, RiskLevel.OK),
        (91 * SECOND, RiskLevel.WARNING),
        (180 * SECOND, RiskLevel.WARNING),
        (181 * SECOND, RiskLevel.CRITICAL),
        (None, RiskLevel.CRITICAL),
    ],
)
def test_old_facts_warn_and_older_or_unknown_ones_are_critical(name, age, level):
    assert assess((replace(CALM, **{name: age}),)).level is level


@pytest.mark.parametrize(
    ("drawdown", "limit", "level"),
    [
        (D("0.0074"), D("0.015"), RiskLevel.OK),
        (D("0.0075"), D("0.015"), RiskLevel.WARNING),
        (D("0.015"), D("0.015"), RiskLevel.CRITICAL),
        (None, D("0.015"), RiskLevel.CRITICAL),
        (D(0), None, RiskLevel.CRITICAL),
    ],
)
def test_half_of_the_stops_drawdown_warns_and_all_of_it_is_critical(drawdown, limit, level):
    found = assess((replace(CALM, drawdown_ratio=drawdown, drawdown_limit_ratio=limit),))
    assert found.level is level


def test_a_difference_with_the_venue_warns():
    assert assess((replace(CALM, is_reconciled=False),)).level is RiskLevel.WARNING
    never = assess((replace(CALM, is_reconciled=False, reconciliation_age=None),))
    assert never.reasons == ("CRITICAL: main at binanceusdm: reconciliation unknown",)


def test_the_worst_account_decides_and_its_reason_comes_first():
    worse = replace(CALM, account="other", price_age=None, is_reconciled=False)
    found = assess((replace(CALM, is_reconciled=False), worse))
    assert found.level is RiskLevel.CRITICAL
    assert found.reasons[0] == "CRITICAL: other at binanceusdm: prices unknown"
    assert len(found.reasons) == 3


def test_levels_are_ordered():
    assert [level.severity for level in RiskLevel] == [0, 1, 2]
