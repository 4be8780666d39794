"""The market clock, instruments and prices, as last read."""

from django.db import models
from django.db.models import Q

from trading.models.accounts import VenueAccount
from trading.models.fields import Money


class MarketClock(models.Model):
    """The one row that defines market time in paper; writer: trading.services."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    anchor_at = models.DateTimeField()
    started_at = models.DateTimeField()
    speed = models.PositiveIntegerField()
    paused = models.BooleanField()
    seen_at = models.DateTimeField()
    candle_set = models.CharField(max_length=200)

    class Meta:
        constraints = (models.CheckConstraint(name="marketclock_single", condition=Q(id=1)),)

    def __str__(self) -> str:
        return f"market clock at {self.speed}x"


class Instrument(models.Model):
    """A venue's filters for one symbol, as last read."""

    venue = models.SlugField(max_length=20)
    symbol = models.CharField(max_length=20)
    base = models.CharField(max_length=12)
    is_trading = models.BooleanField()
    tick_size = Money()
    lot_size = Money()
    min_quantity = Money()
    max_quantity = Money()
    max_market_quantity = Money()
    min_notional = Money()
    min_price = Money()
    max_price = Money()
    delists_at = models.DateTimeField(null=True)
    max_conditional_orders = models.PositiveSmallIntegerField(null=True)
    # [{notional_cap, maintenance_ratio, maintenance_amount, max_leverage}], ascending; strings
    brackets = models.JSONField(default=list)
    read_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(name="instrument_once", fields=("venue", "symbol")),)

    def __str__(self) -> str:
        return f"{self.symbol}@{self.venue}"


class VenueSetting(models.Model):
    """Leverage and margin mode of a symbol as last set and read back at the venue.

    `max_stop_ratio` is half the distance to liquidation under that leverage, as a share of entry:
    no stop may be farther away (RISK.md 3.8). Null is not known and denies entries.
    """

    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="settings")
    symbol = models.CharField(max_length=20)
    leverage = models.PositiveSmallIntegerField()
    margin_mode = models.CharField(max_length=10)
    max_stop_ratio = models.DecimalField(max_digits=12, decimal_places=8, null=True)
    is_one_way = models.BooleanField(null=True)
    is_single_asset = models.BooleanField(null=True)
    read_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(name="venuesetting_once", fields=("venue_account", "symbol")),)

    def __str__(self) -> str:
        return f"{self.symbol} {self.leverage}x {self.margin_mode}"


class MarketPrice(models.Model):
    """The latest prices of a symbol at a venue; `at` and `read_market_at` are market time."""

    venue = models.SlugField(max_length=20)
    symbol = models.CharField(max_length=20)
    mark = Money()
    last = Money()
    index = Money()
    bid = Money()
    ask = Money()
    bid_quantity = Money(null=True)
    ask_quantity = Money(null=True)
    reference = Money(null=True)
    funding_rate = models.DecimalField(max_digits=12, decimal_places=8, null=True)
    funding_at = models.DateTimeField(null=True)
    at = models.DateTimeField()
    read_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(name="marketprice_once", fields=("venue", "symbol")),)

    def __str__(self) -> str:
        return f"{self.symbol}@{self.venue} {self.mark}"


class Candle(models.Model):
    """One closed bar of a symbol at a venue; `open_at` is market time. Writer: trading.candles."""

    venue = models.SlugField(max_length=20)
    symbol = models.CharField(max_length=20)
    interval = models.CharField(max_length=4)
    open_at = models.DateTimeField()
    open = Money()
    high = Money()
    low = Money()
    close = Money()
    volume = Money()

    class Meta:
        constraints = (
            models.UniqueConstraint(name="candle_once", fields=("venue", "symbol", "interval", "open_at")),
        )

    def __str__(self) -> str:
        return f"{self.symbol}@{self.venue} {self.interval} {self.open_at}"
