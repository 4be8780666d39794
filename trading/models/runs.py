"""What the desk did and when: cycles, reconciliations, heartbeats."""

from django.db import models
from django.db.models.functions import Now

from trading.models.accounts import Account, VenueAccount
from trading.models.fields import Money


class ReconciliationRun(models.Model):
    """One comparison of our book with the venue's; `differences` explains each mismatch.

    `wallet_expected` is the wallet of the first equity sample and all income up to the row `income_id`
    (USDT); null before there is a sample.
    """

    venue_account = models.ForeignKey(VenueAccount, on_delete=models.PROTECT, related_name="reconciliations")
    is_clean = models.BooleanField()
    adopted_fills = models.PositiveIntegerField(default=0)
    differences = models.JSONField(default=list)
    market_at = models.DateTimeField()
    wallet_expected = Money(null=True)
    income_id = models.BigIntegerField(null=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(name="reconciliation_recent", fields=("venue_account", "-finished_at")),)

    def __str__(self) -> str:
        return f"{'clean' if self.is_clean else 'mismatch'} at {self.finished_at}"


class CycleRun(models.Model):
    """One trading cycle of one account for one market bar; the row is the claim (no bar twice)."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="cycles")
    bar_at = models.DateTimeField()
    state = models.CharField(
        max_length=8,
        choices=[("running", "running"), ("done", "done"), ("failed", "failed")],
    )
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
