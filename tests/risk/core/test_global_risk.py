"""Global risk: the gravest finding wins, and what is unknown is grave."""

from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal

import pytest

from risk.core.global_risk import (
    SHIPPED,
    AccountFacts,
    MeasureName,
    Threshold,
    assess,
    list_measures,
)
from risk.core.values import RiskLevel

D = Decimal
SECOND = timedelta(seconds=1)
OK, WARNING, CRITICAL = RiskLevel.OK, RiskLevel.WARNING, RiskLevel.CRITICAL
CALM = AccountFacts(
    account="main",
    venue="binanceusdm",
    price_age=SECOND,
    balance_age=SECOND,
    reconciliation_age=SECOND,
    is_reconciled=True,
    drawdown_ratio=D("0.001"),
    drawdown_limit_ratio=D("0.015"),
    is_flat=False,
    leverage=D("0.5"),
    leverage_limit=D(2),
    concentration_ratio=D("0.2"),
    bet_ratio=D("0.3"),
    var_ratio=D("0.01"),
    es_ratio=D("0.012"),
    loss_method="historical",
    volatility_ratio=D(1),
    maintenance_ratio=D("0.01"),
    answer_age=SECOND,
    unknown_orders=0,
    errors=0,
)
# What is measured of the book alone, and by which name.
OF_BOOK = {
    "leverage": MeasureName.LEVERAGE,
    "concentration_ratio": MeasureName.CONCENTRATION,
    "bet_ratio": MeasureName.CORRELATION,
    "var_ratio": MeasureName.VALUE_AT_RISK,
    "es_ratio": MeasureName.EXPECTED_SHORTFALL,
    "volatility_ratio": MeasureName.VOLATILITY,
    "maintenance_ratio": MeasureName.MAINTENANCE_MARGIN,
}
ALWAYS = {
    "price_age": MeasureName.PRICE_AGE,
    "balance_age": MeasureName.BALANCE_AGE,
    "reconciliation_age": MeasureName.RECONCILIATION_AGE,
    "answer_age": MeasureName.VENUE_ANSWER_AGE,
    "drawdown_ratio": MeasureName.DRAWDOWN,
    "drawdown_limit_ratio": MeasureName.DRAWDOWN,
    "unknown_orders": MeasureName.UNKNOWN_ORDERS,
    "errors": MeasureName.EXECUTION_ERRORS,
}


def test_calm_facts_are_ok_and_so_is_an_idle_desk():
    assert assess((CALM,)).level is OK
    assert assess((CALM,)).reasons == assess((CALM,)).findings == ()
    assert assess(()).level is OK


@pytest.mark.parametrize("name", ["price_age", "balance_age", "reconciliation_age"])
@pytest.mark.parametrize(
    ("age", "level"),
    [
        (90 * SECOND, OK),
        (91 * SECOND, WARNING),
        (180 * SECOND, WARNING),
        (181 * SECOND, CRITICAL),
        (None, CRITICAL),
    ],
)
def test_old_facts_warn_and_older_or_unknown_ones_are_critical(name, age, level):
    assert assess((replace(CALM, **{name: age}),)).level is level


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("answer_age", 60 * SECOND, OK),
        ("answer_age", 61 * SECOND, WARNING),
        ("answer_age", 120 * SECOND, WARNING),
        ("answer_age", 121 * SECOND, CRITICAL),
        ("drawdown_ratio", D("0.00749"), OK),
        ("drawdown_ratio", D("0.0075"), WARNING),
        ("drawdown_ratio", D("0.01499"), WARNING),
        ("drawdown_ratio", D("0.015"), CRITICAL),
        ("leverage", D("1.59"), OK),
        ("leverage", D("1.6"), WARNING),
        ("leverage", D("1.99"), WARNING),
        ("leverage", D(2), CRITICAL),
        ("concentration_ratio", D("0.349"), OK),
        ("concentration_ratio", D("0.35"), WARNING),
        ("concentration_ratio", D("0.599"), WARNING),
        ("concentration_ratio", D("0.6"), CRITICAL),
        ("bet_ratio", D("0.749"), OK),
        ("bet_ratio", D("0.75"), WARNING),
        ("bet_ratio", D("0.999"), WARNING),
        ("bet_ratio", D(1), CRITICAL),
        ("var_ratio", D("0.0499"), OK),
        ("var_ratio", D("0.05"), WARNING),
        ("var_ratio", D("0.0999"), WARNING),
        ("var_ratio", D("0.1"), CRITICAL),
        ("es_ratio", D("0.0599"), OK),
        ("es_ratio", D("0.06"), WARNING),
        ("es_ratio", D("0.1199"), WARNING),
        ("es_ratio", D("0.12"), CRITICAL),
        ("volatility_ratio", D("1.99"), OK),
        ("volatility_ratio", D(2), WARNING),
        ("volatility_ratio", D("3.99"), WARNING),
        ("volatility_ratio", D(4), CRITICAL),
        ("maintenance_ratio", D("0.249"), OK),
        ("maintenance_ratio", D("0.25"), WARNING),
        ("maintenance_ratio", D("0.499"), WARNING),
        ("maintenance_ratio", D("0.5"), CRITICAL),
        ("unknown_orders", 0, OK),
        ("unknown_orders", 1, WARNING),
        ("unknown_orders", 2, WARNING),
        ("unknown_orders", 3, CRITICAL),
        ("errors", 2, OK),
        ("errors", 3, WARNING),
        ("errors", 9, WARNING),
        ("errors", 10, CRITICAL),
    ],
)
def test_each_measure_warns_and_then_is_critical(name, value, level):
    found = assess((replace(CALM, **{name: value}),))
    assert found.level is level
    assert [finding.code for finding in found.findings] == (
        [] if level is OK else [{**OF_BOOK, **ALWAYS}[name]]
    )


@pytest.mark.parametrize("name", [*OF_BOOK, "leverage_limit", *ALWAYS])
def test_what_is_unknown_while_something_is_held_is_critical(name):
    found = assess((replace(CALM, **{name: None}),))
    assert [(finding.level, finding.measured) for finding in found.findings] == [(CRITICAL, "unknown")]
    # Whether anything is held is not known either.
    assert assess((replace(CALM, **{name: None}, is_flat=None),)).level is CRITICAL


@pytest.mark.parametrize("name", [*OF_BOOK, "leverage_limit"])
def test_an_empty_book_has_nothing_to_be_unknown(name):
    assert assess((replace(CALM, is_flat=True, **{name: None}),)).level is OK


@pytest.mark.parametrize("name", ALWAYS)
def test_but_the_venue_and_the_equity_are_to_be_known_always(name):
    assert assess((replace(CALM, is_flat=True, **{name: None}),)).level is CRITICAL


def test_what_is_known_of_an_empty_book_still_counts():
    """The market's own regime, before anything is bought into it."""
    assert assess((replace(CALM, is_flat=True, volatility_ratio=D(4)),)).level is CRITICAL


def test_an_account_of_which_nothing_is_known_is_critical_in_everything():
    found = assess((AccountFacts(account="lost", venue=""),))
    codes = {finding.code for finding in found.findings}
    assert codes == set(MeasureName) - {MeasureName.BOOK_DIFFERENCE}
    assert {finding.level for finding in found.findings} == {CRITICAL}
    assert "CRITICAL: lost: drawdown of the day unknown" in found.reasons


def test_a_difference_with_the_venue_warns():
    (finding,) = assess((replace(CALM, is_reconciled=False),)).findings
    assert (finding.code, finding.level) == (MeasureName.BOOK_DIFFERENCE, WARNING)
    never = assess((replace(CALM, is_reconciled=False, reconciliation_age=None),))
    assert never.reasons == ("CRITICAL: main at binanceusdm: reconciliation unknown",)


def test_a_finding_says_what_was_measured_and_where_its_level_begins():
    (finding,) = assess((replace(CALM, leverage=D("1.75")),)).findings
    assert (finding.account, finding.venue) == ("main", "binanceusdm")
    assert (finding.measured, finding.limit) == ("1.75 x", "1.6 x")
    assert finding.reason == "WARNING: main at binanceusdm: leverage at or above 1.6 x"
    (finding,) = assess((replace(CALM, var_ratio=D("0.0612345")),)).findings
    assert (finding.measured, finding.limit) == ("6.123 %", "5 %")
    (finding,) = assess((replace(CALM, price_age=100 * SECOND),)).findings
    assert (finding.measured, finding.limit) == ("100 s", "90 s")
    (finding,) = assess((replace(CALM, errors=4),)).findings
    assert (finding.measured, finding.limit) == ("4", "3")


def test_the_reason_stays_the_same_while_the_measure_moves_within_its_level():
    first, second = (assess((replace(CALM, leverage=D(value)),)) for value in ("1.7", "1.8"))
    assert first.findings != second.findings
    assert first.reasons == second.reasons


def test_the_worst_account_decides_and_its_reason_comes_first():
    worse = replace(CALM, account="other", price_age=None, is_reconciled=False)
    found = assess((replace(CALM, is_reconciled=False), worse))
    assert found.level is CRITICAL
    assert found.reasons[0] == "CRITICAL: other at binanceusdm: prices unknown"
    assert len(found.reasons) == 3


def test_the_thresholds_given_are_the_ones_judged_by():
    looser = replace(SHIPPED, leverage=Threshold(warning=D("0.9"), critical=D("0.95")))
    facts = replace(CALM, leverage=D("1.7"))
    assert assess((facts,)).level is WARNING
    assert assess((facts,), looser).level is OK
    assert assess((replace(CALM, leverage=D("1.9")),), looser).level is CRITICAL


def test_every_measure_is_listed_by_its_name():
    measures = list_measures(CALM)
    assert set(measures) == set(MeasureName)
    assert measures[MeasureName.PRICE_AGE] == 1
    assert measures[MeasureName.BOOK_DIFFERENCE] == 0
    assert measures[MeasureName.CORRELATION] == D("0.3")
    assert list_measures(replace(CALM, is_reconciled=False))[MeasureName.BOOK_DIFFERENCE] == 1
    unknown = list_measures(AccountFacts(account="lost", venue=""))
    assert set(unknown.values()) == {None}


def test_every_pair_of_thresholds_is_in_order():
    pairs = [getattr(SHIPPED, field.name) for field in fields(SHIPPED)]
    for pair in pairs:
        if isinstance(pair, Threshold):
            assert 0 < pair.warning < pair.critical


def test_levels_are_ordered():
    assert [level.severity for level in RiskLevel] == [0, 1, 2]
