"""Trend following: a fast over a slow exponential average, left on the opposite cross or by time."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import talib

from trading.core.values import Side
from trading.strategies.protocol import Enter, Flags, Floats, Leave, View
from trading.strategies.windows import TOLERANCE, average_windows, spread_over


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Enter when EMA(fast) crosses EMA(slow); leave on the opposite order or after `hold`.

    Indicators are floats: they say when, never how much.
    """

    name: str = "trend"
    version: str = "1"
    interval: str = "1m"
    lookback: int = 64
    fast: int = 8
    slow: int = 21
    hold: timedelta = timedelta(minutes=25)
    stop_ratio: Decimal = Decimal("0.025")
    target_ratio: Decimal = Decimal("0.05")

    def propose(self, view: View) -> Enter | Leave | None:
        closes = view.closes
        if len(closes) < self.lookback:
            return None
        gap = talib.EMA(closes, self.fast) - talib.EMA(closes, self.slow)
        before, now = float(gap[-2]), float(gap[-1])
        if view.holding is not None:
            return self._leave(view, now)
        if before <= 0 < now:
            return self._enter(Side.BUY, "fast average crossed above the slow one")
        if before >= 0 > now:
            return self._enter(Side.SELL, "fast average crossed below the slow one")
        return None

    def may_enter(self, closes: Floats) -> Flags:
        fast, fast_before = average_windows(closes, self.lookback, self.fast)
        slow, slow_before = average_windows(closes, self.lookback, self.slow)
        before, now, near = fast_before - slow_before, fast - slow, TOLERANCE * slow
        crossed = ((before <= near) & (now > -near)) | ((before >= -near) & (now < near))
        return spread_over(crossed, len(closes))

    def _enter(self, side: Side, reason: str) -> Enter:
        return Enter(side=side, stop_ratio=self.stop_ratio, target_ratio=self.target_ratio, reason=reason)

    def _leave(self, view: View, gap: float) -> Leave | None:
        if view.holding is None:
            return None
        if view.market_at - view.holding.opened_at >= self.hold:
            return Leave(reason="held long enough")
        if gap * view.holding.side.sign < 0:
            return Leave(reason="averages crossed back")
        return None
