"""Closed candles are kept once, from venues and from files."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from controlplane.approvals.core import Role
from controlplane.audit.models import AuditEvent
from tests.factories import UserFactory
from trading import candles, market, models
from trading.core.values import Bar
from trading.selectors import get_clocks
from trading.venues.gateway import VenueError

VENUE, SYMBOL = "binanceusdm", "ETHUSDT"
AT = datetime(2025, 6, 10, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "candles"


def bar(open_at: datetime, close: str = "100") -> Bar:
    price = Decimal(close)
    return Bar(open_at=open_at, open=price, high=price, low=price, close=price, volume=Decimal(1))


def store(bars: list[Bar], market_at: datetime, interval: str = "1h") -> int:
    return candles.store_bars(venue=VENUE, symbol=SYMBOL, interval=interval, bars=bars, market_at=market_at)


def list_opens(interval: str = "1h") -> list[datetime]:
    rows = models.Candle.objects.filter(venue=VENUE, symbol=SYMBOL, interval=interval)
    return list(rows.order_by("open_at").values_list("open_at", flat=True))


@pytest.mark.django_db
def test_a_bar_is_stored_when_it_is_closed_and_not_before() -> None:
    bars = [bar(AT), bar(AT + HOUR)]
    assert store(bars, AT + 2 * HOUR - MINUTE) == 1
    assert list_opens() == [AT]
    assert store(bars, AT + 2 * HOUR) == 2
    assert list_opens() == [AT, AT + HOUR]
    assert store([bar(AT, "101")], AT + 2 * HOUR) == 1
    assert models.Candle.objects.get(open_at=AT).close == 101
    assert store([bar(AT)], AT + 2 * HOUR, interval="1m") == 1
    assert len(list_opens()) == 2


# From the venue -----------------------------------------------------------------------------------


def refresh(desk: Any, market_at: datetime) -> int:
    return candles.refresh_history(venue_account=desk.place, symbols=[SYMBOL], market_at=market_at)


def count_requests(desk: Any) -> int:
    return desk.requests_to("GET", "/fapi/v1/klines")


def test_thirty_days_are_read_once_and_then_what_is_new(desk: Any) -> None:
    market_at = get_clocks().market_at
    last = market_at.replace(minute=0, second=0, microsecond=0) - HOUR
    stale = candles.list_stale_symbols(venue=VENUE, symbols=[SYMBOL], market_at=market_at)
    assert stale == [SYMBOL]
    before = count_requests(desk)
    assert refresh(desk, market_at) == 720
    assert list_opens() == [last - number * HOUR for number in range(719, -1, -1)]
    assert count_requests(desk) - before == 6
    assert candles.list_stale_symbols(venue=VENUE, symbols=[SYMBOL], market_at=market_at) == []
    assert refresh(desk, market_at) == 0
    assert count_requests(desk) - before == 6

    models.Candle.objects.filter(open_at__in=[last, last - 9 * HOUR]).delete()
    assert refresh(desk, market_at) == 2
    assert count_requests(desk) - before == 8
    assert len(list_opens()) == 720


def test_a_history_full_of_holes_is_read_in_one_piece(desk: Any) -> None:
    market_at = get_clocks().market_at
    refresh(desk, market_at)
    opens = list_opens()
    models.Candle.objects.filter(open_at__in=opens[100:140:5]).delete()
    before = count_requests(desk)
    assert refresh(desk, market_at) == 36
    assert count_requests(desk) - before == 1
    assert list_opens() == opens


def test_stored_hours_are_the_venues(desk: Any) -> None:
    refresh(desk, get_clocks().market_at)
    row = models.Candle.objects.order_by("-open_at").first()
    assert row is not None
    (seen,) = market.fetch_bars(
        venue=VENUE, account=desk.place.account.name, symbol=SYMBOL, interval="1h", limit=1, since=row.open_at
    )
    assert (row.open, row.high, row.low, row.close) == (seen.open, seen.high, seen.low, seen.close)


def test_a_venue_that_fails_is_said_so_and_nothing_is_stored(desk: Any) -> None:
    desk.fault("error_before", path="/fapi/v1/klines", status=503)
    with pytest.raises(VenueError):
        refresh(desk, get_clocks().market_at)
    assert not models.Candle.objects.exists()


def test_a_long_history_comes_in_pages() -> None:
    pages = list(candles._find_holes(set(), AT, AT + 300 * MINUTE, MINUTE))
    assert pages == [(AT, 120), (AT + 120 * MINUTE, 120), (AT + 240 * MINUTE, 60)]


# From files ---------------------------------------------------------------------------------------


def write(folder: Path, name: str, lines: list[str]) -> None:
    text = "\n".join(["date,open,high,low,close,volume", *lines]) + "\n"
    (folder / name).write_bytes(gzip.compress(text.encode()))


def make_lines(start: datetime, step: timedelta, number: int) -> list[str]:
    return [
        f"{start + index * step:%Y-%m-%d %H:%M:%S},{100 + index},200,50,{101 + index},1"
        for index in range(number)
    ]


def run(folder: Path, *arguments: str) -> str:
    out = StringIO()
    call_command(
        "import_candles", str(folder), "--actor", "ann", "--reason", "a test", *arguments, stdout=out
    )
    return out.getvalue()


@pytest.fixture
def ann(db: None) -> Any:
    return UserFactory(username="ann", roles=(Role.OPERATOR,))


def test_a_folder_is_imported_with_the_whole_hours_it_makes_up(ann: Any, tmp_path: Path) -> None:
    # From a quarter past: the first and the last hour are not whole.
    write(tmp_path, f"{SYMBOL}.csv.gz", make_lines(AT + 15 * MINUTE, 15 * MINUTE, 10))
    (found,) = json.loads(run(tmp_path, "--json"))["candles"]
    assert found == {"symbol": SYMBOL, "interval": "15m", "stored": 10, "hours": 1, "later": 0}
    assert len(list_opens("15m")) == 10
    hour = models.Candle.objects.get(interval="1h")
    assert (hour.open_at, hour.open, hour.close) == (AT + HOUR, 103, 107)
    assert (hour.high, hour.low, hour.volume) == (200, 50, 4)
    event = AuditEvent.objects.get(action="trading.candles_import")
    assert event.payload["detail"]["stored"] == {SYMBOL: 10}
    assert (event.payload["actor"], event.payload["reason"]) == ("ann", "a test")

    assert run(tmp_path) == f"{SYMBOL}: 10 of 15m, 1 hours made of them\n"
    assert models.Candle.objects.count() == 11


def test_what_lies_later_than_market_time_is_left_out(ann: Any, tmp_path: Path) -> None:
    start = get_clocks().market_at.replace(minute=0, second=0, microsecond=0) - 2 * HOUR
    write(tmp_path, f"{SYMBOL}.csv.gz", make_lines(start, HOUR, 6))
    assert f"{SYMBOL}: 2 of 1h, 0 hours made of them; 4 lie later than market time" in run(tmp_path)
    assert list_opens() == [start, start + HOUR]


@pytest.mark.parametrize(
    ("lines", "other", "problem"),
    [
        (
            ["2025-06-10 00:00:00,1,1,1,1,1", "2025-06-10 00:01:00,1,1,1,x,1"],
            MINUTE,
            "ETHUSDT.csv.gz, line 3, column close",
        ),
        (
            ["2025-06-10 00:00:00,1,1,1,1,1", "2025-06-10 00:01:00,1,1,2,1,1"],
            MINUTE,
            "ETHUSDT.csv.gz, line 3, column",
        ),
        (make_lines(AT, 3 * MINUTE, 4), 3 * MINUTE, "bars of 3 minutes"),
        (make_lines(AT, 5 * MINUTE, 4), MINUTE, "bar lengths differ"),
    ],
)
def test_a_malformed_file_is_one_line_and_stores_nothing(
    ann: Any, tmp_path: Path, lines: list[str], other: timedelta, problem: str
) -> None:
    write(tmp_path, "BTCUSDT.csv.gz", make_lines(AT, other, 5))
    write(tmp_path, f"{SYMBOL}.csv.gz", lines)
    with pytest.raises(CommandError) as refusal:
        run(tmp_path)
    assert refusal.value.returncode == 1
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not models.Candle.objects.exists()
    assert not AuditEvent.objects.filter(action="trading.candles_import").exists()


def test_a_viewer_may_not_import(db: None, tmp_path: Path) -> None:
    UserFactory(username="ann")
    write(tmp_path, f"{SYMBOL}.csv.gz", make_lines(AT, MINUTE, 5))
    with pytest.raises(CommandError):
        run(tmp_path)
    assert not models.Candle.objects.exists()


def test_real_candles_make_the_hours_of_their_days(ann: Any, tmp_path: Path) -> None:
    source = RECORDED / "binance_usdm_15m_2025-10_cascade" / "BTCUSDT.csv.gz"
    if not source.exists():
        pytest.skip(f"no recorded candles at {RECORDED}")
    (tmp_path / "BTCUSDT.csv.gz").write_bytes(source.read_bytes())
    (found,) = json.loads(run(tmp_path, "--json"))["candles"]
    assert (found["interval"], found["later"]) == ("15m", 0)
    assert found["hours"] == found["stored"] // 4 > 1000
    cascade = models.Candle.objects.get(interval="1h", open_at=datetime(2025, 10, 10, 21, tzinfo=UTC))
    quarters = models.Candle.objects.filter(
        interval="15m", open_at__gte=cascade.open_at, open_at__lt=cascade.open_at + HOUR
    ).order_by("open_at")
    assert cascade.low == min(row.low for row in quarters)
    assert cascade.close == list(quarters)[-1].close
