"""Orders move along the lifecycle only."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.core.lifecycle import can_move, is_never_placed, state_after_report, state_after_sending
from trading.core.values import OrderReport, OrderState, Outcome, OutcomeKind, Side

AT = datetime(2025, 6, 2, 12, tzinfo=UTC)


def report(state: OrderState, filled: str = "0", **changes: Any) -> OrderReport:
    facts: dict[str, Any] = {
        "symbol": "ETHUSDT",
        "client_order_id": "q1",
        "venue_order_id": "7",
        "state": state,
        "is_conditional": False,
        "side": Side.BUY,
        "quantity": Decimal(1),
        "filled_quantity": Decimal(filled),
        "average_price": None,
        "price": None,
        "trigger_price": None,
        "reduce_only": False,
        "close_position": False,
        "executed_by": None,
        "updated_at": None,
    }
    return OrderReport(**(facts | changes))


@given(st.sampled_from(OrderState), st.sampled_from(OrderState))
def test_a_final_state_is_left_by_nothing_and_nothing_returns_to_sending(
    current: OrderState, wanted: OrderState
) -> None:
    if can_move(current, wanted):
        assert not current.is_final
        assert wanted not in {OrderState.SENDING, current}


@pytest.mark.parametrize("wanted", [OrderState.NEVER_PLACED, OrderState.REJECTED, OrderState.UNKNOWN])
def test_what_rested_at_the_venue_was_placed(wanted: OrderState) -> None:
    assert not can_move(OrderState.OPEN, wanted)


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (OutcomeKind.ACCEPTED, OrderState.UNKNOWN),
        (OutcomeKind.UNKNOWN, OrderState.UNKNOWN),
        (OutcomeKind.REJECTED, OrderState.REJECTED),
        (OutcomeKind.THROTTLED, OrderState.REJECTED),
        (OutcomeKind.STOP_TRADING, OrderState.REJECTED),
        (OutcomeKind.RETRY_SAFE, OrderState.NEVER_PLACED),
    ],
)
def test_an_answer_without_a_report_is_never_taken_for_more_than_it_says(
    kind: OutcomeKind, state: OrderState
) -> None:
    assert state_after_sending(Outcome(kind=kind)) is state


def test_an_accepted_order_is_open() -> None:
    outcome = Outcome(kind=OutcomeKind.ACCEPTED, report=report(OrderState.OPEN))
    assert state_after_sending(outcome) is OrderState.OPEN


@pytest.mark.parametrize(
    ("current", "reported", "filled", "booked", "wanted"),
    [
        (OrderState.SENDING, OrderState.FILLED, "1", "1", OrderState.FILLED),
        (OrderState.SENDING, OrderState.FILLED, "1", "0.4", OrderState.OPEN),
        (OrderState.OPEN, OrderState.FILLED, "1", "0.4", None),
        (OrderState.OPEN, OrderState.CANCELLED, "0.4", "0.4", OrderState.CANCELLED),
        (OrderState.UNKNOWN, OrderState.OPEN, "0", "0", OrderState.OPEN),
        (OrderState.UNKNOWN, OrderState.UNKNOWN, "0", "0", None),
        (OrderState.OPEN, OrderState.REJECTED, "0", "0", OrderState.EXPIRED),
        (OrderState.SENDING, OrderState.REJECTED, "0", "0", OrderState.REJECTED),
        (OrderState.FILLED, OrderState.OPEN, "0", "0", None),
    ],
)
def test_a_report_moves_an_order_only_with_all_its_fills(
    current: OrderState, reported: OrderState, filled: str, booked: str, wanted: OrderState | None
) -> None:
    assert state_after_report(current, report(reported, filled), Decimal(booked)) is wanted


@pytest.mark.parametrize(
    ("waited", "lookups", "unchanged", "final"),
    [
        (12, 3, True, True),
        (11, 3, True, False),
        (12, 2, True, False),
        (12, 3, False, False),
        (12, 3, None, False),
    ],
)
def test_not_found_is_final_only_with_time_look_ups_and_an_unchanged_position(
    waited: int, lookups: int, unchanged: bool | None, final: bool
) -> None:
    assert (
        is_never_placed(
            sent_at=AT,
            wall_at=AT + timedelta(seconds=waited),
            lookups=lookups,
            is_position_unchanged=unchanged,
        )
        is final
    )
