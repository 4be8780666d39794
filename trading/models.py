"""Rows of facts: accounts, instruments, intents, orders, fills, positions, trades, equity.

Money is numeric(28,10). `market` times are the venue's clock, `wall` times the database's.
OrderEvent, Fill, Income and EquitySample are append-only (triggers and grants).
"""

import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from trading.core.values import (
    Environment,
    IntentState,
    OrderPurpose,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
    TradingStateName,
)


def _choices(enum: type) -> list[tuple[str, str]]:
    return [(member.value, member.value) for member in enum]  # type: ignore[attr-defined]


class Money(models.DecimalField):  # type: ignore[type-arg]
    """numeric(28,10): USDT, prices and base quantities."""

    def __init__(self, **kwargs: object) -> None:
        kwargs.setdefault("max_digits", 28)
        kwargs.setdefault("decimal_places", 10)
        super().__init__(**kwargs)  # type: ignore[arg-type]


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


class Account(models.Model):
    """One desk account; it has 1-n venue accounts."""

    name = models.SlugField(max_length=40, unique=True)
    environment = models.CharField(max_length=8, choices=_choices(Environment))
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class VenueAccount(models.Model):
    """An account's place at one venue; priority 0 is the primary."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="venue_accounts")
    venue = models.SlugField(max_length=20)
    priority = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(name="venueaccount_once", fields=("account", "venue")),
            models.UniqueConstraint(name="venueaccount_priority_once", fields=("account", "priority")),
        )

    def __str__(self) -> str:
        return f"{self.account.name}@{self.venue}"


class StrategyAssignment(models.Model):
    """Which strategy trades which symbols on which account: the allow-list."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="assignments")
    strategy = models.SlugField(max_length=40)
    symbols = models.JSONField()
    enabled = models.BooleanField(default=True)

    class Meta:
        constraints = (models.UniqueConstraint(name="assignment_once", fields=("account", "strategy")),)

    def __str__(self) -> str:
        return f"{self.strategy} on {self.account.name}"


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
    # [{notional_cap, maintenance_ratio, maintenance_amount, max_leverage}], ascending; strings
    brackets = models.JSONField(default=list)
    read_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(name="instrument_once", fields=("venue", "symbol")),)

    def __str__(self) -> str:
        return f"{self.symbol}@{self.venue}"


class VenueSetting(models.Model):
    """Leverage and margin mode of a symbol as last set and read back at the venue."""

    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="settings")
    symbol = models.CharField(max_length=20)
    leverage = models.PositiveSmallIntegerField()
    margin_mode = models.CharField(max_length=10)
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
    at = models.DateTimeField()
    read_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(name="marketprice_once", fields=("venue", "symbol")),)

    def __str__(self) -> str:
        return f"{self.symbol}@{self.venue} {self.mark}"


class TradingState(models.Model):
    """Latched state of one scope. A scope without a row is HALTED. Writer: risk.services."""

    scope = models.CharField(max_length=60, unique=True)
    state = models.CharField(max_length=8, choices=_choices(TradingStateName))
    version = models.BigIntegerField(default=1)
    reason = models.TextField()
    source = models.CharField(max_length=40)
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.CheckConstraint(name="tradingstate_known", condition=Q(state__in=[s.value for s in TradingStateName])),
        )

    def __str__(self) -> str:
        return f"{self.scope} {self.state}"


class Permit(models.Model):
    """The right of one account to trade with one limit set; a lease renewed by the guard.

    Writer: golive.services. `limit_set_digest` names the limits; a newer permit has a higher
    fencing token and at most one is active per account.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="permits")
    kind = models.CharField(max_length=8, choices=[("PAPER", "PAPER"), ("LIVE", "LIVE")])
    environment = models.CharField(max_length=8, choices=_choices(Environment))
    profile = models.CharField(max_length=10)
    limit_set_digest = models.CharField(max_length=64)
    fencing_token = models.BigIntegerField(unique=True)
    active = models.BooleanField()
    lease_expires_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    end_reason = models.TextField(blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(name="permit_one_active", fields=("account",), condition=Q(active=True)),
            models.CheckConstraint(name="permit_paper_only", condition=~Q(kind="PAPER") | Q(environment="paper")),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.profile} for {self.account.name}"


class OrderIntent(models.Model):
    """A request before judgement, and what became of it.

    Committed with its client order id before anything leaves (law 4). `valid_until` is wall time.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="intents")
    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="intents")
    strategy = models.SlugField(max_length=40)
    symbol = models.CharField(max_length=20)
    side = models.CharField(max_length=4, choices=_choices(Side))
    order_type = models.CharField(max_length=20, choices=_choices(OrderType))
    time_in_force = models.CharField(max_length=10, choices=_choices(TimeInForce), default=TimeInForce.GTC)
    purpose = models.CharField(max_length=12, choices=_choices(OrderPurpose))
    quantity = Money()
    price = Money(null=True)
    stop_loss = Money(null=True)
    take_profit = Money(null=True)
    reduce_only = models.BooleanField()
    signal_at = models.DateTimeField()
    client_ref = models.CharField(max_length=64)
    body_digest = models.CharField(max_length=64)
    source = models.CharField(max_length=40)
    state = models.CharField(max_length=10, choices=_choices(IntentState), default=IntentState.PROPOSED)
    version = models.BigIntegerField(default=1)
    decision_id = models.BigIntegerField(null=True, unique=True)
    fencing_token = models.BigIntegerField(null=True)
    limit_set_digest = models.CharField(max_length=64, blank=True)
    valid_until = models.DateTimeField(null=True)
    market_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(name="intent_client_ref_once", fields=("account", "client_ref")),
            models.CheckConstraint(name="intent_quantity_positive", condition=Q(quantity__gt=0)),
            models.CheckConstraint(
                name="intent_approved_has_decision",
                condition=~Q(state__in=["approved", "dispatched"]) | Q(decision_id__isnull=False),
            ),
        )
        indexes = (
            models.Index(
                name="intent_open",
                fields=("account", "state"),
                condition=Q(state__in=["proposed", "approved", "dispatched"]),
            ),
            models.Index(name="intent_recent", fields=("-created_at",)),
        )

    def __str__(self) -> str:
        return f"{self.purpose} {self.side} {self.quantity} {self.symbol}"


class Order(models.Model):
    """An order that reached the door; committed as SENDING before the request leaves."""

    intent = models.ForeignKey(OrderIntent, on_delete=models.PROTECT, related_name="orders")
    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="orders")
    symbol = models.CharField(max_length=20)
    client_order_id = models.CharField(max_length=32, unique=True)
    venue_order_id = models.CharField(max_length=40, blank=True)
    executed_by = models.CharField(max_length=40, blank=True)
    purpose = models.CharField(max_length=12, choices=_choices(OrderPurpose))
    side = models.CharField(max_length=4, choices=_choices(Side))
    order_type = models.CharField(max_length=20, choices=_choices(OrderType))
    time_in_force = models.CharField(max_length=10, choices=_choices(TimeInForce), default=TimeInForce.GTC)
    quantity = Money(null=True)
    price = Money(null=True)
    trigger_price = Money(null=True)
    reduce_only = models.BooleanField()
    close_position = models.BooleanField(default=False)
    state = models.CharField(max_length=12, choices=_choices(OrderState), default=OrderState.SENDING)
    version = models.BigIntegerField(default=1)
    filled_quantity = Money(default=0)
    average_price = Money(null=True)
    venue_code = models.CharField(max_length=20, blank=True)
    lookups = models.PositiveSmallIntegerField(default=0)
    market_at = models.DateTimeField()
    sent_at = models.DateTimeField(db_default=Now())
    verified_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="order_only_entries_add_risk",
                condition=Q(purpose="entry") | Q(reduce_only=True) | Q(close_position=True),
            ),
            models.CheckConstraint(name="order_filled_not_negative", condition=Q(filled_quantity__gte=0)),
        )
        indexes = (
            models.Index(
                name="order_unsettled",
                fields=("venue_account", "symbol"),
                condition=Q(state__in=["sending", "unknown", "open"]),
            ),
            models.Index(name="order_venue_id", fields=("venue_account", "venue_order_id")),
        )

    def __str__(self) -> str:
        return f"{self.client_order_id} {self.state}"


class OrderEvent(models.Model):
    """Append-only history of an order's states."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="events")
    state = models.CharField(max_length=12, choices=_choices(OrderState))
    venue_code = models.CharField(max_length=20, blank=True)
    detail = models.TextField(blank=True)
    market_at = models.DateTimeField()
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.state} at {self.at}"


class Fill(models.Model):
    """Append-only: one execution. `order` is null for a fill of an order that is not ours."""

    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="fills")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, null=True, related_name="fills")
    symbol = models.CharField(max_length=20)
    venue_fill_id = models.CharField(max_length=40)
    venue_order_id = models.CharField(max_length=40)
    side = models.CharField(max_length=4, choices=_choices(Side))
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
                condition=(Q(quantity=0) & Q(entry_price__isnull=True)) | (~Q(quantity=0) & Q(entry_price__isnull=False)),
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
    side = models.CharField(max_length=4, choices=_choices(Side))
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
            models.CheckConstraint(name="trade_ends_after_start", condition=Q(closed_at__isnull=True) | Q(closed_at__gte=F("opened_at"))),
        )
        indexes = (models.Index(name="trade_closed", fields=("venue_account", "-closed_at")),)

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


class ReconciliationRun(models.Model):
    """One comparison of our book with the venue's; `differences` explains each mismatch."""

    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="reconciliations")
    clean = models.BooleanField()
    adopted_fills = models.PositiveIntegerField(default=0)
    differences = models.JSONField(default=list)
    market_at = models.DateTimeField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(name="reconciliation_recent", fields=("venue_account", "-finished_at")),)

    def __str__(self) -> str:
        return f"{'clean' if self.clean else 'mismatch'} at {self.finished_at}"


class CycleRun(models.Model):
    """One trading cycle of one account for one market bar; the row is the claim (no bar twice)."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="cycles")
    bar_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=[("running", "running"), ("done", "done"), ("failed", "failed")])
    detail = models.JSONField(default=dict)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(name="cycle_once_a_bar", fields=("account", "bar_at")),)

    def __str__(self) -> str:
        return f"{self.account.name} {self.bar_at}"


class Heartbeat(models.Model):
    """When a process last showed life; `name` is worker, beat, guard or venue:NAME."""

    name = models.CharField(max_length=60, primary_key=True)
    beat_at = models.DateTimeField()
    detail = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.name} at {self.beat_at}"
