"""The account's equity over time, and what RISK.md measures losses from."""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from risk.core.triggers import capital_loss_ratio
from risk.core.values import Anchor, AnchorName
from risk.replay.tape import to_time
from trading.simulator.state import ZERO

DAY_MS = int(timedelta(days=1).total_seconds() * 1000)

DAILY = (AnchorName.DAY, AnchorName.ROLLING_DAY)
WEEKLY = (AnchorName.WEEK, AnchorName.ROLLING_WEEK)


class Curve:
    """Equity wherever it changed; between two points it was the earlier one. Nothing flows in or out."""

    def __init__(self, at_ms: int, equity: Decimal) -> None:
        self.times, self.values = [at_ms], [equity]
        self.start = equity
        self._day = at_ms // DAY_MS
        self._day_peak = equity
        self._anchors: tuple[int, tuple[Anchor, ...]] = (-1, ())

    @property
    def latest(self) -> Decimal:
        return self.values[-1]

    def add(self, at_ms: int, equity: Decimal) -> None:
        """Times do not go back."""
        if at_ms // DAY_MS != self._day:
            self._day, self._day_peak = at_ms // DAY_MS, equity
        self._day_peak = max(self._day_peak, equity)
        if equity == self.values[-1]:
            return
        self._anchors = (-1, ())
        self.times.append(at_ms)
        self.values.append(equity)

    @property
    def day_drawdown(self) -> Decimal:
        """1 - U / max U since 00:00 UTC, >= 0 (without flows U moves as equity does)."""
        return 1 - self.latest / self._day_peak if self._day_peak > 0 else ZERO

    @property
    def capital_loss(self) -> Decimal:
        """max(0, (B - E) / B), B the equity at the start."""
        return capital_loss_ratio(self.start, ZERO, self.latest)

    @property
    def day_peak(self) -> Decimal:
        """The highest equity since 00:00 UTC."""
        return self._day_peak

    def anchors(self, at_ms: int) -> tuple[Anchor, ...]:
        """Equity at each of the four moments; where the account was not there yet its first sample."""
        if self._anchors[0] != at_ms:
            self._anchors = (at_ms, tuple(self._find_anchors(at_ms)))
        return self._anchors[1]

    def _find_anchors(self, at_ms: int) -> Iterator[Anchor]:
        """Points are only ever added at the latest moment, and the anchors lie before it or at it."""
        for name, moment in anchor_moments(at_ms).items():
            place = bisect_right(self.times, moment) - 1
            yield Anchor(
                name=name,
                equity=self.values[max(0, place)],
                net_flow=ZERO,
                at=to_time(self.times[0] if place < 0 else moment),
                is_first_sample=place < 0,
            )

    def losses(self, at_ms: int) -> tuple[Decimal, Decimal]:
        """Daily and weekly loss: max over the two anchors of max(0, (E_a - E) / E_a)."""
        worst = {
            anchor.name: max(ZERO, (anchor.equity - self.latest) / anchor.equity)
            for anchor in self.anchors(at_ms)
            if anchor.equity > 0
        }
        daily, weekly = (max(worst.get(name, ZERO) for name in names) for names in (DAILY, WEEKLY))
        return daily, weekly


def anchor_moments(at_ms: int) -> dict[AnchorName, int]:
    """risk.snapshot.anchor_times in milliseconds; 1970-01-01 was a Thursday."""
    day = at_ms // DAY_MS
    return {
        AnchorName.DAY: day * DAY_MS,
        AnchorName.ROLLING_DAY: at_ms - DAY_MS,
        AnchorName.WEEK: (day - (day + 3) % 7) * DAY_MS,
        AnchorName.ROLLING_WEEK: at_ms - 7 * DAY_MS,
    }
