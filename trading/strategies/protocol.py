"""What a strategy is: a pure function from what is seen to what is wanted.

A strategy never sizes and never sends: it says which way, where the protection belongs and
when it wants out. Sizing, judgement and dispatch are the desk's.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from trading.core.values import Bar, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The strategy's own open position; `opened_at` is market time."""

    side: Side
    quantity: Decimal
    entry_price: Decimal
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a strategy sees: closed bars, oldest first, and its own position in the symbol."""

    symbol: str
    bars: tuple[Bar, ...]
    holding: Holding | None
    market_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Enter:
    """Open a position. Ratios > 0 are distances from the entry price to stop and target."""

    side: Side
    stop_ratio: Decimal
    target_ratio: Decimal
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Close the whole position."""

    reason: str


class Strategy(Protocol):
    """`lookback` is how many closed bars of `interval` the strategy needs; fewer give no signal."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def interval(self) -> str: ...
    @property
    def lookback(self) -> int: ...

    def propose(self, view: View) -> Enter | Leave | None: ...
