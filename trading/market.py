"""What is read from venues and kept: instruments, prices, settings; and what a venue is worth now."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from django.conf import settings
from django.db import transaction
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
from trading.core.reference import SEED_BARS, WINDOW, average_closes, roll_reference
from trading.venue_config import VenueConfig, VenueTerms, load_venue_config
from trading.venues import open_gateway
from trading.venues.gateway import (
    AccountMode,
    Cause,
    Gateway,
    SymbolSettings,
    VenueError,
    VenueUnavailable,
)
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
    "get_key_fingerprint",
    "get_or_refresh_instrument",
    "load_venue_config",
    "prepare_symbol",
    "probe_venue",
    "refresh_instruments",
    "refresh_prices",
]

logger = logging.getLogger(__name__)

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
    """Read and store the prices of the symbols, dated by the venue, with the rolling average of mark.

    A symbol that the venue does not quote is absent; raises VenueUnavailable if none is quoted.
    """
    if not symbols:
        return {}
    gateway = _open(venue, account)
    found = gateway.fetch_prices(symbols)
    if not found:
        raise VenueUnavailable(f"{venue}: does not quote {', '.join(symbols)}", cause=Cause.VENUE)
    prices = _add_references(gateway, found, selectors.list_prices(venue, symbols))
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


def _add_references(
    gateway: Gateway, found: Mapping[str, values.Prices], before: Mapping[str, values.Prices]
) -> dict[str, values.Prices]:
    """Roll each symbol's average on; where there is none to roll it is read from the venue's candles.

    A venue that does not give them is not asked again until the next look: the rest stays unknown.
    """
    prices: dict[str, values.Prices] = {}
    gives_bars = True
    for symbol, price in found.items():
        known = before.get(symbol)
        average = None
        if known is not None:
            average = roll_reference(known.reference, known.at, price.mark, price.at, WINDOW)
        if average is None and gives_bars:
            try:
                # One bar is forming, and one may lie between the two dates.
                bars = gateway.fetch_bars(symbol, "1m", SEED_BARS + 2)
                average = average_closes(bars, price.at)
            except VenueError as error:
                logger.warning("%s: no average price: %s", symbol, error)
                gives_bars = False
        prices[symbol] = replace(price, reference=average)
    return prices


def get_key_fingerprint(*, venue: str, account: str) -> str:
    """Which key the account has at the venue, as a fingerprint; raises VenueError."""
    return _open(venue, account).key_fingerprint


def fetch_bars(
    *, venue: str, account: str, symbol: str, interval: str, limit: int, since: datetime | None = None
) -> tuple[values.Bar, ...]:
    """The latest candles, or the first from a time on; ascending. The last one may be unfinished.

    Raises VenueError.
    """
    return _open(venue, account).fetch_bars(symbol, interval, limit, since=since)


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
    it; with settings other than asked for none is, so that the gate denies. Where the venue fails on
    the way, what was known is forgotten. Raises BracketUnknown, LeverageUnsafe, SettingsNotTaken,
    VenueError.
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
    mode, found = _set_and_read_back(venue_account, symbol, chosen)
    asked = (True, True, chosen, True, False)
    have = (
        mode.is_one_way,
        mode.is_single_asset,
        found.leverage,
        found.is_isolated,
        found.is_auto_add_margin,
    )
    largest_stop = _measure_max_stop(brackets, largest, chosen) if have == asked else None
    row = _store_setting(venue_account, mode, found, largest_stop)
    if have != asked:
        raise SettingsNotTaken(
            f"{symbol}@{venue_account.venue}: asked for (one-way, single-asset, leverage, isolated,"
            f" auto-add margin) {asked}, read back {have}"
        )
    return row


def _set_and_read_back(
    venue_account: models.VenueAccount, symbol: str, leverage: int
) -> tuple[AccountMode, SymbolSettings]:
    """What the venue reads back; where it fails its settings are unknown, whatever was read before."""
    try:
        gateway = _open(venue_account.venue, venue_account.account.name)
        return gateway.ensure_account_mode(), gateway.ensure_symbol_settings(symbol, leverage, isolated=True)
    except VenueError:
        with transaction.atomic(durable=True):
            models.VenueSetting.objects.filter(venue_account=venue_account, symbol=symbol).delete()
        raise


def _store_setting(
    venue_account: models.VenueAccount,
    mode: AccountMode,
    found: SymbolSettings,
    max_stop_ratio: Decimal | None,
) -> models.VenueSetting:
    """Committed at once, whatever the caller does next: the gate must judge by what the venue has now."""
    modes = {"is_one_way": mode.is_one_way, "is_single_asset": mode.is_single_asset}
    with transaction.atomic(durable=True):
        # They are the account's, so that the other symbols have them too.
        models.VenueSetting.objects.filter(venue_account=venue_account).exclude(**modes).update(**modes)
        row, _ = models.VenueSetting.objects.update_or_create(
            venue_account=venue_account,
            symbol=found.symbol,
            defaults={
                "leverage": found.leverage,
                "margin_mode": "isolated" if found.is_isolated else "cross",
                "max_stop_ratio": max_stop_ratio,
                "read_at": Now(),
                **modes,
            },
        )
        row.refresh_from_db()
    return row


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
