"""Where prices come from: candles with random access, and the path inside one candle."""

from decimal import Decimal
from itertools import pairwise
from typing import Protocol

from trading.simulator.candles import SCALE, Bar, CandleError, CandleSet, Columns
from trading.simulator.instruments import INSTRUMENTS, Instrument

STEP_MS = 5_000


class Feed(Protocol):
    """Candles of several symbols with one bar length; the same answer for the same question, always."""

    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def bar_ms(self) -> int: ...
    @property
    def identity(self) -> str:
        """Names the data: equal identities give equal candles."""
        ...

    def bar(self, symbol: str, at_ms: int) -> Bar | None:
        """The candle that covers this moment, None outside the data."""
        ...

    def columns(self, symbol: str, start_ms: int, end_ms: int) -> Columns:
        """The candles that open in [start, end), as far as there are any."""
        ...


class CandleFeed:
    """A candle set as a feed; symbols must be in the instrument table."""

    def __init__(self, candles: CandleSet) -> None:
        unknown = sorted(set(candles.series) - set(INSTRUMENTS))
        if unknown:
            raise CandleError(unknown[0], "is not an instrument of the simulated venue")
        self._series = candles.series
        self.symbols = tuple(sorted(candles.series))
        self.bar_ms = candles.bar_ms
        self.identity = f"candles:{candles.digest}"

    def bar(self, symbol: str, at_ms: int) -> Bar | None:
        series = self._series[symbol]
        index = (at_ms - series.first_ms) // series.bar_ms
        return series.bar(index) if 0 <= index < len(series) else None

    def columns(self, symbol: str, start_ms: int, end_ms: int) -> Columns:
        return self._series[symbol].between(start_ms, end_ms)

    def common_span(self) -> tuple[int, int]:
        """The span in ms in which every symbol has candles."""
        series = self._series.values()
        return max(s.first_ms for s in series), min(s.end_ms for s in series)


def to_ticks(scaled: int, instrument: Instrument) -> int:
    """A price in 1e-8 as the nearest whole number of ticks."""
    tick = int(instrument.tick.scaleb(SCALE))
    return (2 * scaled + tick) // (2 * tick)


def bar_path(bar: Bar, instrument: Instrument, steps: int) -> tuple[int, ...]:
    """Traded prices inside one candle, in ticks, one per step of five seconds.

    The way is open, nearer extreme, other extreme, close (low first when both are as near and the
    candle rises), in straight lines whose time is in proportion to their length; every corner falls
    on a step. The first step trades at the open, the last at the close. Needs at least four steps.
    """
    o, h, low, c = (to_ticks(value, instrument) for value in (bar.open, bar.high, bar.low, bar.close))
    low_first = (o - low, c < o) <= (h - o, False)
    near, far = (low, h) if low_first else (h, low)
    first, second, third = abs(o - near), abs(near - far), abs(far - c)
    total = first + second + third
    last = steps - 1
    if total == 0:
        return (o,) * steps
    turn = max(first * last // total, 1 if first else 0)
    back = max((first + second) * last // total, turn + 1)
    back = min(back, last - 1 if third else last)
    turn = min(turn, back - 1)
    corners = ((0, o), (turn, near), (back, far), (last, c))
    path = [o] * steps
    for (start, a), (end, b) in pairwise(corners):
        width = end - start
        for step in range(width + 1 if width else 0):
            path[start + step] = a + (2 * (b - a) * step + width) // (2 * width)
    return tuple(path)


def scaled_to_decimal(scaled: int) -> Decimal:
    """A whole number of 1e-8 as an exact decimal."""
    return Decimal(scaled).scaleb(-SCALE)
