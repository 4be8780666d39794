"""How many trades in a row a strategy has lost (pure; RISK.md part 1)."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

ZERO = Decimal(0)


class Result(StrEnum):
    LOSS = "loss"
    PROFIT = "profit"
    SCRATCH = "scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedTrip:
    """One round trip, flat to flat: net of fees and funding (USDT) and R at entry (None: not known)."""

    net: Decimal
    risk: Decimal | None


def classify(trip: ClosedTrip, scratch_ratio: Decimal) -> Result:
    """A loss is below -scratch x R, where R is not known any loss; what is lost within it is neither."""
    if trip.net > 0:
        return Result.PROFIT
    allowance = scratch_ratio * trip.risk if trip.risk is not None and trip.risk > 0 else ZERO
    return Result.LOSS if trip.net < -allowance else Result.SCRATCH


def count_losing_run(newest_first: Iterable[ClosedTrip], scratch_ratio: Decimal) -> int:
    """Losses since the last profit; scratches are passed over."""
    run = 0
    for trip in newest_first:
        result = classify(trip, scratch_ratio)
        if result is Result.PROFIT:
            break
        run += result is Result.LOSS
    return run
