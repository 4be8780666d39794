"""Stored hours of a symbol."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from risk.global_risk.returns import floor_to_hour
from trading import models as facts
from trading.selectors import get_clocks


def make_hours(
    symbol: str,
    *,
    count: int,
    venue: str = "binanceusdm",
    moves: Sequence[float] | None = None,
    last_moves: Sequence[float] = (),
    ended_hours_ago: int = 0,
) -> datetime:
    """`count` closed hours up to the last whole one; returns the close of the newest.

    Without `moves` each hour rises or falls by 1 % of the one before, by turns; `last_moves` take the
    place of the last ones.
    """
    end = floor_to_hour(get_clocks().market_at) - timedelta(hours=ended_hours_ago)
    steps = list(moves or [0.01 if index % 2 else -0.01 for index in range(count - 1)])
    if last_moves:
        steps[-len(last_moves) :] = last_moves
    closes = [100.0]
    for step in steps:
        closes.append(closes[-1] * (1 + step))
    facts.Candle.objects.bulk_create(
        facts.Candle(
            venue=venue,
            symbol=symbol,
            interval="1h",
            open_at=end - timedelta(hours=count - index),
            **dict.fromkeys(("open", "high", "low", "close"), round(close, 8)),
            volume=1,
        )
        for index, close in enumerate(closes)
    )
    return end
