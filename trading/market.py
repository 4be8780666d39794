"""What is read from venues and kept: instruments, prices, settings; and what a venue is worth now."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from django.conf import settings
from django.db.models.functions import Now

from controlplane.errors import Conflict, NotFound, Unavailable
from trading import models, selectors
from trading.core import values
from trading.core.margin import (
    SAFETY_MULTIPLE,
    Bracket,
    choose_leverage,
    find_bracket,
    liquidation_distance_ratio,
)
from trading.venue_config import VenueConfig, VenueTerms, load_venue_config
from trading.venues import open_gateway
from trading.venues.gateway import Cause, Gateway, VenueError, VenueUnavailable
from trading.venues.probe import ProbeItem, VenueProbe, describe_unopened, probe_gateway

__all__ = [
    "BracketUnknown",
    "LeverageUnsafe",
    "ProbeItem",
    "SettingsNotTaken",
    "VenueConfig",
    "VenueProbe",
    "VenueTerms",
    "fetch_bars",
    "get_or_refresh_instrument",
    "load_venue_config",
    "prepare_symbol",
    "probe_venue",
    "refresh_instruments",
    "refresh_prices",
]

INSTRUMENTS_LIVE_FOR = timedelta(minutes=10)
RATIO_PLACES = Decimal("1e-8")


class BracketUnknown(Unavailable):
    """The venue's margin brackets of a symbol are not known, so no leverage is safe."""

    code = "bracket_unknown"


class LeverageUnsafe(Conflict):
    """No leverage keeps liquidation at twice the stop distance."""

    code = "leverage_unsafe"


class SettingsNotTaken(Conflict):
    """The venue reads back other settings than were asked for."""

    code = "settings_not_taken"


# Instruments and prices ---------------------------------------------------------------------------


def refresh_instruments(*, venue: str, account: str, market_at: datetime) -> int:
    """Read every instrument of a venue and store it; returns how many. Raises VenueError."""
    found = _open(venue, account).load_instruments(market_at)
    rows = [
        models.Instrument(
            **{name: getattr(instrument, name) for name in _INSTRUMENT_FIELDS},
            brackets=[_encode_bracket(bracket) for bracket in brackets],
            read_at=Now(),
        )
        for instrument, brackets in found
    ]
    models.Instrument.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["venue", "symbol"],
        update_fields=[*(name for name in _INSTRUMENT_FIELDS if name not in {"venue", "symbol"}), *_READ],
    )
    return len(rows)


_INSTRUMENT_FIELDS = tuple(values.Instrument.__dataclass_fields__)
_READ = ("brackets", "read_at")


def _encode_bracket(bracket: Bracket) -> dict[str, str | int]:
    return {
        "notional_cap": str(bracket.notional_cap),
        "maintenance_ratio": str(bracket.maintenance_ratio),
        "maintenance_amount": str(bracket.maintenance_amount),
        "max_leverage": bracket.max_leverage,
    }


def read_brackets(row: models.Instrument) -> tuple[Bracket, ...]:
    """The stored margin brackets, ascending; () where the venue gave none."""
    return tuple(
        Bracket(
            notional_cap=Decimal(item["notional_cap"]),
            maintenance_ratio=Decimal(item["maintenance_ratio"]),
            maintenance_amount=Decimal(item["maintenance_amount"]),
            max_leverage=item["max_leverage"],
        )
        for item in row.brackets
    )


def get_or_refresh_instrument(*, venue_account: models.VenueAccount, symbol: str) -> values.Instrument:
    """The instrument, read again from the venue where unknown or no longer fresh. Raises NotFound."""
    clocks = selectors.get_clocks()
    row = selectors.get_instrument_row(venue_account.venue, symbol)
    if row is None or clocks.wall_at - row.read_at > INSTRUMENTS_LIVE_FOR:
        refresh_instruments(
            venue=venue_account.venue, account=venue_account.account.name, market_at=clocks.market_at
        )
    instrument = selectors.get_instrument(venue_account.venue, symbol)
    if instrument is None:
        raise NotFound(f"symbol: {venue_account.venue} has no {symbol}", code="instrument_not_found")
    return instrument


def refresh_prices(*, venue: str, account: str, symbols: Sequence[str]) -> dict[str, values.Prices]:
    """Read and store the prices of the symbols, dated by the venue.

    A symbol that the venue does not quote is absent; raises VenueUnavailable if none is quoted.
    """
    if not symbols:
        return {}
    prices = _open(venue, account).fetch_prices(symbols)
    if not prices:
        raise VenueUnavailable(f"{venue}: does not quote {', '.join(symbols)}", cause=Cause.VENUE)
    models.MarketPrice.objects.bulk_create(
        [
            models.MarketPrice(
                venue=venue, read_at=Now(), **{name: getattr(price, name) for name in _PRICE_FIELDS}
            )
            for price in prices.values()
        ],
        update_conflicts=True,
        unique_fields=["venue", "symbol"],
        update_fields=[*(name for name in _PRICE_FIELDS if name != "symbol"), "read_at"],
    )
    return prices


_PRICE_FIELDS = tuple(values.Prices.__dataclass_fields__)


def fetch_bars(*, venue: str, account: str, symbol: str, interval: str, limit: int) -> tuple[values.Bar, ...]:
    """The latest candles, ascending; the last one may be unfinished. Raises VenueError."""
    return _open(venue, account).fetch_bars(symbol, interval, limit)


# Settings -----------------------------------------------------------------------------------------


def prepare_symbol(
    *,
    venue_account: models.VenueAccount,
    symbol: str,
    leverage: int,
    stop_ratio: Decimal,
    market_at: datetime,
    notional: Decimal | None = None,
) -> models.VenueSetting:
    """Set one-way, single-asset, isolated and a safe leverage; read all back; store it (RISK.md 3.8).

    `leverage` is the profile's; `notional` (USDT) the largest position intended, where absent the
    venue's first bracket is taken. The widest stop that the leverage read back allows is stored with
    it. Raises BracketUnknown, LeverageUnsafe, SettingsNotTaken, VenueError.
    """
    brackets = _get_brackets(venue_account, symbol)
    largest = brackets[0].notional_cap if notional is None else notional
    chosen = choose_leverage(
        brackets=brackets, notional=largest, stop_distance_ratio=stop_ratio, leverage_cap=leverage
    )
    if chosen is None:
        raise LeverageUnsafe(
            f"{symbol}@{venue_account.venue}: no leverage keeps liquidation at twice a stop"
            f" distance of {stop_ratio}"
        )
    taken = _set_and_read_back(venue_account, symbol, chosen)
    row, _ = models.VenueSetting.objects.update_or_create(
        venue_account=venue_account,
        symbol=symbol,
        defaults={
            "leverage": taken,
            "margin_mode": "isolated",
            "max_stop_ratio": _measure_max_stop(brackets, largest, taken),
            "read_at": Now(),
        },
    )
    row.refresh_from_db()
    return row


def _set_and_read_back(venue_account: models.VenueAccount, symbol: str, leverage: int) -> int:
    """The leverage that the venue reads back; raises SettingsNotTaken if anything is not as asked."""
    gateway = _open(venue_account.venue, venue_account.account.name)
    mode = gateway.ensure_account_mode()
    found = gateway.ensure_symbol_settings(symbol, leverage, isolated=True)
    asked = (True, True, leverage, True, False)
    have = (
        mode.is_one_way,
        mode.is_single_asset,
        found.leverage,
        found.is_isolated,
        found.is_auto_add_margin,
    )
    if have != asked:
        raise SettingsNotTaken(
            f"{symbol}@{venue_account.venue}: asked for (one-way, single-asset, leverage, isolated,"
            f" auto-add margin) {asked}, read back {have}"
        )
    return found.leverage


def _get_brackets(venue_account: models.VenueAccount, symbol: str) -> tuple[Bracket, ...]:
    get_or_refresh_instrument(venue_account=venue_account, symbol=symbol)
    row = selectors.get_instrument_row(venue_account.venue, symbol)
    brackets = () if row is None else read_brackets(row)
    if not brackets:
        raise BracketUnknown(f"{symbol}@{venue_account.venue}: no margin brackets")
    return brackets


def _measure_max_stop(brackets: Sequence[Bracket], notional: Decimal, leverage: int) -> Decimal | None:
    """Half the nearer side's liquidation distance, rounded down; None if no bracket holds the notional."""
    bracket = find_bracket(brackets, notional)
    if bracket is None:
        return None
    nearest = min(
        liquidation_distance_ratio(side=side, leverage=leverage, notional=notional, bracket=bracket)
        for side in values.Side
    )
    return (nearest / SAFETY_MULTIPLE).quantize(RATIO_PLACES, rounding=ROUND_DOWN)


# Probe --------------------------------------------------------------------------------------------


def probe_venue(*, venue: str, account: str, market_at: datetime | None = None) -> VenueProbe:
    """Ask a venue for everything the desk depends on; never raises VenueError, each item tells its own.

    Without `market_at` the desk's clocks are read.
    """
    try:
        gateway = _open(venue, account)
    except VenueError as error:
        return describe_unopened(venue=venue, account=account, error=error)
    return probe_gateway(
        gateway,
        venue=venue,
        account=account,
        environment=settings.TRADING_ENVIRONMENT,
        symbols=load_venue_config().symbols,
        market_at=market_at or selectors.get_clocks().market_at,
    )


def _open(venue: str, account: str) -> Gateway:
    return open_gateway(venue=venue, account=account, environment=settings.TRADING_ENVIRONMENT)
