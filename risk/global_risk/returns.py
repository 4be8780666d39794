"""Hourly returns of symbols, from closed candles: what correlations and loss measures are made of.

Of each symbol the candles of the venue that has most of the window. Times are market time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType

from django.db.models import Count, Max, Sum

from risk.core.statistics import HOUR, step_returns
from trading.models import Candle

INTERVAL = "1h"
# RISK.md part 1.
WINDOW = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class CandleSpan:
    """Which candles of a symbol are used: those in [start, end) of one venue.

    With their number and the sum of their closes, by which it is known that they are still the same.
    """

    venue: str
    symbol: str
    start: datetime
    end: datetime
    count: int
    total: Decimal
    newest_at: datetime

    @property
    def closed_at(self) -> datetime:
        """The close of the last hour."""
        return self.newest_at + HOUR


def floor_to_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def list_spans(symbols: Iterable[str], market_at: datetime) -> dict[str, CandleSpan]:
    """The closed hours of the last 30 days of every symbol that has any."""
    end = floor_to_hour(market_at)
    rows = (
        Candle.objects.filter(
            symbol__in=tuple(symbols), interval=INTERVAL, open_at__gte=end - WINDOW, open_at__lt=end
        )
        .values_list("symbol", "venue")
        .annotate(number=Count("id"), total=Sum("close"), newest=Max("open_at"))
        .order_by("symbol", "-number", "venue")
    )
    found: dict[str, CandleSpan] = {}
    for symbol, venue, number, total, newest in rows:
        span = CandleSpan(
            venue=venue,
            symbol=symbol,
            start=end - WINDOW,
            end=end,
            count=number,
            total=total,
            newest_at=newest,
        )
        found.setdefault(symbol, span)
    return found


@lru_cache(maxsize=128)
def list_returns(span: CandleSpan) -> Mapping[datetime, float]:
    """Simple returns by the opening of their hour."""
    rows = Candle.objects.filter(
        venue=span.venue,
        symbol=span.symbol,
        interval=INTERVAL,
        open_at__gte=span.start,
        open_at__lt=span.end,
    )
    closes = {at: float(close) for at, close in rows.values_list("open_at", "close")}
    return MappingProxyType(step_returns(closes))
