"""What a guard says of what it read: no data never passes, and how often is counted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from golive.core.guards import (
    NO_LIMIT,
    Consequence,
    Count,
    GuardResult,
    GuardRule,
    Reading,
    count_verdict,
    find_consequence,
    judge_age,
    judge_reading,
    judge_state,
    sum_up,
)
from golive.core.words import GuardVerdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULE = GuardRule(
    limit=Decimal("0.01"),
    fail_limit=0,
    inconclusive_limit=3,
    error_limit=3,
    min_samples=2,
    max_age=timedelta(seconds=60),
)
GOOD = Reading(value=Decimal("0.005"), samples=2, as_of=NOW)
PASS, FAIL = GuardVerdict.PASS, GuardVerdict.FAIL
INCONCLUSIVE, ERROR = GuardVerdict.INCONCLUSIVE, GuardVerdict.ERROR


def judge(**changes):
    return judge_reading("loss", RULE, replace(GOOD, **changes), NOW).verdict


def test_at_the_limit_it_passes_and_above_it_fails():
    assert judge() is PASS
    assert judge(value=Decimal("0.01")) is PASS
    assert judge(value=Decimal("0.0100001")) is FAIL
    assert judge(value=Decimal("-1")) is PASS


@pytest.mark.parametrize(
    "changes",
    [
        {"value": None},
        {"value": Decimal("NaN")},
        {"value": Decimal("Infinity")},
        {"value": Decimal("-Infinity")},
        {"samples": 0},
        {"samples": 1},
        {"as_of": NOW - timedelta(seconds=61)},
        {"value": Decimal(5), "as_of": NOW - timedelta(seconds=61)},
        {"value": Decimal(5), "samples": 1},
    ],
)
def test_no_data_is_inconclusive_and_never_a_pass_or_a_fail(changes):
    assert judge(**changes) is INCONCLUSIVE


def test_without_a_minimum_no_sample_is_still_no_data():
    rule = replace(RULE, min_samples=0)
    assert judge_reading("loss", rule, replace(GOOD, samples=0), NOW).verdict is INCONCLUSIVE


def test_an_old_age_is_no_data_before_it_is_a_fail():
    rule = replace(RULE, limit=Decimal(300), min_samples=1)
    verdicts = [
        judge_age("freshness", rule, Reading(value=Decimal(age)), NOW).verdict for age in (60, 61, 300, 301)
    ]
    assert verdicts == [PASS, INCONCLUSIVE, INCONCLUSIVE, FAIL]
    assert judge_age("freshness", rule, Reading(value=None, samples=0), NOW).verdict is INCONCLUSIVE


def test_reducing_says_nothing_and_halted_fails():
    rule = replace(RULE, limit=Decimal(1), min_samples=1)
    verdicts = [judge_state("s", rule, Reading(value=Decimal(level)), NOW).verdict for level in (0, 1, 2)]
    assert verdicts == [PASS, INCONCLUSIVE, FAIL]


def test_each_kind_of_not_passing_is_counted_in_a_row_by_itself():
    count = Count()
    seen = []
    for verdict in (FAIL, FAIL, INCONCLUSIVE, ERROR, ERROR, PASS):
        count = count_verdict(count, verdict)
        seen.append((count.fails, count.inconclusives, count.errors))
    assert seen == [(1, 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 2), (0, 0, 0)]


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (Count(), Consequence.NONE),
        (Count(fails=1), Consequence.ROLL_BACK),
        (Count(inconclusives=3), Consequence.NONE),
        (Count(inconclusives=4), Consequence.HOLD),
        (Count(errors=3), Consequence.NONE),
        (Count(errors=4), Consequence.ROLL_BACK),
    ],
)
def test_what_the_counts_call_for(count, wanted):
    assert find_consequence(RULE, count) is wanted


def test_one_that_waits_for_samples_holds_nothing():
    rule = replace(RULE, inconclusive_limit=NO_LIMIT)
    assert find_consequence(rule, Count(inconclusives=10_000)) is Consequence.NONE
    assert find_consequence(rule, Count(fails=1)) is Consequence.ROLL_BACK


def result(verdict, guard="loss"):
    return GuardResult(guard=guard, verdict=verdict, measured="1", threshold="1")


@pytest.mark.parametrize(
    ("verdicts", "wanted"),
    [
        ([], INCONCLUSIVE),
        ([PASS, PASS], PASS),
        ([PASS, INCONCLUSIVE], INCONCLUSIVE),
        ([INCONCLUSIVE, ERROR], ERROR),
        ([ERROR, FAIL, PASS], FAIL),
    ],
)
def test_the_worst_speaks_for_all_and_nothing_is_no_pass(verdicts, wanted):
    assert sum_up([result(verdict) for verdict in verdicts], {"loss": RULE}) is wanted


def test_one_that_waits_is_left_out_of_the_sum_only_while_it_waits():
    rules = {"loss": RULE, "slippage": replace(RULE, inconclusive_limit=NO_LIMIT)}
    waiting = result(INCONCLUSIVE, "slippage")
    assert sum_up([result(PASS), waiting], rules) is PASS
    assert sum_up([waiting], rules) is INCONCLUSIVE
    assert sum_up([result(PASS), result(FAIL, "slippage")], rules) is FAIL
