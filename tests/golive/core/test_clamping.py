"""A rollback never raises anything: for whatever limits, under every single one of them."""

import random
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from golive.core.clamping import clamp_limits, list_lowered, list_raised, lower_rung
from golive.core.direction import LAXER_BELOW, LIMITS
from golive.core.words import LADDER
from risk.core.values import Limits
from risk.limits import load_profiles

PROFILES = load_profiles()
# Written out by hand: a new limit must be thought about before it has a direction.
TIGHTER_ABOVE = {
    "min_stop_ratio",
    "min_target_ratio",
    "taker_fee_ratio",
    "major_slippage_ratio",
    "other_slippage_ratio",
    "major_gap_ratio",
    "other_gap_ratio",
    "repeat_window",
    "funding_window",
    "delisting_window",
}
NAMES = {"digest", "profile"}


def change(value: Any, factor: Decimal) -> Any:
    if isinstance(value, timedelta):
        return value * float(factor)
    return type(value)(value * factor)


def random_limits(dice: random.Random) -> Limits:
    base = PROFILES[dice.choice(LADDER)]
    factors = (Decimal("0.25"), Decimal("0.5"), Decimal(1), Decimal(2), Decimal(8))
    return replace(
        base,
        **{name: change(getattr(base, name), dice.choice(factors)) for name in LIMITS if dice.random() < 0.7},
    )


def allows_less_or_equal(name: str, after: Any, before: Any) -> bool:
    return bool(after >= before) if name in TIGHTER_ABOVE else bool(after <= before)


def test_every_limit_has_a_direction_and_most_names_say_it():
    assert set(LIMITS) == {item.name for item in fields(Limits)} - NAMES
    assert set(LAXER_BELOW) == TIGHTER_ABOVE
    for name in set(LIMITS) - TIGHTER_ABOVE - {"reference_capital", "bet_correlation"}:
        assert name.startswith("max_") or name in {"collar_ratio", "passive_collar_ratio"}, name


@pytest.mark.parametrize("seed", range(200))
def test_for_random_histories_no_limit_allows_more_after_than_before(seed):
    """A chain of rollbacks to random earlier versions: each is judged against what was in force."""
    dice = random.Random(seed)
    history = [random_limits(dice) for _ in range(5)]
    current = dice.choice(history)
    for _ in range(4):
        target = dice.choice(history)
        after = clamp_limits(target, current)
        for name in LIMITS:
            assert allows_less_or_equal(name, getattr(after, name), getattr(current, name)), name
            assert allows_less_or_equal(name, getattr(after, name), getattr(target, name)), name
        assert list_raised(current, after) == ()
        assert LADDER.index(after.profile) <= LADDER.index(current.profile)
        current = after


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("factor", ["0.5", "2"])
def test_each_limit_alone_is_clamped_the_safe_way(name, factor):
    current = PROFILES["SMALL"]
    target = replace(current, **{name: change(getattr(current, name), Decimal(factor))})
    after = clamp_limits(target, current)
    is_tighter = allows_less_or_equal(name, getattr(target, name), getattr(current, name))
    assert getattr(after, name) == getattr(target if is_tighter else current, name)
    assert list_lowered(current, after) == ((name,) if is_tighter else ())


def test_the_rungs_themselves():
    assert clamp_limits(PROFILES["LARGE"], PROFILES["MICRO"]).profile == "MICRO"
    assert list_raised(PROFILES["MICRO"], clamp_limits(PROFILES["LARGE"], PROFILES["MICRO"])) == ()
    assert lower_rung(("SMALL", "something else")) == "something else"
