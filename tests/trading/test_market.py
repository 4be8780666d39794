"""What is read from a venue is stored as read; settings are made safe and read back."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from controlplane.errors import NotFound
from trading import market, models, selectors
from trading.core.reference import WINDOW, roll_reference
from trading.core.values import Environment
from trading.simulator.clock import ManualClock, system_ms
from trading.simulator.generator import GeneratedFeed
from trading.simulator.server import VenueServer
from trading.simulator.venue import Credentials, open_venue
from trading.venues import close_gateways
from trading.venues.gateway import Cause, VenueError, VenueUnavailable

pytestmark = pytest.mark.django_db

VENUE, ACCOUNT, SYMBOL = "binanceusdm", "paper-main", "ETHUSDT"
MARKET_AT = datetime(2025, 6, 10, 12, tzinfo=UTC)


class MovedClock:
    """Market time as the test moves it, wall time as it is."""

    def __init__(self) -> None:
        self.manual = ManualClock(market=int(MARKET_AT.timestamp()) * 1000, wall=0)

    @property
    def speed(self) -> int:
        return 1

    def market_ms(self) -> int:
        return self.manual.market

    def wall_ms(self) -> int:
        return system_ms()


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def venue(clock: MovedClock, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Any]:
    close_gateways()
    monkeypatch.setenv("BINANCE_API_KEY", "key")
    monkeypatch.setenv("BINANCE_API_SECRET", "secret")
    venue = open_venue(
        feed=GeneratedFeed(7),
        clock=clock,
        credentials=Credentials(key="key", secret="secret"),
        balance=Decimal(1100),
    )
    with VenueServer(venue) as server:
        settings.TRADING_ENVIRONMENT = "paper"
        settings.SIMULATED_VENUES = {VENUE: server.address}
        yield venue
    close_gateways()


@pytest.fixture
def venue_account(venue: Any) -> models.VenueAccount:
    account = models.Account.objects.create(name=ACCOUNT, environment=Environment.PAPER)
    return models.VenueAccount.objects.create(account=account, venue=VENUE, priority=0)


def refresh() -> int:
    return market.refresh_instruments(venue=VENUE, account=ACCOUNT, market_at=MARKET_AT)


def test_instruments_are_stored_with_their_brackets_and_replaced(venue: Any) -> None:
    assert refresh() == 4
    row = models.Instrument.objects.get(venue=VENUE, symbol="BTCUSDT")
    assert (row.tick_size, row.lot_size, row.min_notional) == (Decimal("0.1"), Decimal("0.001"), 100)
    assert market.read_brackets(row)[0].max_leverage == 125
    assert market.read_brackets(row)[0].maintenance_ratio == Decimal("0.004")
    first_read_at = row.read_at
    models.Instrument.objects.update(min_notional=1, brackets=[])
    refresh()
    row.refresh_from_db()
    assert (models.Instrument.objects.count(), row.min_notional) == (4, 100)
    assert row.read_at >= first_read_at
    assert row.brackets


def test_an_instrument_is_read_again_when_it_is_missing_or_old(
    venue: Any, venue_account: models.VenueAccount
) -> None:
    def count() -> int:
        return sum(entry["path"] == "/fapi/v1/exchangeInfo" for entry in venue.requests)

    first = market.get_or_refresh_instrument(venue_account=venue_account, symbol=SYMBOL)
    assert first == selectors.get_instrument(VENUE, SYMBOL)
    assert count() == 1
    market.get_or_refresh_instrument(venue_account=venue_account, symbol=SYMBOL)
    assert count() == 1
    models.Instrument.objects.update(read_at=datetime.now(UTC) - timedelta(minutes=11))
    market.get_or_refresh_instrument(venue_account=venue_account, symbol=SYMBOL)
    assert count() == 2
    with pytest.raises(NotFound, match="binanceusdm has no NOUSDT"):
        market.get_or_refresh_instrument(venue_account=venue_account, symbol="NOUSDT")


def test_prices_are_stored_with_the_venues_market_time(venue: Any, clock: MovedClock) -> None:
    symbols = ["BTCUSDT", SYMBOL]
    first = market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=symbols)
    assert set(first) == set(symbols)
    stored = selectors.get_price(VENUE, SYMBOL)
    assert stored is not None
    assert abs(stored.at - MARKET_AT) <= timedelta(seconds=1)
    assert stored.bid < stored.ask
    clock.manual.market += 10_000
    market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=[SYMBOL])
    later = selectors.get_price(VENUE, SYMBOL)
    assert later is not None
    assert later.at - stored.at >= timedelta(seconds=9)
    assert models.MarketPrice.objects.count() == 2


def test_prices_carry_depth_and_funding_without_another_request(venue: Any) -> None:
    prices = market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=[SYMBOL, "BTCUSDT"])[SYMBOL]
    assert prices.bid_quantity is not None
    assert prices.bid_quantity > 0
    assert prices.ask_quantity is not None
    assert prices.funding_at == MARKET_AT.replace(hour=16)
    assert prices.funding_rate is not None
    # Stored as read; the columns have fixed places.
    assert selectors.get_price(VENUE, SYMBOL) == prices
    before = len(venue.requests)
    market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=[SYMBOL, "BTCUSDT"])
    assert len(venue.requests) - before == 3


def test_the_average_of_mark_is_seeded_from_candles_and_then_rolls(venue: Any, clock: MovedClock) -> None:
    def look() -> Any:
        return market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=[SYMBOL])[SYMBOL]

    def count_candle_requests() -> int:
        return sum(entry["path"] == "/fapi/v1/klines" for entry in venue.requests)

    first = look()
    bars = market.fetch_bars(venue=VENUE, account=ACCOUNT, symbol=SYMBOL, interval="1m", limit=16)
    closed = [bar.close for bar in bars if bar.open_at + timedelta(minutes=1) <= first.at][-15:]
    assert first.reference == (sum(closed) / 15).quantize(Decimal("1e-10"))
    asked = count_candle_requests()

    clock.manual.market += 60_000
    second = look()
    assert second.reference == roll_reference(first.reference, first.at, second.mark, second.at, WINDOW)
    assert count_candle_requests() == asked

    # Older than the window it is no average any more, and is made anew.
    clock.manual.market += 16 * 60_000
    assert look().reference is not None
    assert count_candle_requests() == asked + 1


def test_an_average_that_cannot_be_made_is_unknown_until_it_can(venue: Any, clock: MovedClock) -> None:
    venue.faults.add({"kind": "error_before", "path": "/fapi/v1/klines", "status": 503, "times": 1})
    prices = market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=[SYMBOL, "BTCUSDT"])
    assert {price.reference for price in prices.values()} == {None}
    stored = selectors.get_price(VENUE, SYMBOL)
    assert stored is not None
    assert stored.reference is None
    prices = market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=[SYMBOL, "BTCUSDT"])
    assert None not in {price.reference for price in prices.values()}


def test_an_announced_delisting_is_read(venue: Any, venue_account: models.VenueAccount) -> None:
    first = market.get_or_refresh_instrument(venue_account=venue_account, symbol=SYMBOL)
    assert first.delists_at == datetime(2100, 12, 25, 8, tzinfo=UTC)
    assert (first.max_conditional_orders, first.is_trading) == (10, True)
    venue.delistings[SYMBOL] = int((MARKET_AT + timedelta(hours=25)).timestamp()) * 1000
    refresh()
    announced = selectors.get_instrument(VENUE, SYMBOL)
    assert announced is not None
    assert (announced.delists_at, announced.is_trading) == (MARKET_AT + timedelta(hours=25), True)
    venue.delistings[SYMBOL] -= 3_600_000
    refresh()
    near = selectors.get_instrument(VENUE, SYMBOL)
    assert near is not None
    assert near.is_trading is False


def test_a_frozen_venue_leaves_old_prices_behind(venue: Any, clock: MovedClock) -> None:
    market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=[SYMBOL])
    venue.execute("freeze", frozen=True)
    clock.manual.market += 120_000
    prices = market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=[SYMBOL])
    assert MARKET_AT + timedelta(seconds=120) - prices[SYMBOL].at >= timedelta(seconds=119)


def test_a_symbol_the_venue_does_not_quote_is_absent_or_refused(venue: Any) -> None:
    both = market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=[SYMBOL, "NOUSDT"])
    assert set(both) == {SYMBOL}
    assert market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=[]) == {}
    with pytest.raises(VenueUnavailable, match="does not quote NOUSDT, NEITHERUSDT"):
        market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=["NOUSDT", "NEITHERUSDT"])
    with pytest.raises(VenueError):
        market.refresh_prices(venue=VENUE, account=ACCOUNT, symbols=["NOUSDT"])
    assert models.MarketPrice.objects.count() == 1


def test_candles_are_fetched(venue: Any) -> None:
    bars = market.fetch_bars(venue=VENUE, account=ACCOUNT, symbol=SYMBOL, interval="5m", limit=30)
    assert len(bars) == 30
    assert bars[-1].open_at == MARKET_AT
    assert {later.open_at - bar.open_at for bar, later in pairwise(bars)} == {timedelta(minutes=5)}


def prepare(venue_account: models.VenueAccount, **changes: Any) -> models.VenueSetting:
    facts: dict[str, Any] = {
        "symbol": SYMBOL,
        "leverage": 3,
        "stop_ratio": Decimal("0.02"),
        "market_at": MARKET_AT,
    }
    return market.prepare_symbol(venue_account=venue_account, **(facts | changes))


def test_a_symbol_is_made_isolated_at_a_safe_leverage_and_stored_as_read_back(
    venue: Any, venue_account: models.VenueAccount
) -> None:
    row = prepare(venue_account)
    assert (row.leverage, row.margin_mode) == (3, "isolated")
    assert selectors.get_venue_setting(venue_account, SYMBOL) == row
    held = venue.engine.state.settings[SYMBOL]
    assert (held.leverage, held.isolated) == (3, True)
    assert prepare(venue_account, leverage=50).leverage == 22
    assert prepare(venue_account, leverage=50, notional=Decimal(5_000_000)).leverage < 22
    assert models.VenueSetting.objects.count() == 1


def test_the_widest_stop_that_the_leverage_allows_is_stored_with_it(
    venue: Any, venue_account: models.VenueAccount
) -> None:
    row = prepare(venue_account, notional=Decimal(100))
    brackets = market.read_brackets(models.Instrument.objects.get(venue=VENUE, symbol=SYMBOL))
    ratio = brackets[0].maintenance_ratio
    # A short is liquidated first; a first bracket has no maintenance amount.
    exact = (Decimal(1) / 3 - ratio) / (1 + ratio) / 2
    assert exact - Decimal("1e-8") < row.max_stop_ratio <= exact
    assert prepare(venue_account, leverage=2).max_stop_ratio > Decimal("0.24")
    tight = prepare(venue_account, leverage=50)
    assert Decimal("0.02") <= tight.max_stop_ratio < Decimal("0.022")


def test_without_brackets_nothing_is_set(venue: Any, venue_account: models.VenueAccount) -> None:
    refresh()
    models.Instrument.objects.update(brackets=[])
    with pytest.raises(market.BracketUnknown):
        prepare(venue_account)
    assert not models.VenueSetting.objects.exists()
    assert not any(entry["method"] == "POST" for entry in venue.requests)


def test_a_stop_too_far_for_any_leverage_is_refused(venue: Any, venue_account: models.VenueAccount) -> None:
    with pytest.raises(market.LeverageUnsafe):
        prepare(venue_account, stop_ratio=Decimal("0.6"))
    assert not models.VenueSetting.objects.exists()


def test_settings_the_venue_does_not_take_are_not_stored(
    venue: Any, venue_account: models.VenueAccount
) -> None:
    venue.faults.add({"kind": "error_before", "method": "POST", "path": "/fapi/v1/leverage", "status": 503})
    with pytest.raises(VenueUnavailable) as caught:
        prepare(venue_account)
    assert caught.value.cause is Cause.HTTP
    assert not models.VenueSetting.objects.exists()
    venue.engine.state.dual_side = True
    venue.faults.add(
        {
            "kind": "error_before",
            "method": "POST",
            "path": "/fapi/v1/positionSide/dual",
            "status": 400,
            "code": -4059,
            "text": "No need to change position side.",
        }
    )
    with pytest.raises(market.SettingsNotTaken, match="one-way"):
        prepare(venue_account)
    row = models.VenueSetting.objects.get()
    assert (row.is_one_way, row.is_single_asset, row.margin_mode) == (False, True, "isolated")
    assert row.max_stop_ratio is None


def test_what_is_read_back_otherwise_replaces_what_was_known(
    venue: Any, venue_account: models.VenueAccount
) -> None:
    first, other = prepare(venue_account), prepare(venue_account, symbol="BTCUSDT")
    assert (first.is_one_way, first.is_single_asset) == (True, True)
    venue.engine.state.multi_assets = True
    refusal = {"method": "POST", "path": "/fapi/v1/multiAssetsMargin", "status": 400, "code": -4171}
    venue.faults.add({"kind": "error_before", **refusal})
    with pytest.raises(market.SettingsNotTaken, match="single-asset"):
        prepare(venue_account)
    first.refresh_from_db()
    other.refresh_from_db()
    assert (first.is_single_asset, first.max_stop_ratio) == (False, None)
    # The mode is the account's: the other symbol has it too.
    assert (other.is_one_way, other.is_single_asset) == (True, False)
    venue.faults.clear()
    again = prepare(venue_account)
    assert (again.is_single_asset, again.max_stop_ratio is None) == (True, False)


def test_settings_that_a_venue_fails_on_the_way_are_forgotten(
    venue: Any, venue_account: models.VenueAccount
) -> None:
    prepare(venue_account)
    venue.faults.add({"kind": "lost_answer", "method": "POST", "path": "/fapi/v1/leverage"})
    with pytest.raises(VenueUnavailable):
        prepare(venue_account, leverage=2)
    assert not models.VenueSetting.objects.exists()
    assert venue.engine.state.settings[SYMBOL].leverage == 2


def test_a_probe_of_a_healthy_venue_answers_everything(venue: Any) -> None:
    found = market.probe_venue(venue=VENUE, account=ACCOUNT)
    assert [item.error for item in found.items] == [""] * len(found.items)


def test_a_probe_without_keys_or_venue_names_the_cause(
    venue: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    close_gateways()
    monkeypatch.delenv("BINANCE_API_SECRET")
    found = market.probe_venue(venue=VENUE, account=ACCOUNT)
    assert not found.is_reachable
    assert found["reachable"].cause is Cause.AUTH
    assert "BINANCE_API_SECRET is not set" in found["reachable"].error
    monkeypatch.setenv("BINANCE_API_SECRET", "secret")
    settings.SIMULATED_VENUES = {VENUE: "http://127.0.0.1:9"}
    close_gateways()
    found = market.probe_venue(venue=VENUE, account=ACCOUNT)
    assert found["reachable"].cause is Cause.REFUSED
    assert found["order_path"].depends_on == "reachable"


def test_a_venue_that_lacks_a_required_capability_is_not_used(
    venue: Any, tmp_path: Path, settings: Any
) -> None:
    shipped: Callable[[], str] = (django_settings.CONFIG_DIR / "venues.yaml").read_text
    text = shipped().replace("[test_order, closing_stop]", "[attached_protection]")
    (tmp_path / "venues.yaml").write_text(text)
    settings.CONFIG_DIR = tmp_path
    close_gateways()
    with pytest.raises(VenueError) as caught:
        refresh()
    assert caught.value.code == "venue_incapable"
