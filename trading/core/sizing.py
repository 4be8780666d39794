"""From a strategy's wish to an order: size, stop and target on the instrument's grid (pure)."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from trading.core.values import Instrument, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPlan:
    """Quantity in base units, stop and target prices in USDT per unit."""

    quantity: Decimal
    stop_loss: Decimal
    take_profit: Decimal


def round_to_grid(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """`value` on the grid of `step` > 0, rounded by a decimal rounding mode."""
    return (value / step).quantize(Decimal(1), rounding=rounding) * step


def plan_entry(
    *,
    side: Side,
    reference_price: Decimal,
    notional_cap: Decimal,
    stop_ratio: Decimal,
    target_ratio: Decimal,
    instrument: Instrument,
) -> EntryPlan:
    """Size an entry at `reference_price` so that quantity x price <= notional_cap (USDT).

    The size is rounded down to the lot and never up (RISK.md 3.10); the smallest lot is asked
    for when the cap allows none, so that the gate can deny it with its own code. Stop and
    target stand at the given ratios from the reference, rounded towards the entry so that
    neither leaves a band it was inside of.
    """
    lots = round_to_grid(notional_cap / reference_price, instrument.lot_size, ROUND_DOWN)
    quantity = max(lots, instrument.min_quantity)
    stop = reference_price * (1 - stop_ratio * side.sign)
    target = reference_price * (1 + target_ratio * side.sign)
    towards_entry = ROUND_CEILING if side is Side.BUY else ROUND_FLOOR
    return EntryPlan(
        quantity=quantity,
        stop_loss=round_to_grid(stop, instrument.tick_size, towards_entry),
        take_profit=round_to_grid(target, instrument.tick_size, ROUND_HALF_EVEN),
    )
