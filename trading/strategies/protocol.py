"""What a strategy is: a pure function from what is seen to what is wanted.

A strategy never sizes and never sends: it says which way, where the protection belongs and
when it wants out. Sizing, judgement and dispatch are the desk's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trading.core.values import Bar, Side

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The strategy's own open position; `opened_at` is market time."""

    side: Side
    quantity: Decimal
    entry_price: Decimal
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a strategy sees: closed bars, oldest first, and its own position in the symbol.

    `known_closes` are the closes of `bars` where whoever shows them has them as numbers already.
    """

    symbol: str
    bars: Sequence[Bar]
    holding: Holding | None
    market_at: datetime
    known_closes: Floats | None = field(default=None, compare=False, repr=False)

    @property
    def closes(self) -> Floats:
        """Closing prices of the bars, oldest first, as floats: for indicators, never for money."""
        if self.known_closes is not None:
            return self.known_closes
        return np.array([float(bar.close) for bar in self.bars])


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


@runtime_checkable
class Scanner(Protocol):
    """A strategy that can also look through a whole series at once, so that a replay need not ask per bar."""

    def may_enter(self, closes: Floats) -> Flags:
        """Per bar of a series: might `propose`, shown the `lookback` closes up to it, want to enter?

        May say yes too often, never too seldom: `propose` decides.
        """
        ...
