"""The chain, its head, and the seals that bring append-only tables into it."""

from django.db import models
from django.db.models import Q


class AuditHead(models.Model):
    """The newest link. One row; moved only by the trigger that chains an event."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    seq = models.BigIntegerField()
    hash = models.CharField(max_length=64)
    occurred_at = models.DateTimeField()

    class Meta:
        verbose_name = "chain head"
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="audit_head_is_one_row"),
            models.CheckConstraint(condition=Q(seq__gte=0), name="audit_head_seq_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.hash}"


class AuditEvent(models.Model):
    """One link. The database sets seq, prev_hash, hash and occurred_at, and copies the columns from body."""

    seq = models.BigIntegerField(primary_key=True)
    prev_hash = models.CharField(max_length=64, unique=True)
    hash = models.CharField(max_length=64, unique=True)
    body = models.TextField(help_text="The text exactly as hashed.")
    occurred_at = models.DateTimeField()
    action = models.TextField()
    actor = models.TextField()
    actor_kind = models.TextField()
    subject_type = models.TextField()
    subject_id = models.TextField()
    reason = models.TextField(blank=True)
    correlation_id = models.TextField(blank=True)
    environment = models.TextField()
    payload = models.JSONField(help_text="The body again, for queries only.")

    class Meta:
        verbose_name = "audit event"
        indexes = [
            models.Index(fields=["action", "seq"], name="audit_event_action"),
            models.Index(fields=["actor", "seq"], name="audit_event_actor"),
            models.Index(fields=["subject_type", "subject_id", "seq"], name="audit_event_subject"),
            models.Index(fields=["correlation_id", "seq"], name="audit_event_correlation"),
            models.Index(fields=["occurred_at"], name="audit_event_occurred"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(seq__gte=1), name="audit_event_seq_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.action}"


class Seal(models.Model):
    """A closed batch of rows of one stream, its digest recorded in the chain by `event`."""

    stream = models.TextField()
    event = models.OneToOneField(AuditEvent, on_delete=models.PROTECT, related_name="seal")
    ranges = models.JSONField(help_text="[[first, last], …]: every id in them is a sealed row.")
    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    row_count = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    columns = models.JSONField(help_text="The columns digested, in order.")
    horizon = models.BigIntegerField(help_text="No row at or below this id is expected any more.")

    class Meta:
        indexes = [
            models.Index(fields=["stream", "last_id"], name="audit_seal_stream_last"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(row_count__gte=1), name="audit_seal_not_empty"),
            models.CheckConstraint(condition=Q(first_id__lte=models.F("last_id")), name="audit_seal_ordered"),
        ]

    def __str__(self) -> str:
        return f"{self.stream} {self.first_id}..{self.last_id}"
