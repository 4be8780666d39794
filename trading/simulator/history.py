"""Candles as the venue shows them: closed ones and the one that is forming, up to the last step."""

from dataclasses import dataclass
from decimal import Decimal

from trading.simulator.candles import SCALE, Bar, Columns
from trading.simulator.engine import Engine, gap_factor
from trading.simulator.feed import STEP_MS, bar_path
from trading.simulator.instruments import INSTRUMENTS

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """One candle in whole numbers of 1e-8, with the traded value (USDT) estimated at the typical price."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote: int


def candles(
    engine: Engine, symbol: str, interval_ms: int, *, start_ms: int | None, end_ms: int | None, limit: int
) -> list[Candle]:
    """At most `limit` candles that open in [start, end]: the first if there is a start, else the last."""
    until = engine.state.data_ms + STEP_MS
    newest = (until - 1) // interval_ms * interval_ms
    if end_ms is not None:
        newest = min(newest, end_ms // interval_ms * interval_ms)
    if start_ms is None:
        oldest = newest - (limit - 1) * interval_ms
    else:
        oldest = -(-start_ms // interval_ms) * interval_ms
        newest = min(newest, oldest + (limit - 1) * interval_ms)
    columns = _columns(engine, symbol, oldest, min(newest + interval_ms, until), interval_ms)
    return _grouped(columns, interval_ms, oldest)


def last_day(engine: Engine, symbol: str) -> Candle | None:
    """The last 24 hours as one candle, None where there is no data."""
    until = engine.state.data_ms + STEP_MS
    start = (until - DAY_MS) // engine.feed.bar_ms * engine.feed.bar_ms
    columns = _columns(engine, symbol, start, until, engine.feed.bar_ms)
    return _merged(columns, 0, len(columns), columns.first_ms) if len(columns) else None


def _columns(engine: Engine, symbol: str, start_ms: int, until_ms: int, interval_ms: int) -> Columns:
    """Candles of the feed's length (of the interval's, if that is shorter) over [start, until)."""
    bar_ms = engine.feed.bar_ms
    first = start_ms // bar_ms * bar_ms
    closed_ms = until_ms // bar_ms * bar_ms
    whole = engine.feed.columns(symbol, first, closed_ms)
    forming = engine.feed.bar(symbol, closed_ms) if until_ms > closed_ms else None
    if interval_ms >= bar_ms and not any(gap.symbol == symbol for gap in engine.state.gaps):
        if forming:
            whole.append(_from_steps(engine, symbol, forming, closed_ms, until_ms))
        return whole
    width = min(interval_ms, bar_ms)
    split = Columns(first_ms=whole.first_ms if len(whole) else closed_ms, bar_ms=width)
    bars = [whole.bar(index) for index in range(len(whole))] + ([forming] if forming else [])
    for bar in bars:
        for part in range(bar.open_ms, min(bar.open_ms + bar_ms, until_ms), width):
            split.append(_from_steps(engine, symbol, bar, part, min(part + width, until_ms)))
    return split.between(start_ms, until_ms)


def _from_steps(
    engine: Engine, symbol: str, bar: Bar, start_ms: int, until_ms: int
) -> tuple[int, int, int, int, int]:
    """Open, high, low, close and volume of the steps of one candle in [start, until)."""
    instrument = INSTRUMENTS[symbol]
    steps = engine.feed.bar_ms // STEP_MS
    path = bar_path(bar, instrument, steps)
    tick = int(instrument.tick.scaleb(SCALE))
    first, last = (start_ms - bar.open_ms) // STEP_MS, -((bar.open_ms - until_ms) // STEP_MS)
    prices = [
        max(1, round(path[step] * gap_factor(engine.state, symbol, bar.open_ms + step * STEP_MS))) * tick
        for step in range(first, last)
    ]
    return prices[0], max(prices), min(prices), prices[-1], bar.volume // steps * len(prices)


def _grouped(columns: Columns, interval_ms: int, oldest_ms: int) -> list[Candle]:
    result: list[Candle] = []
    index = 0
    while index < len(columns):
        open_ms = (columns.first_ms + index * columns.bar_ms) // interval_ms * interval_ms
        stop = min(len(columns), -((columns.first_ms - open_ms - interval_ms) // columns.bar_ms))
        if open_ms >= oldest_ms:
            result.append(_merged(columns, index, stop, open_ms))
        index = stop
    return result


def _merged(columns: Columns, start: int, stop: int, open_ms: int) -> Candle:
    high, low, close = max(columns.high[start:stop]), min(columns.low[start:stop]), columns.close[stop - 1]
    volume = sum(columns.volume[start:stop])
    return Candle(
        open_ms=open_ms,
        open=columns.open[start],
        high=high,
        low=low,
        close=close,
        volume=volume,
        quote=volume * ((high + low + close) // 3) // 10**SCALE,
    )


def text(scaled: int, places: int) -> str:
    """A positive whole number of 1e-8 as decimal text; places beyond those asked for are cut off."""
    whole, rest = divmod(scaled // 10 ** (SCALE - places), 10**places)
    return f"{whole}.{rest:0{places}d}" if places else str(whole)


def scaled(value: int) -> Decimal:
    """A whole number of 1e-8 as a decimal."""
    return Decimal(value).scaleb(-SCALE)
