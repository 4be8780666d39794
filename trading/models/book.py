"""Fills and what is folded from them: positions, trades, income, equity."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from trading.core.values import Side
from trading.models.accounts import VenueAccount
from trading.models.fields import Money, choices
from trading.models.orders import Order, OrderIntent


class Fill(models.Model):
    """Append-only: one execution. `order` is null for a fill of an order that is not ours."""

    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="fills")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, null=True, related_name="fills")
    symbol = models.CharField(max_length=20)
    venue_fill_id = models.CharField(max_length=40)
    venue_order_id = models.CharField(max_length=40)
    side = models.CharField(max_length=4, choices=choices(Side))
    quantity = Money()
    price = Money()
    fee = Money()
    fee_asset = models.CharField(max_length=10)
    realised_pnl = Money()
    is_maker = models.BooleanField()
    market_at = models.DateTimeField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(name="fill_once", fields=("venue_account", "symbol", "venue_fill_id")),
        )
        indexes = (models.Index(name="fill_recent", fields=("venue_account", "market_at")),)

    def __str__(self) -> str:
        return f"{self.side} {self.quantity} {self.symbol} at {self.price}"


class Income(models.Model):
    """Append-only: one row of the venue's income ledger (funding, transfers, insurance…)."""

    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="income")
    venue_income_id = models.CharField(max_length=60)
    kind = models.CharField(max_length=40)
    symbol = models.CharField(max_length=20, blank=True)
    amount = Money()
    market_at = models.DateTimeField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(name="income_once", fields=("venue_account", "kind", "venue_income_id")),
        )
        indexes = (
            models.Index(name="income_recent", fields=("venue_account", "-market_at")),
            models.Index(name="income_summed", fields=("venue_account", "id")),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.amount}"


class Position(models.Model):
    """Our book of one symbol at one venue account, folded from fills; 0 is flat. Writer: ledger."""

    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="positions")
    symbol = models.CharField(max_length=20)
    strategy = models.SlugField(max_length=40, blank=True)
    quantity = Money(default=0)
    entry_price = Money(null=True)
    entry_intent = models.ForeignKey(OrderIntent, on_delete=models.PROTECT, null=True, related_name="+")
    trade = models.ForeignKey("Trade", on_delete=models.PROTECT, null=True, related_name="+")
    unprotected_since = models.DateTimeField(null=True)
    version = models.BigIntegerField(default=1)
    opened_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(name="position_once", fields=("venue_account", "symbol")),
            models.CheckConstraint(
                name="position_flat_has_no_entry",
                condition=(Q(quantity=0) & Q(entry_price__isnull=True))
                | (~Q(quantity=0) & Q(entry_price__isnull=False)),
            ),
        )

    def __str__(self) -> str:
        return f"{self.symbol} {self.quantity}"


class Trade(models.Model):
    """One round trip, flat to flat, of one strategy; PnL net = gross - fees + funding.

    `risk_amount` is R at entry (RISK.md part 1), for results in units of R.
    """

    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="trades")
    strategy = models.SlugField(max_length=40)
    symbol = models.CharField(max_length=20)
    side = models.CharField(max_length=4, choices=choices(Side))
    entry_intent = models.ForeignKey(OrderIntent, on_delete=models.PROTECT, null=True, related_name="trades")
    max_quantity = Money()
    entry_quantity = Money(default=0)
    entry_price = Money()
    exit_price = Money(null=True)
    gross_pnl = Money(default=0)
    fees = Money(default=0)
    funding = Money(default=0)
    net_pnl = Money(null=True)
    risk_amount = Money(null=True)
    closed_by = models.CharField(max_length=12, blank=True)
    stop_verified_at = models.DateTimeField(null=True)
    target_verified_at = models.DateTimeField(null=True)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="trade_closed_has_result",
                condition=Q(closed_at__isnull=True) | Q(net_pnl__isnull=False, exit_price__isnull=False),
            ),
            models.CheckConstraint(
                name="trade_ends_after_start",
                condition=Q(closed_at__isnull=True) | Q(closed_at__gte=F("opened_at")),
            ),
        )
        indexes = (
            models.Index(name="trade_closed", fields=("venue_account", "-closed_at")),
            models.Index(name="trade_opened", fields=("venue_account", "-opened_at")),
        )

    def __str__(self) -> str:
        return f"{self.strategy} {self.symbol} {self.net_pnl}"


class EquitySample(models.Model):
    """Append-only: the venue's equity and our own mark-to-market at one moment."""

    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="equity_samples")
    wallet = Money()
    equity = Money()
    available = Money()
    initial_margin = Money()
    maintenance_margin = Money()
    own_equity = Money(null=True)
    net_flow = Money(default=0)
    market_at = models.DateTimeField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(name="equity_recent", fields=("venue_account", "-market_at")),)

    def __str__(self) -> str:
        return f"{self.equity} at {self.market_at}"
