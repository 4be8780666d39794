"""Liquidation arithmetic of isolated, one-way, USDT-margined positions (RISK.md 3.8).

A position of notional N (USDT, at entry) and leverage L is opened with margin N / L. It is
liquidated where margin plus unrealised PnL falls to the maintenance margin of its bracket,
`maintenance_ratio` x notional at that price - `maintenance_amount`.
Source: Binance, "How to calculate liquidation price of USDⓈ-M futures contracts" (isolated, one-way).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from trading.core.values import Side

SAFETY_MULTIPLE = Decimal(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """One band of the venue's margin table, for notionals up to `notional_cap` (USDT)."""

    notional_cap: Decimal
    maintenance_ratio: Decimal
    maintenance_amount: Decimal
    max_leverage: int


def find_bracket(brackets: Sequence[Bracket], notional: Decimal) -> Bracket | None:
    """The first band (ascending) that holds a notional >= 0 in USDT; None if none does."""
    return next((band for band in brackets if notional <= band.notional_cap), None)


def liquidation_distance_ratio(*, side: Side, leverage: int, notional: Decimal, bracket: Bracket) -> Decimal:
    """How far price may move against the position before liquidation, as a share of entry.

    With m = maintenance_ratio and a = maintenance_amount / notional, margin + PnL = maintenance
    gives d = (1/L - m + a) / (1 - m) for a long and (1/L - m + a) / (1 + m) for a short; <= 0
    means that the position would be liquidated at once. `notional` > 0, in USDT at entry.
    """
    slack = Decimal(1) / leverage - bracket.maintenance_ratio + bracket.maintenance_amount / notional
    return slack / (1 - side.sign * bracket.maintenance_ratio)


def choose_leverage(
    *, brackets: Sequence[Bracket], notional: Decimal, stop_distance_ratio: Decimal, leverage_cap: int
) -> int | None:
    """The largest whole leverage <= the cap that keeps liquidation >= 2 x the stop distance.

    Both sides must hold, as the setting is made before the side is known. `notional` is the
    largest one intended (USDT, > 0), `stop_distance_ratio` the widest stop as a share of entry
    (> 0). None, which denies: no bracket holds the notional, or not even leverage 1 is enough.
    """
    bracket = find_bracket(brackets, notional)
    if bracket is None or stop_distance_ratio <= 0 or notional <= 0:
        return None
    for leverage in range(min(leverage_cap, bracket.max_leverage), 0, -1):
        if _nearest_liquidation(leverage, notional, bracket) >= SAFETY_MULTIPLE * stop_distance_ratio:
            return leverage
    return None


def _nearest_liquidation(leverage: int, notional: Decimal, bracket: Bracket) -> Decimal:
    """The smaller of the two sides' liquidation distances."""
    return min(
        liquidation_distance_ratio(side=side, leverage=leverage, notional=notional, bracket=bracket)
        for side in Side
    )
