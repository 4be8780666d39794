"""The ceiling lowers and never raises, and says by which key."""

from dataclasses import fields, replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.core.ceiling import BOUNDS, GoLiveValues, apply_ceiling, find_above, find_numbers_above
from golive.core.words import LADDER
from risk.core.values import Limits, RiskLevel
from tests.risk import build
from trading.core.values import Environment

D = Decimal


def values(**changes):
    """A ceiling that fits MICRO exactly."""
    base = GoLiveValues(
        environment=Environment.PAPER,
        activation_enabled=True,
        required_preflight=True,
        allowed_profiles=("MICRO",),
        default_profile="MICRO",
        require_testnet_history=True,
        min_testnet_trades=3,
        require_risk_state=RiskLevel.OK,
        require_ess_inactive=True,
        max_position_notional=D(100),
        max_leverage=D(2),
        max_portfolio_risk_ratio=D("0.1"),
        max_trade_risk_ratio=D("0.02"),
    )
    return replace(base, **changes)


def test_limits_within_come_back_as_they_are():
    limits = build.limits()
    assert apply_ceiling(limits, values()) is limits
    assert find_above(limits, values()) == []


@pytest.mark.parametrize(("key", "field"), [(key, field) for key, (field, _) in BOUNDS.items()])
def test_each_key_lowers_its_limit_alone_and_is_named(key, field):
    limits, half = build.limits(), getattr(values(), field) / 2
    config = values(**{field: half})
    lowered = apply_ceiling(limits, config)
    assert replace(lowered, digest=limits.digest, **{field: getattr(limits, field)}) == limits
    assert (getattr(lowered, field), lowered.digest) == (half, "")
    assert [item.key for item in find_above(limits, config)] == [key]
    assert find_above(lowered, config) == []


def test_what_is_above_is_written_as_the_file_writes_it():
    limits = build.limits(max_trade_risk_ratio=D("0.025"), max_position_notional=D("150.50"))
    assert [tuple(item) for item in find_numbers_above(limits, values())] == [
        ("max_position_size_usd", "150.5", "100"),
        ("max_account_risk_percent", "2.5", "2"),
    ]
    text = str(find_above(limits, values())[0])
    assert text == "max_position_size_usd: 150.5 is above the desk's ceiling 100 (go_live.yaml)"


def test_a_profile_that_is_not_allowed_is_named_first():
    large = build.limits(profile="LARGE", max_leverage=D(20))
    assert [tuple(item) for item in find_above(large, values())] == [
        ("allowed_profiles", "LARGE", "MICRO"),
        ("max_leverage", "20", "2"),
    ]
    assert find_above(build.limits(profile="LARGE"), values(allowed_profiles=LADDER)) == []


POSITIVE = st.decimals(min_value="0.0001", max_value=1_000_000, places=4)


@given(own=st.tuples(*[POSITIVE] * 4), most=st.tuples(*[POSITIVE] * 4))
def test_the_effective_limit_is_the_smaller_of_both(own, most):
    names = [field for field, _ in BOUNDS.values()]
    limits = build.limits(**dict(zip(names, own, strict=True)))
    config = values(**dict(zip(names, most, strict=True)))
    effective = apply_ceiling(limits, config)
    assert [getattr(effective, name) for name in names] == [min(pair) for pair in zip(own, most, strict=True)]
    rest = {field.name for field in fields(Limits)} - {*names, "digest"}
    assert all(getattr(effective, name) == getattr(limits, name) for name in rest)
    assert find_numbers_above(effective, config) == []
    assert (effective is limits) == (not find_numbers_above(limits, config))
