"""The chain, its head, the seals that bring append-only tables into it, and what vouches for it."""

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
    # No constraint: the seal stays, with the rows it seals, when the segment of its event is detached.
    event = models.OneToOneField(
        AuditEvent, on_delete=models.PROTECT, related_name="seal", db_constraint=False
    )
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


class Checkpoint(models.Model):
    """A signed statement of the head, made to be kept outside; each names the digest of the one before."""

    seq = models.BigIntegerField(help_text="How many events there were.")
    hash = models.CharField(max_length=64)
    at = models.DateTimeField(help_text="Wall time of the database.")
    reason = models.TextField()
    body = models.TextField(help_text="The text exactly as signed.")
    previous = models.CharField(max_length=64, unique=True)
    digest = models.CharField(max_length=64, unique=True)
    signature = models.CharField(max_length=128)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(seq__gte=1), name="audit_checkpoint_seq_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.hash}"


class CheckpointSink(models.Model):
    """How far the checkpoints have been handed to one place outside."""

    name = models.CharField(max_length=20, primary_key=True)
    delivered = models.ForeignKey(Checkpoint, null=True, on_delete=models.PROTECT, related_name="+")
    delivered_at = models.DateTimeField(null=True)
    failing_since = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    def __str__(self) -> str:
        return self.name


class Verification(models.Model):
    """What one verification of the whole log found."""

    at = models.DateTimeField()
    is_whole = models.BooleanField()
    events = models.BigIntegerField()
    head_seq = models.BigIntegerField()
    unanchored_since = models.BigIntegerField(null=True)
    first_bad_seq = models.BigIntegerField(null=True)
    why = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(is_whole=True, first_bad_seq=None)
                | Q(is_whole=False, first_bad_seq__isnull=False),
                name="audit_verification_names_the_bad",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.at}: {'whole' if self.is_whole else f'broken at {self.first_bad_seq}'}"


class Segment(models.Model):
    """A closed part of the chain. The event that closed it is the first of the next one."""

    first_seq = models.BigIntegerField(unique=True)
    last_seq = models.BigIntegerField(unique=True)
    last_hash = models.CharField(max_length=64)
    closed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(first_seq__lte=models.F("last_seq")), name="audit_segment_ordered"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.first_seq}..{self.last_seq}"


class Detachment(models.Model):
    """A closed segment whose events live in an export only. Written by the owner's role alone."""

    segment = models.OneToOneField(Segment, on_delete=models.PROTECT, related_name="detachment")
    export_sha256 = models.CharField(max_length=64)
    event_seq = models.BigIntegerField(help_text="The event that says who detached it, and why.")
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.segment_id} as {self.export_sha256}"
