"""Where a symbol's market stands at every bar's first step, without taking the steps in between.

What `Engine.advance` does to a market step by step is done here for whole columns of bars: the same
path in ticks, exactly, and the same averages for mark and index in floats, rounded to the 8 decimals
that the venue keeps. For replays that jump where nothing can happen.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trading.core.reference import WINDOW
from trading.simulator.candles import SCALE, Columns
from trading.simulator.feed import STEP_MS, scaled_to_decimal
from trading.simulator.instruments import Instrument
from trading.simulator.settlement import FUNDING_MS
from trading.simulator.state import Market

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MARK_SHARE = 1 / 3
INDEX_SHARE = 1 / 8
REFERENCE_SHARE = 1 - math.exp(-STEP_MS / 1000 / WINDOW.total_seconds())
_CHUNK = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One symbol over its bars; index n is the moment when bar n opens (its first step is done).

    `lowest` and `highest` bound the mark price over the steps after that moment up to the next bar's
    first step; the last bar has no next one, so that the track ends where it opens. `premium` is the
    sum of mark / index - 1 over the same steps. `reference` is the rolling average of mark that who
    looks at every step would keep (trading.core.reference).
    """

    first_ms: int
    bar_ms: int
    ticks: Ints
    previous: Ints
    falling: NDArray[np.bool_]
    mark: Floats
    index: Floats
    reference: Floats
    lowest: Floats
    highest: Floats
    premium: Floats
    volume: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ticks)

    def opens_ms(self, number: int) -> int:
        return self.first_ms + number * self.bar_ms

    def market(self, number: int) -> Market:
        """The market as the engine's own steps would have left it when this bar opens.

        The premium is that of the running funding period, before a settlement that is due then.
        """
        at_ms = self.opens_ms(number)
        since = max(0, number - ((at_ms - 1) % FUNDING_MS + 1) // self.bar_ms)
        return Market(
            ticks=int(self.ticks[number]),
            previous=int(self.previous[number]),
            falling=bool(self.falling[number]),
            mark=to_price(self.mark[number]),
            index=to_price(self.index[number]),
            volume=scaled_to_decimal(self.volume[number] // (self.bar_ms // STEP_MS)),
            premium_sum=to_price(self.premium[since:number].sum()),
            premium_count=(number - since) * (self.bar_ms // STEP_MS),
            traded_ms=at_ms,
        )


def to_price(value: float) -> Decimal:
    """A float as a decimal of 8 places."""
    return Decimal(f"{value:.8f}")


def make_track(columns: Columns, instrument: Instrument) -> Track:
    """The track of one symbol's candles, as if the engine had started with the first of them."""
    opens, highs, lows, closes = (
        _to_ticks(column, instrument) for column in (columns.open, columns.high, columns.low, columns.close)
    )
    count, steps = len(columns), columns.bar_ms // STEP_MS
    mark, index, reference, lowest, highest, premium = (np.zeros(count) for _ in range(6))
    falls = np.zeros(count, dtype=np.int8)
    tick = float(instrument.tick)
    mark[0] = index[0] = reference[0] = opens[0] * tick
    for start in range(0, count - 1, _CHUNK):
        stop = min(start + _CHUNK, count - 1)
        part = slice(start, stop)
        path = make_paths(opens[part], highs[part], lows[part], closes[part], steps)
        path = np.concatenate((path, opens[start + 1 : stop + 1, None]), axis=1)
        falls[start + 1 : stop + 1] = _last_moves(path)
        prices: Floats = np.asarray(path[:, 1:] * tick, dtype=np.float64)
        marks = _follow(prices, mark, start, stop, MARK_SHARE)
        indexes = _follow(prices, index, start, stop, INDEX_SHARE)
        _follow(marks, reference, start, stop, REFERENCE_SHARE)
        lowest[part], highest[part] = marks.min(axis=1), marks.max(axis=1)
        premium[part] = np.round(marks / indexes - 1, 8).sum(axis=1)
    return Track(
        first_ms=columns.first_ms,
        bar_ms=columns.bar_ms,
        ticks=opens,
        previous=np.concatenate((opens[:1], closes[:-1])),
        falling=_carry(falls),
        mark=mark,
        index=index,
        reference=reference,
        lowest=lowest,
        highest=highest,
        premium=premium,
        volume=tuple(columns.volume),
    )


def _to_ticks(column: "NDArray[np.int64] | object", instrument: Instrument) -> Ints:
    tick = int(instrument.tick.scaleb(SCALE))
    return (2 * np.asarray(column, dtype=np.int64) + tick) // (2 * tick)


def make_paths(opens: Ints, highs: Ints, lows: Ints, closes: Ints, steps: int) -> Ints:
    """`feed.bar_path` of many candles, one per row, in ticks."""
    near_low = (opens - lows < highs - opens) | ((opens - lows == highs - opens) & (closes >= opens))
    near, far = np.where(near_low, lows, highs), np.where(near_low, highs, lows)
    first, second, third = np.abs(opens - near), np.abs(near - far), np.abs(far - closes)
    last, total = steps - 1, np.maximum(first + second + third, 1)
    turn = np.maximum(first * last // total, (first > 0).astype(np.int64))
    back = np.maximum((first + second) * last // total, turn + 1)
    back = np.minimum(back, np.where(third > 0, last - 1, last))
    turn = np.minimum(turn, back - 1)
    path = np.repeat(opens[:, None], steps, axis=1)
    at = np.arange(steps)[None, :]
    corners = ((np.zeros_like(turn), opens), (turn, near), (back, far), (np.full_like(turn, last), closes))
    for (start, a), (end, b) in pairwise(corners):
        width = np.maximum(end - start, 1)[:, None]
        step = at - start[:, None]
        line = a[:, None] + (2 * (b - a)[:, None] * step + width) // (2 * width)
        path = np.where((step >= 0) & (at <= end[:, None]) & (end > start)[:, None], line, path)
    moves: Ints = np.where((first + second + third > 0)[:, None], path, opens[:, None])
    return moves


def _follow(prices: Floats, values: Floats, start: int, stop: int, share: float) -> Floats:
    """An average that closes `share` of its distance at each step; fills `values` at the bars' openings."""
    rows, steps = prices.shape
    own = np.empty_like(prices)
    carried = np.zeros(rows)
    for step in range(steps):
        carried = carried + (prices[:, step] - carried) * share
        own[:, step] = carried
    left = np.power(1 - share, np.arange(1, steps + 1))
    value = float(values[start])
    for row in range(rows):
        value = value * float(left[-1]) + float(carried[row])
        values[start + row + 1] = value
    return own + left[None, :] * values[start:stop, None]


def _last_moves(path: Ints) -> NDArray[np.int8]:
    """Per row the direction of the last step that moved: 1 down, -1 up, 0 none did."""
    found = np.zeros(len(path), dtype=np.int8)
    for step in range(1, path.shape[1]):
        change = path[:, step] - path[:, step - 1]
        found = np.where(change < 0, 1, np.where(change > 0, -1, found)).astype(np.int8)
    return found


def _carry(falls: NDArray[np.int8]) -> NDArray[np.bool_]:
    """The last known direction at every bar; before any step moved it is down, as at a venue's start."""
    known = np.where(falls != 0, np.arange(len(falls)), -1)
    latest = np.maximum.accumulate(known)
    carried: NDArray[np.bool_] = np.where(latest >= 0, falls[latest] == 1, True)
    return carried
