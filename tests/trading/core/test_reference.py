"""The rolling average of mark: where it goes, how far one print moves it, and when there is none."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.core.reference import (
    MAX_STEP_RATIO,
    SEED_BARS,
    WINDOW,
    average_closes,
    roll_reference,
)
from trading.core.values import Bar

AT = datetime(2025, 6, 10, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HUNDRED = Decimal(100)


def roll(mark: str, after: timedelta, previous: Decimal | None = HUNDRED) -> Decimal | None:
    return roll_reference(previous, AT, Decimal(mark), AT + after, WINDOW)


@pytest.mark.parametrize("seconds", [1, 5, 300, 900])
def test_the_average_closes_a_share_of_the_distance_that_grows_with_time(seconds: int) -> None:
    found = roll("100.5", timedelta(seconds=seconds))
    assert found is not None
    assert abs(float(found) - (100 + 0.5 * (1 - exp(-seconds / 900)))) < 1e-9


def test_one_false_print_moves_it_by_one_percent_at_most() -> None:
    assert roll("268.7", 5 * MINUTE) == 101
    assert roll("0.01", 5 * MINUTE) == 99


def test_many_small_steps_are_one_large_one() -> None:
    average: Decimal | None = HUNDRED
    for number in range(300):
        average = roll_reference(
            average, AT + number * SECOND, Decimal("100.5"), AT + (number + 1) * SECOND, WINDOW
        )
    whole = roll("100.5", 300 * SECOND)
    assert average is not None
    assert whole is not None
    assert abs(average - whole) < Decimal("1e-7")


def test_a_look_that_is_not_newer_changes_nothing() -> None:
    assert roll("105", timedelta(0)) == HUNDRED
    assert roll("105", -MINUTE) == HUNDRED


@pytest.mark.parametrize(
    ("previous", "after", "known"),
    [(HUNDRED, WINDOW, True), (HUNDRED, WINDOW + timedelta(microseconds=1), False), (None, SECOND, False)],
)
def test_without_a_recent_average_there_is_none(
    previous: Decimal | None, after: timedelta, known: bool
) -> None:
    assert (roll("100", after, previous) is not None) is known
    assert roll_reference(previous, None, HUNDRED, AT, WINDOW) is None


@given(
    mark=st.decimals("0.01", "100000", places=2),
    previous=st.decimals("0.01", "100000", places=2),
    seconds=st.integers(0, 900),
)
def test_it_moves_towards_mark_never_past_it_and_never_far(
    mark: Decimal, previous: Decimal, seconds: int
) -> None:
    found = roll_reference(previous, AT, mark, AT + timedelta(seconds=seconds), WINDOW)
    assert found is not None
    rounding = Decimal("1e-10")
    assert min(mark, previous) - rounding <= found <= max(mark, previous) + rounding
    assert abs(found - previous) <= previous * MAX_STEP_RATIO + rounding


def bars(number: int, last_open: datetime) -> list[Bar]:
    facts = {"open": HUNDRED, "high": HUNDRED, "low": HUNDRED, "volume": HUNDRED}
    return [
        Bar(open_at=last_open - (number - 1 - index) * MINUTE, close=Decimal(index), **facts)
        for index in range(number)
    ]


def test_the_mean_is_of_the_last_fifteen_closed_minutes() -> None:
    assert average_closes(bars(17, AT - MINUTE), AT) == 9
    forming = bars(17, AT)
    assert average_closes(forming, AT + 59 * SECOND) == 8
    assert average_closes(forming, AT + MINUTE) == 9


def test_too_few_or_too_old_minutes_are_no_mean() -> None:
    assert average_closes([], AT) is None
    assert average_closes(bars(SEED_BARS, AT), AT) is None
    assert average_closes(bars(SEED_BARS, AT - MINUTE), AT + 2 * MINUTE) is not None
    assert average_closes(bars(SEED_BARS, AT - MINUTE), AT + 2 * MINUTE + SECOND) is None
