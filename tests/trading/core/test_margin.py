"""The leverage that is set keeps liquidation at twice the stop distance or more."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.core.margin import (
    SAFETY_MULTIPLE,
    Bracket,
    choose_leverage,
    find_bracket,
    liquidation_distance_ratio,
)
from trading.core.values import Side


def band(cap: int, ratio: str, amount: str, leverage: int) -> Bracket:
    return Bracket(
        notional_cap=Decimal(cap),
        maintenance_ratio=Decimal(ratio),
        maintenance_amount=Decimal(amount),
        max_leverage=leverage,
    )


BRACKETS = (
    band(50_000, "0.004", "0", 125),
    band(600_000, "0.005", "50", 100),
    band(3_000_000, "0.0065", "950", 75),
)


def test_liquidation_of_a_long_is_where_margin_and_loss_meet_maintenance() -> None:
    distance = liquidation_distance_ratio(
        side=Side.BUY, leverage=10, notional=Decimal(1000), bracket=BRACKETS[0]
    )
    # Margin 100 at entry 1000; at price p the loss is 1000 - 1000 p and maintenance 4 p.
    price = 1 - distance
    assert abs(100 - 1000 * (1 - price) - 4 * price) < Decimal("1e-20")


def test_liquidation_of_a_short_is_where_margin_and_loss_meet_maintenance() -> None:
    distance = liquidation_distance_ratio(
        side=Side.SELL, leverage=10, notional=Decimal(100_000), bracket=BRACKETS[1]
    )
    price = 1 + distance
    assert abs(10_000 - 100_000 * (price - 1) - (500 * price - 50)) < Decimal("1e-20")


@pytest.mark.parametrize(
    ("notional", "found"), [(0, 0), (50_000, 0), (50_001, 1), (3_000_000, 2), (3_000_001, None)]
)
def test_a_notional_belongs_to_the_first_band_that_holds_it(notional: int, found: int | None) -> None:
    expected = None if found is None else BRACKETS[found]
    assert find_bracket(BRACKETS, Decimal(notional)) == expected


@pytest.mark.parametrize(
    ("stop", "cap", "chosen"),
    [
        ("0.02", 3, 3),
        ("0.02", 50, 22),
        ("0.10", 50, 4),
        ("0.49", 50, 1),
        ("0.60", 50, None),
        ("0.001", 500, 125),
        ("0", 3, None),
    ],
)
def test_the_largest_leverage_that_is_safe_is_chosen(stop: str, cap: int, chosen: int | None) -> None:
    assert (
        choose_leverage(
            brackets=BRACKETS,
            notional=Decimal(100),
            stop_distance_ratio=Decimal(stop),
            leverage_cap=cap,
        )
        == chosen
    )


def test_no_bracket_means_no_leverage() -> None:
    for brackets, notional in (((), Decimal(100)), (BRACKETS, Decimal(4_000_000)), (BRACKETS, Decimal(0))):
        chosen = choose_leverage(
            brackets=brackets, notional=notional, stop_distance_ratio=Decimal("0.02"), leverage_cap=3
        )
        assert chosen is None


ratios = st.decimals("0.001", "0.7", places=4)
notionals = st.decimals(1, 3_000_000, places=2)


@given(stop=ratios, notional=notionals, cap=st.integers(1, 130))
def test_what_is_chosen_is_safe_within_the_cap_and_no_smaller_than_needed(
    stop: Decimal, notional: Decimal, cap: int
) -> None:
    chosen = choose_leverage(brackets=BRACKETS, notional=notional, stop_distance_ratio=stop, leverage_cap=cap)
    bracket = find_bracket(BRACKETS, notional)
    assert bracket is not None

    def is_safe(leverage: int) -> bool:
        return all(
            liquidation_distance_ratio(side=side, leverage=leverage, notional=notional, bracket=bracket)
            >= SAFETY_MULTIPLE * stop
            for side in Side
        )

    highest = min(cap, bracket.max_leverage)
    if chosen is None:
        assert not any(is_safe(leverage) for leverage in range(1, highest + 1))
        return
    assert 1 <= chosen <= highest
    assert is_safe(chosen)
    assert not any(is_safe(leverage) for leverage in range(chosen + 1, highest + 1))


@given(stop=ratios, wider=ratios, notional=notionals, cap=st.integers(1, 130))
def test_a_wider_stop_never_allows_more_leverage(
    stop: Decimal, wider: Decimal, notional: Decimal, cap: int
) -> None:
    near, far = (
        choose_leverage(brackets=BRACKETS, notional=notional, stop_distance_ratio=ratio, leverage_cap=cap)
        or 0
        for ratio in sorted((stop, wider))
    )
    assert far <= near


@given(leverage=st.integers(1, 100), notional=notionals, side=st.sampled_from(Side))
def test_more_leverage_is_nearer_to_liquidation(leverage: int, notional: Decimal, side: Side) -> None:
    bracket = find_bracket(BRACKETS, notional)
    assert bracket is not None
    less, more = (
        liquidation_distance_ratio(side=side, leverage=value, notional=notional, bracket=bracket)
        for value in (leverage, leverage + 1)
    )
    assert more < less
