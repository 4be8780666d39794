"""Rows of evidence for advancement: whether the desk was up, and what a weekly loss took back.

Both are append-only (triggers and grants).
"""

from django.db import models
from django.db.models.functions import Now

from risk.models import Restriction
from trading.models import Account, Permit


class UptimeSlot(models.Model):
    """Append-only: one 60 s slot of market time of an account, as the guard saw it; no row is down.

    Ages are wall seconds when it looked; null is unknown.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="uptime_slots")
    slot_at = models.DateTimeField()
    worker_age = models.FloatField(null=True)
    data_age = models.FloatField(null=True)
    book_age = models.FloatField(null=True)
    is_up = models.BooleanField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(name="uptimeslot_once", fields=("account", "slot_at")),)

    def __str__(self) -> str:
        return f"{self.slot_at}: {'up' if self.is_up else 'down'}"


class Demotion(models.Model):
    """Append-only: a weekly loss took an account down one rung; one restriction does so once.

    `to_profile` "" is paper, until `barred_until` of market time; `permit` null is none.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="demotions")
    restriction = models.OneToOneField(Restriction, on_delete=models.PROTECT, related_name="demotion")
    from_profile = models.CharField(max_length=10)
    to_profile = models.CharField(max_length=10, blank=True)
    permit = models.ForeignKey(Permit, on_delete=models.PROTECT, null=True, related_name="demotions")
    barred_until = models.DateTimeField(null=True)
    market_at = models.DateTimeField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = (models.Index(name="demotion_recent", fields=("account", "-id")),)

    def __str__(self) -> str:
        return f"{self.account} from {self.from_profile} to {self.to_profile or 'paper'}"
