"""How orders move from state to state, and when an order that is not found was never placed."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from trading.core.values import OrderReport, OrderState, Outcome, OutcomeKind

# RISK.md 3.11: entries are signed for at most this long, and then the venue is given ten seconds.
RECEIVE_WINDOW = timedelta(seconds=2)
SETTLE_AFTER = RECEIVE_WINDOW + timedelta(seconds=10)
LOOKUPS_NEEDED = 3

_FINAL = frozenset(state for state in OrderState if state.is_final)
_MOVES: Mapping[OrderState, frozenset[OrderState]] = {
    OrderState.SENDING: frozenset({OrderState.UNKNOWN, OrderState.OPEN}) | _FINAL,
    OrderState.UNKNOWN: frozenset({OrderState.OPEN}) | _FINAL,
    OrderState.OPEN: _FINAL - {OrderState.NEVER_PLACED, OrderState.REJECTED},
}


def can_move(current: OrderState, wanted: OrderState) -> bool:
    """Whether the move is one of the lifecycle; a final state is left by nothing.

    SENDING -> UNKNOWN | OPEN | final; UNKNOWN -> OPEN | final; OPEN -> FILLED | CANCELLED | EXPIRED
    (what once rested at the venue was placed and taken, so it cannot end REJECTED or NEVER_PLACED).
    """
    return wanted in _MOVES.get(current, frozenset())


def state_after_sending(outcome: Outcome) -> OrderState:
    """What an answer to a submission makes of a SENDING order.

    UNKNOWN is never a rejection. RETRY_SAFE is provably not acted on: where it is not sent again the
    order was NEVER_PLACED. Throttled and stopped requests were refused.
    """
    if outcome.kind is OutcomeKind.UNKNOWN:
        return OrderState.UNKNOWN
    if outcome.kind is OutcomeKind.RETRY_SAFE:
        return OrderState.NEVER_PLACED
    if outcome.kind is not OutcomeKind.ACCEPTED:
        return OrderState.REJECTED
    return OrderState.UNKNOWN if outcome.report is None else OrderState.OPEN


def state_after_report(
    current: OrderState, report: OrderReport, booked_quantity: Decimal
) -> OrderState | None:
    """The state that a venue's report moves the order to, or None if it stays.

    A final report counts only when every fill that it speaks of is booked (`booked_quantity`, base
    units): until then the order stays unsettled and is asked for again, so no fill is lost. A report
    of unknown state moves nothing.
    """
    wanted = report.state
    if wanted is OrderState.UNKNOWN:
        return None
    if wanted.is_final and booked_quantity < report.filled_quantity:
        wanted = OrderState.OPEN
    if current is OrderState.OPEN and wanted is OrderState.REJECTED:
        # A conditional order that was rejected when it triggered: it rested, and is gone.
        wanted = OrderState.EXPIRED
    return wanted if can_move(current, wanted) else None


def is_never_placed(
    *, sent_at: datetime, wall_at: datetime, lookups: int, is_position_unchanged: bool | None
) -> bool:
    """Whether "not found" is final (RISK.md 3.11).

    Receive window + 10 s of wall time have passed since sending, `lookups` rounds (regular and
    conditional) found nothing, and the venue's position is the one we booked. An unknown position
    (None) is not unchanged.
    """
    waited = wall_at - sent_at >= SETTLE_AFTER
    return waited and lookups >= LOOKUPS_NEEDED and is_position_unchanged is True
