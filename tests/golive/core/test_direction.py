"""What a change does to what may be risked: one limit up is an increase."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from golive.core.direction import (
    LAXER_BELOW,
    LIMITS,
    find_direction,
    find_growth,
    is_laxer,
    list_changes,
)
from golive.core.words import Direction
from risk.limits import load_profiles

PROFILES = load_profiles()
MICRO = PROFILES["MICRO"]


def shifted(name: str, factor: Decimal):
    value = getattr(MICRO, name)
    if isinstance(value, timedelta):
        return value * 2 if factor > 1 else value / 2
    changed = value * factor
    return int(changed) if isinstance(value, int) else changed


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_has_one_direction(name):
    up, down = shifted(name, Decimal(2)), shifted(name, Decimal("0.5"))
    laxer = down if name in LAXER_BELOW else up
    tighter = up if name in LAXER_BELOW else down
    assert is_laxer(name, getattr(MICRO, name), laxer)
    assert not is_laxer(name, getattr(MICRO, name), tighter)
    assert find_direction(MICRO, replace(MICRO, **{name: laxer})) is Direction.INCREASE
    assert find_direction(MICRO, replace(MICRO, **{name: tighter})) is Direction.DECREASE


@pytest.mark.parametrize("name", LIMITS)
def test_one_limit_up_among_all_down_is_an_increase(name):
    tighter = {
        other: shifted(other, Decimal(2) if other in LAXER_BELOW else Decimal("0.5"))
        for other in LIMITS
        if other != name
    }
    laxer = shifted(name, Decimal("0.5") if name in LAXER_BELOW else Decimal(2))
    assert find_direction(MICRO, replace(MICRO, **tighter, **{name: laxer})) is Direction.INCREASE


def test_nothing_changed_and_nothing_there():
    assert find_direction(MICRO, MICRO) is Direction.NEUTRAL
    assert find_direction(None, MICRO) is Direction.INCREASE
    assert list_changes(MICRO, MICRO) == ()


def test_every_rung_up_is_an_increase_and_down_a_decrease():
    ladder = list(PROFILES.values())
    for lower, higher in pairwise(ladder):
        assert find_direction(lower, higher) is Direction.INCREASE
        assert find_direction(higher, lower) is Direction.DECREASE


def test_growth_is_the_largest_share_of_one_limit():
    more = replace(MICRO, max_position_notional=Decimal(109), max_leverage=Decimal(2) * Decimal("1.05"))
    assert (find_growth(MICRO, more).limit, find_growth(MICRO, more).ratio) == (
        "max_position_notional",
        Decimal("0.09"),
    )
    assert find_growth(MICRO, replace(MICRO, max_position_notional=Decimal(1))).ratio == 0
    assert find_growth(MICRO, replace(MICRO, repeat_window=MICRO.repeat_window / 2)).ratio == Decimal("0.5")
    free = replace(MICRO, taker_fee_ratio=Decimal(0))
    assert find_growth(MICRO, free).ratio == 1
    none = replace(MICRO, max_funding_ratio=Decimal(0))
    assert find_growth(none, MICRO).ratio == 1


def test_ten_steps_of_nine_percent_are_one_large_one():
    """Salami slicing: judged against the baseline the second step is above a tenth already."""
    step, baseline = MICRO, MICRO
    ratios = []
    for _ in range(10):
        step = replace(step, max_position_notional=step.max_position_notional * Decimal("1.09"))
        ratios.append(find_growth(baseline, step).ratio)
    assert [ratio > Decimal("0.1") for ratio in ratios] == [False] + [True] * 9
