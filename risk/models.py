"""Rows of judgement: limits, decisions, the book's version, global risk, emergency stops.

LimitSet and Decision are append-only (triggers and grants): they are evidence.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from risk.core.emergency_stop import StepAction, StepStatus, StopProgress, StopSource
from risk.core.values import RiskLevel
from trading.models import Account, Money, OrderIntent
from trading.models.fields import choices


class Ratio(models.DecimalField):  # type: ignore[type-arg]
    """numeric(12,8): 0.02 is 2 %."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**{"max_digits": 12, "decimal_places": 8, **kwargs})  # type: ignore[arg-type]


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
        indexes = (models.Index(name="decision_recent", fields=("account", "-id")),)

    def __str__(self) -> str:
        return f"decision {self.pk}: {'allowed' if self.allowed else self.reason}"


class AccountBook(models.Model):
    """The version of an account's book: every approval that reserves headroom swaps it.

    `minute_started_at` and `minute_count` are the fixed window of the order rate (wall time).
    """

    account = models.OneToOneField(Account, on_delete=models.PROTECT, primary_key=True, related_name="book")
    version = models.BigIntegerField(default=1)
    minute_started_at = models.DateTimeField(db_default=Now())
    minute_count = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"book of {self.account_id} at {self.version}"


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


class StopEvent(models.Model):
    """One emergency stop of a scope; STOPPED only when the venues have said so.

    `ended_at` is set when the scope is re-armed; at most one event of a scope stands.
    """

    scope = models.CharField(max_length=60)
    source = models.CharField(max_length=24, choices=choices(StopSource))
    actor = models.CharField(max_length=120)
    reason = models.TextField()
    progress = models.CharField(
        max_length=8, choices=choices(StopProgress), default=StopProgress.STOPPING.value
    )
    market_at = models.DateTimeField()
    tripped_at = models.DateTimeField(db_default=Now())
    stopped_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="stopevent_one_stands", fields=("scope",), condition=Q(ended_at__isnull=True)
            ),
            models.CheckConstraint(
                name="stopevent_stopped_has_time",
                condition=Q(progress="STOPPING", stopped_at__isnull=True)
                | Q(progress="STOPPED", stopped_at__isnull=False),
            ),
        )
        indexes = (
            models.Index(
                name="stopevent_unfinished", fields=("tripped_at",), condition=Q(progress="STOPPING")
            ),
        )

    def __str__(self) -> str:
        return f"stop {self.pk} of {self.scope}: {self.progress}"


class StopStep(models.Model):
    """What a stop must do at one venue account, and how far it is."""

    event = models.ForeignKey(StopEvent, on_delete=models.PROTECT, related_name="steps")
    venue = models.CharField(max_length=20)
    account = models.CharField(max_length=40)
    symbol = models.CharField(max_length=20, blank=True)
    action = models.CharField(max_length=20, choices=choices(StepAction))
    subject = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=8, choices=choices(StepStatus), default=StepStatus.PENDING.value)
    detail = models.TextField(blank=True)
    attempts = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="stopstep_once", fields=("event", "venue", "account", "action", "subject")
            ),
        )

    def __str__(self) -> str:
        return f"{self.action} {self.symbol} at {self.venue}: {self.status}"
