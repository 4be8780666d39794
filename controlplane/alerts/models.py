"""What people were told, and the proof that it reached them."""

from django.db import models
from django.db.models import F, Q


class Severity(models.TextChoices):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alert(models.Model):
    """Something a person should know; one open row per code, scope and severity."""

    code = models.CharField(max_length=80)
    severity = models.CharField(max_length=8, choices=Severity)
    scope = models.CharField(max_length=120)
    text = models.TextField()
    correlation_id = models.CharField(max_length=80, blank=True)
    dedupe_key = models.CharField(max_length=220)
    owner = models.CharField(max_length=150, blank=True)
    opened_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    escalated_at = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["-opened_at"], name="alerts_alert_opened"),
            models.Index(fields=["severity", "-id"], name="alerts_alert_severity"),
            models.Index(fields=["code", "-id"], name="alerts_alert_code"),
            models.Index(fields=["scope", "-id"], name="alerts_alert_scope"),
            models.Index(fields=["correlation_id"], name="alerts_alert_correlation"),
            models.Index(fields=["-id"], condition=Q(resolved_at=None), name="alerts_alert_open"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["dedupe_key"], condition=Q(resolved_at=None), name="alerts_one_open_alert_per_key"
            ),
            models.CheckConstraint(
                condition=Q(severity__in=Severity.values), name="alerts_alert_severity_known"
            ),
            models.CheckConstraint(
                condition=Q(acknowledged_at=None, acknowledged_by="")
                | (Q(acknowledged_at__isnull=False) & ~Q(acknowledged_by="")),
                name="alerts_acknowledged_by_someone",
            ),
            models.CheckConstraint(
                condition=Q(resolved_at=None) | Q(resolved_at__gte=F("opened_at")),
                name="alerts_resolved_after_opened",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.severity} {self.code} {self.scope}"


class DeliveryState(models.TextChoices):
    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


class DeliveryKind(models.TextChoices):
    """Why an alert is told."""

    RAISED = "raised"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    RESOLVED = "resolved"


class Delivery(models.Model):
    """One alert on its way to one channel; `round` counts how often it was told."""

    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, related_name="deliveries")
    channel = models.CharField(max_length=60, help_text="Fingerprint of the channel's address.")
    kind = models.CharField(max_length=10, choices=DeliveryKind, default=DeliveryKind.RAISED)
    round = models.PositiveSmallIntegerField(default=1)
    state = models.CharField(max_length=8, choices=DeliveryState, default=DeliveryState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index(fields=["next_at"], condition=Q(state="pending"), name="alerts_delivery_due"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["alert", "channel", "round"], name="alerts_one_delivery_per_round"
            ),
            models.CheckConstraint(
                condition=Q(state__in=DeliveryState.values), name="alerts_delivery_state_known"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=DeliveryKind.values), name="alerts_delivery_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(state="sent", sent_at__isnull=False) | (~Q(state="sent") & Q(sent_at=None)),
                name="alerts_sent_has_its_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.alert_id} {self.channel} {self.state}"


class ChannelHealth(models.Model):
    """Whether a channel accepts what is sent to it. Writer: alerts.delivery."""

    channel = models.CharField(max_length=60, unique=True, help_text="Fingerprint of the channel's address.")
    sent_at = models.DateTimeField(null=True)
    failing_since = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "channel health"

    def __str__(self) -> str:
        return f"{self.channel} {'fails' if self.failing_since else 'works'}"
