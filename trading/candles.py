"""Closed candles: read from venues or files and kept; what correlations and loss measures are made of.

Times are market time. A candle that is still forming is never stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from django.db import transaction

from controlplane.audit.services import record
from controlplane.errors import InvalidInput
from trading import market, models
from trading.core.values import Bar
from trading.simulator.candles import SCALE, CandleError, Columns, load_candles

HOUR = timedelta(hours=1)
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
# Bar lengths by the venue's words for them.
INTERVALS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": HOUR,
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}
# A venue gives up to 1,500 at once; pages of less than 500 weigh least, and short ones are soon answered.
PAGE = 120
HISTORY_DAYS = 30
# A history with more holes than this is read in one piece from the first of them on.
MAX_HOLES = 3
BATCH = 2000
_FIELDS = ("open", "high", "low", "close", "volume")


class CandlesUnreadable(InvalidInput):
    """A candle file cannot be used; says which, and where in it."""

    code = "candles_unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of one symbol's file: candles stored, and those that are not closed yet."""

    symbol: str
    interval: str
    stored: int
    hours: int
    later: int


def floor_to_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def store_bars(*, venue: str, symbol: str, interval: str, bars: Sequence[Bar], market_at: datetime) -> int:
    """Store the bars that are closed at `market_at`, over what was stored before; returns how many."""
    length = INTERVALS[interval]
    rows = [
        models.Candle(
            venue=venue,
            symbol=symbol,
            interval=interval,
            open_at=bar.open_at,
            **{name: getattr(bar, name) for name in _FIELDS},
        )
        for bar in bars
        if bar.open_at + length <= market_at
    ]
    models.Candle.objects.bulk_create(
        rows,
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["venue", "symbol", "interval", "open_at"],
        update_fields=_FIELDS,
    )
    return len(rows)


# From venues --------------------------------------------------------------------------------------


def list_stale_symbols(*, venue: str, symbols: Sequence[str], market_at: datetime) -> list[str]:
    """Those of the symbols whose last closed hour is not stored."""
    last = floor_to_hour(market_at) - HOUR
    rows = models.Candle.objects.filter(venue=venue, symbol__in=symbols, interval="1h", open_at=last)
    return sorted(set(symbols).difference(rows.values_list("symbol", flat=True)))


def refresh_history(
    *,
    venue_account: models.VenueAccount,
    symbols: Sequence[str],
    market_at: datetime,
    interval: str = "1h",
    days: int = HISTORY_DAYS,
) -> int:
    """Read what is missing of the last `days` from the venue and store it; returns how many candles.

    What the venue does not have stays missing. Raises VenueError.
    """
    length = INTERVALS[interval]
    end = market_at - (market_at - datetime(1970, 1, 1, tzinfo=UTC)) % length
    stored = 0
    for symbol in symbols:
        known = models.Candle.objects.filter(
            venue=venue_account.venue,
            symbol=symbol,
            interval=interval,
            open_at__gte=end - timedelta(days=days),
            open_at__lt=end,
        )
        opens = set(known.values_list("open_at", flat=True))
        for start, count in _find_holes(opens, end - timedelta(days=days), end, length):
            bars = market.fetch_bars(
                venue=venue_account.venue,
                account=venue_account.account.name,
                symbol=symbol,
                interval=interval,
                limit=count,
                since=start,
            )
            stored += store_bars(
                venue=venue_account.venue, symbol=symbol, interval=interval, bars=bars, market_at=market_at
            )
    return stored


def _find_holes(
    known: set[datetime], start: datetime, end: datetime, length: timedelta
) -> Iterator[tuple[datetime, int]]:
    """Where bars are missing in [start, end): the opening of the first, and how many; a page at most."""
    holes: list[list[datetime]] = []
    at = start
    while at < end:
        if at in known:
            at += length
            continue
        if holes and holes[-1][1] == at:
            holes[-1][1] = at + length
        else:
            holes.append([at, at + length])
        at += length
    if len(holes) > MAX_HOLES:
        holes = [[holes[0][0], holes[-1][1]]]
    for first, behind in holes:
        for page in range(0, (behind - first) // length, PAGE):
            begins = first + page * length
            yield begins, min(PAGE, (behind - begins) // length)


# From files ---------------------------------------------------------------------------------------


def import_candles(
    *, directory: Path, venue: str, actor: str, reason: str, market_at: datetime
) -> list[Imported]:
    """Store the candles of a folder's files, and the whole hours that shorter ones make up.

    All or nothing; the same folder again changes nothing. Raises CandlesUnreadable.
    """
    try:
        candles = load_candles(directory)
    except CandleError as error:
        raise CandlesUnreadable(str(error)) from error
    interval = _name_interval(candles.bar_ms)
    with transaction.atomic():
        imported = [
            _import_symbol(venue, symbol, interval, columns, market_at)
            for symbol, columns in sorted(candles.series.items())
        ]
        record(
            action="trading.candles_import",
            actor=actor,
            subject_type="venue",
            subject_id=venue,
            reason=reason,
            detail={
                "digest": candles.digest,
                "interval": interval,
                "stored": {item.symbol: item.stored for item in imported},
            },
        )
    return imported


def _name_interval(bar_ms: int) -> str:
    for name, length in INTERVALS.items():
        if length == timedelta(milliseconds=bar_ms):
            return name
    raise CandlesUnreadable(f"bars of {bar_ms // MINUTE_MS} minutes: expected one of {', '.join(INTERVALS)}")


def _import_symbol(venue: str, symbol: str, interval: str, columns: Columns, market_at: datetime) -> Imported:
    def store(length: str, bars: list[Bar]) -> int:
        return store_bars(venue=venue, symbol=symbol, interval=length, bars=bars, market_at=market_at)

    stored = store(interval, list(_merge(columns, width=1)))
    hours = 0
    if columns.bar_ms < HOUR_MS:
        hours = store("1h", list(_merge(columns, width=HOUR_MS // columns.bar_ms)))
    return Imported(symbol=symbol, interval=interval, stored=stored, hours=hours, later=len(columns) - stored)


def _merge(columns: Columns, width: int) -> Iterator[Bar]:
    """Every bar of `width` candles that is there whole; it opens on a multiple of its length."""
    first = (-columns.first_ms // columns.bar_ms) % width
    for index in range(first, len(columns) - width + 1, width):
        yield _to_bar(columns, index, index + width)


def _to_bar(columns: Columns, start: int, stop: int) -> Bar:
    """The candles [start, stop) as one."""
    return Bar(
        open_at=datetime.fromtimestamp((columns.first_ms + start * columns.bar_ms) / 1000, UTC),
        open=_scale(columns.open[start]),
        high=_scale(max(columns.high[start:stop])),
        low=_scale(min(columns.low[start:stop])),
        close=_scale(columns.close[stop - 1]),
        volume=_scale(sum(columns.volume[start:stop])),
    )


def _scale(value: int) -> Decimal:
    return Decimal(value).scaleb(-SCALE)
