"""Accounts, what they may trade, and the state and permit they trade under."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from trading.core.values import Environment, TradingStateName
from trading.models.fields import choices


class Account(models.Model):
    """One desk account; it has 1-n venue accounts."""

    name = models.SlugField(max_length=40, unique=True)
    environment = models.CharField(max_length=8, choices=choices(Environment))
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


class Permit(models.Model):
    """The right of one account to trade with one limit set; a lease renewed by the guard.

    Writer: golive.services. `limit_set_digest` names the limits; a newer permit has a higher
    fencing token and at most one is active per account.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="permits")
    kind = models.CharField(max_length=8, choices=[("PAPER", "PAPER"), ("LIVE", "LIVE")])
    environment = models.CharField(max_length=8, choices=choices(Environment))
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
            models.CheckConstraint(
                name="permit_paper_only",
                condition=~Q(kind="PAPER") | Q(environment="paper"),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.profile} for {self.account.name}"


class TradingState(models.Model):
    """Latched state of one scope. A scope without a row is HALTED. Writer: risk.services."""

    scope = models.CharField(max_length=60, unique=True)
    state = models.CharField(max_length=8, choices=choices(TradingStateName))
    version = models.BigIntegerField(default=1)
    reason = models.TextField()
    source = models.CharField(max_length=40)
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="tradingstate_known",
                condition=Q(state__in=[s.value for s in TradingStateName]),
            ),
        )

    def __str__(self) -> str:
        return f"{self.scope} {self.state}"
