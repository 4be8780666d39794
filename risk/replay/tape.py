"""The candles of a replay, made ready: one common span, tracks, and closes as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import overload

import numpy as np

from trading.core.values import Bar
from trading.simulator.candles import UNIT, CandleError, CandleSet, Columns
from trading.simulator.feed import CandleFeed, scaled_to_decimal
from trading.simulator.instruments import INSTRUMENTS
from trading.simulator.settlement import FUNDING_MS
from trading.simulator.state import ZERO, Market
from trading.simulator.track import Floats, Track, make_track, to_price


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """Bar n of every symbol opens at `at_ms(n)`; what is known then are the closes of bars before n."""

    feed: CandleFeed
    digest: str
    first_ms: int
    bar_ms: int
    count: int
    tracks: dict[str, Track]
    closes: dict[str, Floats]
    columns: dict[str, Columns]

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self.tracks)

    def at_ms(self, number: int) -> int:
        return self.first_ms + number * self.bar_ms

    def number_at(self, at_ms: int) -> int:
        """The first bar that opens at the moment or later."""
        return max(0, -((self.first_ms - at_ms) // self.bar_ms))

    def market(self, symbol: str, number: int) -> Market:
        """The market when the bar opens, a funding settlement that is due then being over."""
        market = self.tracks[symbol].market(number)
        if self.at_ms(number) % FUNDING_MS == 0:
            market.premium_sum, market.premium_count = ZERO, 0
        return market

    def reference(self, symbol: str, number: int) -> Decimal:
        """The rolling average of mark when the bar opens, USDT."""
        return to_price(float(self.tracks[symbol].reference[number]))


def make_tape(candles: CandleSet) -> Tape:
    """Raises CandleError where the symbols share no time or a symbol is not an instrument."""
    feed = CandleFeed(candles)
    start, end = feed.common_span()
    columns = {symbol: candles.series[symbol].between(start, end) for symbol in feed.symbols}
    count = min(map(len, columns.values()))
    if end <= start or count < 2:
        raise CandleError(", ".join(feed.symbols), "the symbols share less than two candles")
    return Tape(
        feed=feed,
        digest=candles.digest,
        first_ms=start,
        bar_ms=candles.bar_ms,
        count=count,
        tracks={symbol: make_track(part, INSTRUMENTS[symbol]) for symbol, part in columns.items()},
        closes={symbol: np.asarray(part.close, dtype=np.int64) / UNIT for symbol, part in columns.items()},
        columns=columns,
    )


class ClosedBars(Sequence[Bar]):
    """A window of closed bars that become values only when somebody looks at them."""

    def __init__(self, columns: Columns, start: int, stop: int) -> None:
        self._columns, self._range = columns, range(start, stop)

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, index: int) -> Bar: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Bar, ...]: ...
    def __getitem__(self, index: int | slice) -> Bar | tuple[Bar, ...]:
        if isinstance(index, slice):
            return tuple(self._make(number) for number in self._range[index])
        return self._make(self._range[index])

    def _make(self, number: int) -> Bar:
        bar = self._columns.bar(number)
        return Bar(
            open_at=to_time(bar.open_ms),
            open=_price(bar.open),
            high=_price(bar.high),
            low=_price(bar.low),
            close=_price(bar.close),
            volume=_price(bar.volume),
        )


def _price(scaled: int) -> Decimal:
    return scaled_to_decimal(scaled)


def to_time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
