"""October 2025 at three readings a bar: the stop trips where plain arithmetic says, and only there."""

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from risk import models
from risk.limits import load_profiles
from risk.registration import store_limit_set
from risk.stops.triggers import watch_all
from tests.factories import PermitFactory, PriceFactory, TradingStateFactory, VenueAccountFactory
from tests.risk.replay.markets import real_set
from tests.trading.conftest import Desk
from trading import dispatch, ledger
from trading import models as facts
from trading.dispatch.orders import open_venue as open_gateway
from trading.reconcile import reconcile_venue_account
from trading.selectors import get_clocks
from trading.simulator.candles import CandleSet, load_candles
from trading.simulator.clock import system_ms
from trading.simulator.feed import CandleFeed
from trading.simulator.server import VenueServer
from trading.simulator.venue import Credentials, open_venue
from trading.venues import close_gateways

D = Decimal
CASCADE = "binance_usdm_15m_2025-10_cascade"
SYMBOL = "BTCUSDT"
DAY = datetime(2025, 10, 10, tzinfo=UTC)
BAR = timedelta(minutes=15)
READINGS = (timedelta(0), timedelta(minutes=5), timedelta(minutes=10))
BALANCE, QUANTITY = D(1100), D("0.006")
# min(5 %, 3 x the profile's daily limit), as the page has them.
THRESHOLDS = {"MICRO": 0.015, "SMALL": 0.03}
# Funding twice that day and the venue's rounding; no reading of the day may be this near a threshold.
TOLERANCE = 0.00015


# Plain arithmetic ------------------------------------------------------------------------------------


def read_day(folder: Path) -> list[tuple[float, float, float, float]]:
    """Open, high, low and close of every bar of the day."""
    with gzip.open(folder / f"{SYMBOL}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    wanted = [row for row in rows if row["date"].startswith("2025-10-10")]
    assert len(wanted) == 96
    return [tuple(float(row[name]) for name in ("open", "high", "low", "close")) for row in wanted]


def walk(bar: tuple[float, float, float, float], steps: int) -> Iterator[float]:
    """Open, nearer extreme, other extreme, close, at one pace all the way."""
    o, high, low, close = bar
    corners = [o, low, high, close] if o - low < high - o else [o, high, low, close]
    ways = list(pairwise(corners))
    total = sum(abs(end - start) for start, end in ways)
    for step in range(steps):
        left = total * step / (steps - 1)
        for start, end in ways:
            if left <= abs(end - start) + 1e-6:
                break
            left -= abs(end - start)
        yield start + (left if end > start else -left)


def list_marks(bars: Sequence[tuple[float, float, float, float]]) -> list[float]:
    """Mark at every reading: each five seconds it goes a third of its way to the traded price."""
    steps, mark, found = int(BAR.total_seconds()) // 5, bars[0][0], []
    for bar in bars:
        for step, price in enumerate(walk(bar, steps)):
            mark += (price - mark) / 3
            if timedelta(seconds=5 * step) in READINGS:
                found.append(mark)
    return found


def list_drawdowns(marks: list[float], entry: float, fee: float) -> list[float]:
    peak, found = float(BALANCE), []
    for mark in marks:
        equity = float(BALANCE) - fee + float(QUANTITY) * (mark - entry)
        peak = max(peak, equity)
        found.append(1 - equity / peak)
    return found


def find_third(drawdowns: list[float], threshold: float) -> int:
    """The number of the third reading running that is beyond."""
    for number in range(2, len(drawdowns)):
        if min(drawdowns[number - 2 : number + 1]) >= threshold:
            return number
    raise AssertionError("the day never loses so much")


# The desk --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class HeldClock:
    """Market time stands where the test puts it; wall time is real."""

    market: int
    speed: int = 300

    def market_ms(self) -> int:
        return self.market

    def wall_ms(self) -> int:
        return system_ms()


@pytest.fixture
def desk(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A venue that lives through the candles, and an account of 1,100 USDT there."""
    candles = load_candles(real_set(CASCADE))
    feed = CandleFeed(
        CandleSet(bar_ms=candles.bar_ms, digest=candles.digest, series={SYMBOL: candles.series[SYMBOL]})
    )
    venue = open_venue(
        feed=feed,
        clock=HeldClock(int(DAY.timestamp() * 1000)),
        credentials=Credentials(key="key-of-the-tests", secret="secret-of-the-tests"),
        balance=BALANCE,
    )
    with VenueServer(venue) as server:
        settings.SIMULATED_VENUES = {"binanceusdm": server.address}
        monkeypatch.setenv("BINANCE_API_KEY", "key-of-the-tests")
        monkeypatch.setenv("BINANCE_API_SECRET", "secret-of-the-tests")
        close_gateways()
        place = VenueAccountFactory()
        for scope in ("all", f"venue:{place.venue}", f"account:{place.account.name}", "strategy:trend"):
            TradingStateFactory(scope=scope)
        TradingStateFactory(scope=f"symbol:{SYMBOL}")
        PriceFactory(venue=place.venue, symbol=SYMBOL)
        permit = PermitFactory(account=place.account)
        now = timezone.now()
        facts.MarketClock.objects.create(
            id=1, anchor_at=DAY, started_at=now, speed=300, paused=True, seen_at=now, candle_set=CASCADE
        )
        yield Desk(place=place, permit=permit, venue=venue, address=server.address, settings=settings)
        close_gateways()


def move_to(desk: Desk, at: datetime) -> None:
    desk.venue.clock.market = int(at.timestamp() * 1000)  # type: ignore[attr-defined]
    desk.venue.tick()
    facts.MarketClock.objects.update(anchor_at=at)


def take_book(desk: Desk, profile: str) -> tuple[float, float]:
    """Long 0.006 BTCUSDT with a stop far away, under the profile's limits; returns entry price and fee."""
    limits = store_limit_set(
        limits=load_profiles()[profile], actor="system:test", reason="limits of the test"
    )
    facts.Permit.objects.update(limit_set_digest=limits.digest, profile=profile)
    desk.permit.refresh_from_db()
    reconcile_venue_account(venue_account=desk.place, market_at=DAY)
    intent = desk.approve(
        symbol=SYMBOL, quantity=QUANTITY, stop_loss=D(80000), take_profit=D(160000), market_at=DAY
    )
    dispatch.send_intent(intent_id=intent.id)
    reconcile_venue_account(venue_account=desk.place, market_at=DAY)
    fill = facts.Fill.objects.get()
    assert fill.quantity == QUANTITY
    return float(fill.price), float(fill.fee)


def live_through(desk: Desk) -> tuple[int, models.StopEvent]:
    """Sample and look at each reading until something trips; returns its number."""
    began_at = get_clocks().wall_at
    moments = [DAY + number * BAR + offset for number in range(96) for offset in READINGS]
    for number, at in enumerate(moments):
        move_to(desk, at)
        balance = open_gateway(desk.place).fetch_balance()
        ledger.record_equity(venue_account=desk.place, balance=balance, market_at=at)
        watch_all(clocks=get_clocks(), began_at=began_at, call_sweeper=lambda _: None)
        if (event := models.StopEvent.objects.first()) is not None:
            assert event.market_at == at
            return number, event
    raise AssertionError("the day went by without a stop")


@pytest.mark.parametrize("profile", ["MICRO", "SMALL"])
def test_the_stop_trips_at_the_third_reading_beyond_the_profiles_threshold(desk, profile):
    entry, fee = take_book(desk, profile)
    drawdowns = list_drawdowns(list_marks(read_day(real_set(CASCADE))), entry, fee)
    expected = {name: find_third(drawdowns, threshold) for name, threshold in THRESHOLDS.items()}
    threshold = THRESHOLDS[profile]
    assert expected["MICRO"] < expected["SMALL"]
    assert min(abs(value - threshold) for value in drawdowns[: expected[profile] + 1]) > TOLERANCE

    number, event = live_through(desk)

    assert number == expected[profile]
    assert (event.scope, event.source) == (f"account:{desk.place.account.name}", "daily_drawdown")
    assert float(event.evidence["measured"]) == pytest.approx(drawdowns[number], abs=TOLERANCE)
    assert float(event.evidence["threshold"]) == threshold
