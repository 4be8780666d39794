"""Mean reversion: enter at an extreme of the relative strength index, leave at its middle or by time."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import talib

from trading.core.values import Side
from trading.strategies.protocol import Enter, Flags, Floats, Leave, View
from trading.strategies.windows import TOLERANCE, spread_over, strength_windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversion:
    """Buy below RSI `low`, sell above `high`; leave when RSI is back at 50 or after `hold`."""

    name: str = "reversion"
    version: str = "1"
    interval: str = "1m"
    lookback: int = 64
    period: int = 14
    low: float = 30.0
    high: float = 70.0
    hold: timedelta = timedelta(minutes=20)
    stop_ratio: Decimal = Decimal("0.03")
    target_ratio: Decimal = Decimal("0.06")

    def propose(self, view: View) -> Enter | Leave | None:
        closes = view.closes
        if len(closes) < self.lookback:
            return None
        strength = float(talib.RSI(closes, self.period)[-1])
        if view.holding is not None:
            return self._leave(view, strength)
        if strength < self.low:
            return self._enter(Side.BUY, f"relative strength {strength:.1f} is low")
        if strength > self.high:
            return self._enter(Side.SELL, f"relative strength {strength:.1f} is high")
        return None

    def may_enter(self, closes: Floats) -> Flags:
        strength, near = strength_windows(closes, self.lookback, self.period), 100 * TOLERANCE
        return spread_over((strength < self.low + near) | (strength > self.high - near), len(closes))

    def _enter(self, side: Side, reason: str) -> Enter:
        return Enter(side=side, stop_ratio=self.stop_ratio, target_ratio=self.target_ratio, reason=reason)

    def _leave(self, view: View, strength: float) -> Leave | None:
        if view.holding is None:
            return None
        if view.market_at - view.holding.opened_at >= self.hold:
            return Leave(reason="held long enough")
        if (strength - 50.0) * view.holding.side.sign > 0:
            return Leave(reason="relative strength is back in the middle")
        return None
