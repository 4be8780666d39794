"""When a stop does more with what is held than it began with (RISK.md 3.6, pure)."""

from collections.abc import Iterable
from decimal import Decimal

from risk.core.emergency_stop import PositionPolicy, StopSource
from trading.core.values import Instrument

# Triggers whose `measured` is a loss (ratio >= 0) that may go on growing.
LOSSES = frozenset({StopSource.CAPITAL_LOSS, StopSource.DAILY_DRAWDOWN})


def choose_stricter(policies: Iterable[PositionPolicy]) -> PositionPolicy:
    """The one that leaves least: keep < reduce < flatten. At least one is given."""
    return max(policies, key=list(PositionPolicy).index)


def has_grown(*, at_trip: Decimal, now: Decimal, threshold: Decimal, growth_ratio: Decimal) -> bool:
    """Whether a loss (ratio >= 0) has grown by `growth_ratio` of the trip's threshold since the trip."""
    return now - at_trip >= growth_ratio * threshold


def has_lost_more(
    *,
    at_trip: Decimal,
    now: Decimal,
    base: Decimal,
    peak: Decimal,
    threshold: Decimal,
    growth_ratio: Decimal,
) -> bool:
    """As `has_grown` for the day's drawdown, whose measure begins anew at 00:00 UTC.

    What was lost since the trip is told by the loss of capital, `at_trip` and `now` (ratios of `base`,
    USDT); the threshold is a ratio of `peak` (USDT), the equity that the drawdown was measured from.
    """
    return (now - at_trip) * base >= growth_ratio * threshold * peak


def plan_half(quantity: Decimal, instrument: Instrument) -> Decimal:
    """What stays (base units, >= 0) when half of a position goes.

    What goes is rounded down to the lot, and nothing goes where it is less than the venue takes.
    """
    held = abs(quantity)
    goes = held / 2 // instrument.lot_size * instrument.lot_size
    return held if goes < instrument.min_quantity else held - goes
