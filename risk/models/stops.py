"""Stops and what stands before them: events, steps, restrictions, watches, re-arming, drills.

RearmCheck and Drill are append-only (triggers and grants): they are evidence.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from risk.core.emergency_stop import (
    Cause,
    PositionPolicy,
    StepAction,
    StepStatus,
    StopProgress,
    StopSource,
)
from trading.models import Account, Money
from trading.models.fields import choices


class StopEvent(models.Model):
    """One emergency stop of a scope; STOPPED only when the venues have said so.

    `ended_at` is set when the scope is re-armed; at most one event of a scope stands. `evidence` is
    what the trigger measured, against which threshold. `positions` is what the sweep does with what is
    held where the account's profile says less; `escalated_at` is when `keep` became `flatten`.
    """

    scope = models.CharField(max_length=60)
    source = models.CharField(max_length=24, choices=choices(StopSource))
    actor = models.CharField(max_length=120)
    reason = models.TextField()
    evidence = models.JSONField(default=dict)
    positions = models.CharField(
        max_length=8, choices=choices(PositionPolicy), default=PositionPolicy.KEEP.value
    )
    escalated_at = models.DateTimeField(null=True)
    progress = models.CharField(
        max_length=8, choices=choices(StopProgress), default=StopProgress.STOPPING.value
    )
    market_at = models.DateTimeField()
    tripped_at = models.DateTimeField(db_default=Now())
    stopped_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=150, blank=True)
    root_cause = models.TextField(blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="stopevent_ends_stopped",
                condition=Q(ended_at__isnull=True)
                | (Q(stopped_at__isnull=False) & ~Q(ended_by="") & ~Q(root_cause="")),
            ),
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


class Restriction(models.Model):
    """Why a scope is REDUCING; one open row per scope and cause. Writer: risk.reducing.restrictions.

    `needs_acknowledgement`: lifted only after a person has said so, besides the cause being over.
    """

    scope = models.CharField(max_length=60)
    cause = models.CharField(max_length=24, choices=choices(Cause))
    reason = models.TextField()
    evidence = models.JSONField(default=dict)
    needs_acknowledgement = models.BooleanField(default=False)
    market_at = models.DateTimeField()
    since_at = models.DateTimeField(db_default=Now())
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    lifted_at = models.DateTimeField(null=True)
    lifted_because = models.TextField(blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="restriction_one_stands", fields=("scope", "cause"), condition=Q(lifted_at__isnull=True)
            ),
            models.CheckConstraint(
                name="restriction_acknowledged_first",
                condition=Q(lifted_at__isnull=True)
                | Q(needs_acknowledgement=False)
                | Q(acknowledged_at__isnull=False),
            ),
            models.CheckConstraint(
                name="restriction_acknowledged_by_someone",
                condition=Q(acknowledged_at__isnull=True, acknowledged_by="")
                | (Q(acknowledged_at__isnull=False) & ~Q(acknowledged_by="")),
            ),
        )
        indexes = (models.Index(name="restriction_recent", fields=("scope", "-since_at")),)

    def __str__(self) -> str:
        return f"{self.scope}: {self.cause}"


class Watch(models.Model):
    """How near one trigger is for one scope; survives the guard that counts. Writer: risk.stops.triggers.

    `breaches` counts readings in a row beyond the threshold; `read_at` is the market time of the last
    one that counted, `absent_since` the wall time since when none could be believed.
    """

    trigger = models.CharField(max_length=24, choices=choices(StopSource))
    scope = models.CharField(max_length=60)
    breaches = models.PositiveIntegerField(default=0)
    measured = models.CharField(max_length=60, blank=True)
    threshold = models.CharField(max_length=60, blank=True)
    detail = models.TextField(blank=True)
    read_at = models.DateTimeField(null=True)
    absent_since = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "watches"
        constraints = (models.UniqueConstraint(name="watch_once", fields=("trigger", "scope")),)

    def __str__(self) -> str:
        return f"{self.trigger} of {self.scope}: {self.breaches}"


class CapitalBase(models.Model):
    """B, the equity at activation that capital loss is measured from (USDT); one in force per account.

    Changed only by an approved request, which ends one and begins the next. Writer: risk.stops.capital.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="capital_bases")
    equity = Money()
    market_at = models.DateTimeField()
    reason = models.TextField()
    set_by = models.CharField(max_length=150)
    set_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                name="capitalbase_one_stands", fields=("account",), condition=Q(ended_at__isnull=True)
            ),
            models.CheckConstraint(name="capitalbase_above_zero", condition=Q(equity__gt=0)),
        )

    def __str__(self) -> str:
        return f"{self.equity} of {self.account_id}"


class RearmCheck(models.Model):
    """Append-only: a complete pre-flight for re-arming, as golive reports it."""

    run_id = models.BigIntegerField(unique=True)
    account = models.CharField(max_length=40, blank=True)
    environment = models.CharField(max_length=8)
    code_version = models.CharField(max_length=64)
    is_passed = models.BooleanField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"pre-flight {self.run_id}: {'passed' if self.is_passed else 'failed'}"


class Drill(models.Model):
    """Append-only: one rehearsed stop, how long it took, and what the venue showed before and after."""

    event = models.OneToOneField(StopEvent, on_delete=models.PROTECT, related_name="drill")
    account = models.CharField(max_length=40)
    code_version = models.CharField(max_length=64)
    is_passed = models.BooleanField()
    seconds = models.DecimalField(max_digits=10, decimal_places=3, null=True)
    proof = models.JSONField(default=dict)
    finished_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(name="drill_recent", fields=("-finished_at",)),)

    def __str__(self) -> str:
        return f"drill {self.pk}: {'passed' if self.is_passed else 'failed'}"
