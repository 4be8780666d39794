"""Limits, decisions, the book's version, overrides, correlations, allotments, global risk.

LimitSet, Decision and ExposureLimits are append-only (triggers and grants): they are evidence.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from risk.core.values import RiskLevel
from risk.models.fields import Ratio
from trading.models import Account, Money, OrderIntent
from trading.models.fields import choices


class LimitSet(models.Model):
    """Append-only: one profile's limits as loaded; the digest names them for ever.

    Columns are the fields of risk.core.values.Limits; ages are durations.
    """

    digest = models.CharField(max_length=64, unique=True)
    profile = models.CharField(max_length=10)
    reference_capital = Money()
    max_position_notional = Money()
    max_leverage = Ratio()
    max_trade_risk_ratio = Ratio()
    max_portfolio_risk_ratio = Ratio()
    max_daily_loss_ratio = Ratio()
    max_weekly_loss_ratio = Ratio()
    max_positions = models.PositiveSmallIntegerField()
    max_trades_per_day = models.PositiveIntegerField()
    max_margin_ratio = Ratio()
    max_symbol_share_ratio = Ratio()
    min_stop_ratio = Ratio()
    max_stop_ratio = Ratio()
    min_target_ratio = Ratio()
    max_target_ratio = Ratio()
    collar_ratio = Ratio()
    passive_collar_ratio = Ratio()
    taker_fee_ratio = Ratio()
    major_slippage_ratio = Ratio()
    other_slippage_ratio = Ratio()
    max_orders_per_minute = models.PositiveIntegerField()
    max_gross_exposure = Money()
    max_net_exposure = Money()
    max_bet_risk_ratio = Ratio()
    bet_correlation = Ratio()
    max_rolling_move_ratio = Ratio()
    max_divergence_ratio = Ratio()
    max_spread_ratio = Ratio()
    max_depth_share_ratio = Ratio()
    max_funding_ratio = Ratio()
    max_maintenance_ratio = Ratio()
    major_gap_ratio = Ratio()
    other_gap_ratio = Ratio()
    max_repeats = models.PositiveIntegerField()
    repeat_window = models.DurationField()
    funding_window = models.DurationField()
    delisting_window = models.DurationField()
    max_capital_loss_ratio = Ratio()
    max_daily_drawdown_ratio = Ratio()
    max_price_age = models.DurationField()
    max_book_price_age = models.DurationField()
    max_signal_age = models.DurationField()
    max_balance_age = models.DurationField()
    max_reconciliation_age = models.DurationField()
    max_setting_age = models.DurationField()
    max_global_risk_age = models.DurationField()
    loaded_by = models.CharField(max_length=120)
    loaded_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.profile} {self.digest[:12]}"


class Decision(models.Model):
    """Append-only evidence: what was asked, what was known and what each rule said.

    `breaches`, `outcomes` and `inputs` are JSON texts as written; `inputs` holds everything that
    `gate.decide` needs besides the limit set, so that the answer can be given again.
    """

    intent = models.OneToOneField(OrderIntent, on_delete=models.PROTECT, related_name="decision")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="decisions")
    allowed = models.BooleanField()
    reason = models.CharField(max_length=40)
    breaches = models.TextField()
    outcomes = models.TextField()
    inputs = models.TextField()
    max_quantity = Money()
    # What was asked for and what the decision is about: less where the strategy may be resized.
    requested_quantity = Money()
    quantity = Money()
    # The override without which this would have been denied; 0 is none.
    override_id = models.BigIntegerField(default=0)
    account_version = models.BigIntegerField()
    limit_set_digest = models.CharField(max_length=64, blank=True)
    code_version = models.CharField(max_length=64)
    market_at = models.DateTimeField()
    decided_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="decision_reason_says_allowed",
                condition=Q(allowed=True, reason="none") | (Q(allowed=False) & ~Q(reason="none")),
            ),
        )
        indexes = (
            models.Index(name="decision_recent", fields=("account", "-id")),
            # For the page of what was denied; an allowed order does not pay for it.
            models.Index(name="decision_denied", fields=("-id",), condition=models.Q(allowed=False)),
        )

    def __str__(self) -> str:
        return f"decision {self.pk}: {'allowed' if self.allowed else self.reason}"


class AccountBook(models.Model):
    """The version of an account's book: every approval that reserves headroom swaps it."""

    account = models.OneToOneField(Account, on_delete=models.PROTECT, primary_key=True, related_name="book")
    version = models.BigIntegerField(default=1)

    def __str__(self) -> str:
        return f"book of {self.account_id} at {self.version}"


class Activity(models.Model):
    """How often a strategy entered a symbol since the window began, and whether it is throttled.

    Written in the statement that approves; only a person re-enables (RTS 6 art. 15). `window_started_at`
    and `last_signal_at` are market time, `throttled_at` is wall time.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="activities")
    strategy = models.SlugField(max_length=40)
    symbol = models.CharField(max_length=20)
    entries = models.PositiveIntegerField(default=0)
    window_started_at = models.DateTimeField(null=True)
    throttled_at = models.DateTimeField(null=True)
    last_signal_at = models.DateTimeField(null=True)
    last_side = models.CharField(max_length=4, blank=True)

    class Meta:
        verbose_name_plural = "activities"
        constraints = (
            models.UniqueConstraint(name="activity_once", fields=("account", "strategy", "symbol")),
        )

    def __str__(self) -> str:
        return f"{self.strategy} {self.symbol}: {self.entries}"


class Override(models.Model):
    """One limit of one account raised to a stated value, for one order or until it expires (wall time).

    `max_uses` null is a window. Writer: risk.overrides; `used` is counted by the approving statement.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="overrides")
    request_id = models.UUIDField(unique=True)
    limit = models.CharField(max_length=40)
    value = Money()
    max_uses = models.PositiveSmallIntegerField(null=True)
    used = models.PositiveSmallIntegerField(default=0)
    reason = models.TextField()
    requested_by = models.CharField(max_length=150)
    approved_by = models.CharField(max_length=150)
    starts_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=150, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="override_used_at_most",
                condition=Q(max_uses__isnull=True) | Q(used__lte=models.F("max_uses")),
            ),
            models.CheckConstraint(
                name="override_ends_after_start", condition=Q(expires_at__gt=models.F("starts_at"))
            ),
        )
        indexes = (
            models.Index(name="override_open", fields=("account",), condition=Q(ended_at__isnull=True)),
        )

    def __str__(self) -> str:
        return f"{self.limit} raised to {self.value}"


class Correlation(models.Model):
    """Correlation of two underlyings' hourly log closes, as last computed; `first` < `second`.

    `value` null is unknown. `computed_at` is market time, the close of the last hour used.
    """

    first = models.CharField(max_length=20)
    second = models.CharField(max_length=20)
    value = Ratio(null=True)
    samples = models.PositiveIntegerField()
    computed_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(name="correlation_once", fields=("first", "second")),
            models.CheckConstraint(name="correlation_in_order", condition=Q(first__lt=models.F("second"))),
        )

    def __str__(self) -> str:
        return f"{self.first} {self.second} {self.value}"


class Allotment(models.Model):
    """An account's part of a limit that spans accounts; the parts of a scope never exceed the limit.

    Scopes: all, venue:V, strategy:S, symbol:X. Writer: risk.allotments, which bumps the account's book.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="allotments")
    scope = models.CharField(max_length=60)
    max_notional = Money()
    exposure_digest = models.CharField(max_length=64)
    divided_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(name="allotment_once", fields=("account", "scope")),)

    def __str__(self) -> str:
        return f"{self.scope}: {self.max_notional}"


class ExposureLimits(models.Model):
    """Append-only: the limits that span accounts, as loaded; the newest is in force.

    `body` is canonical JSON of {limits by scope, defaults by kind of scope} in USDT of gross notional.
    """

    digest = models.CharField(max_length=64, unique=True)
    body = models.TextField()
    loaded_by = models.CharField(max_length=120)
    loaded_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "exposure limits"

    def __str__(self) -> str:
        return self.digest[:12]


class GlobalRisk(models.Model):
    """One stretch of time in which level and reasons were the same; the newest is the current one.

    `inputs` are those of the last check.
    """

    level = models.CharField(max_length=8, choices=choices(RiskLevel))
    reasons = models.JSONField(default=list)
    inputs = models.JSONField(default=dict)
    since_at = models.DateTimeField(db_default=Now())
    checked_at = models.DateTimeField(db_default=Now())
    market_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="globalrisk_known", condition=Q(level__in=[level.value for level in RiskLevel])
            ),
        )

    def __str__(self) -> str:
        return f"global risk {self.level}"
