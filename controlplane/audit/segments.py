"""Retention: the chain is cut into closed segments, and an old one leaves whole, as a file.

Nothing is deleted inside a chain. The event that closes a segment is the first of the next one, and
its `prev_hash` is the last hash of the closed one. A segment may be detached when every earlier one
is, it is old enough, an export of it verifies to that hash, and a checkpoint kept outside covers it.
Only the owner's role can write the row that lets the events go.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import connections, transaction
from django.db.models import Max

from controlplane.audit.checkpoints import write_checkpoint
from controlplane.audit.models import AuditEvent, Checkpoint, CheckpointSink, Detachment, Segment
from controlplane.audit.services import record
from controlplane.audit.verify import Broken, verify_lines
from controlplane.errors import Conflict, InvalidInput, NotFound

OWNER = "owner"
LONGEST_YEAR = timedelta(days=366)


def close_segment(*, actor: str, reason: str) -> Segment:
    """Close what is open: the event that says so begins the next segment. A checkpoint follows."""
    with transaction.atomic(durable=True):
        last = Segment.objects.aggregate(seq=Max("last_seq"))["seq"] or 0
        event = record(
            action="audit.segment_close",
            actor=actor,
            subject_type="segment",
            subject_id=last + 1,
            reason=reason,
            detail={"first_seq": last + 1},
        )
        # Again, behind the lock of the head: two that close at once must not overlap.
        if last != (Segment.objects.aggregate(seq=Max("last_seq"))["seq"] or 0) or event.seq == last + 1:
            raise Conflict("there is nothing to close")
        segment = Segment.objects.create(
            first_seq=last + 1,
            last_seq=event.seq - 1,
            last_hash=event.prev_hash,
            closed_at=event.occurred_at,
        )
    write_checkpoint("segment closed")
    return segment


def list_segments() -> list[Segment]:
    return list(Segment.objects.select_related("detachment").order_by("first_seq"))


def get_segment(first_seq: int) -> Segment:
    """Return the segment that begins at a seq; raises NotFound."""
    segment = Segment.objects.select_related("detachment").filter(first_seq=first_seq).first()
    if segment is None:
        raise NotFound(f"no segment begins at seq {first_seq}")
    return segment


def detach_segment(*, first_seq: int, export: Path, actor: str, reason: str, now: datetime) -> Detachment:
    """Take a segment's events out of the database; raises where anything speaks against it.

    What is sealed, and the seals, stay: facts are not part of the chain's files.
    """
    segment = get_segment(first_seq)
    _require_detachable(segment, now=now)
    digest = _verify_export(segment, export)
    with transaction.atomic(durable=True):
        event = record(
            action="audit.segment_detach",
            actor=actor,
            subject_type="segment",
            subject_id=segment.first_seq,
            reason=reason,
            detail={
                "first_seq": segment.first_seq,
                "last_seq": segment.last_seq,
                "last_hash": segment.last_hash,
                "export_sha256": digest,
            },
        )
    with transaction.atomic(using=OWNER, durable=True):
        detachment = Detachment.objects.using(OWNER).create(
            segment_id=segment.pk, export_sha256=digest, event_seq=event.seq, at=now
        )
        gone = AuditEvent.objects.using(OWNER).filter(seq__gte=segment.first_seq, seq__lte=segment.last_seq)
        gone._raw_delete(OWNER)
    return detachment


def _require_detachable(segment: Segment, *, now: datetime) -> None:
    if OWNER not in connections:
        raise InvalidInput("DATABASE_OWNER_URL is not set: only the owner of the tables can detach a segment")
    if hasattr(segment, "detachment"):
        raise Conflict(f"the segment from seq {segment.first_seq} is detached already")
    if Segment.objects.filter(last_seq__lt=segment.first_seq, detachment=None).exists():
        raise Conflict("an earlier segment is not detached yet")
    keep_until = segment.closed_at + settings.AUDIT_KEEP_YEARS * LONGEST_YEAR
    if now < keep_until:
        raise Conflict(
            f"it is kept until {keep_until:%Y-%m-%d}, {settings.AUDIT_KEEP_YEARS} years after it was closed"
        )
    outside = CheckpointSink.objects.aggregate(id=Max("delivered_id"))["id"] or 0
    if not Checkpoint.objects.filter(id__lte=outside, seq__gte=segment.last_seq).exists():
        raise Conflict("no checkpoint kept outside covers it: see `audit checkpoint`")


def _verify_export(segment: Segment, export: Path) -> str:
    """Return the SHA-256 of a file that holds exactly this segment; raises InvalidInput."""
    hasher = hashlib.sha256()

    def lines() -> Iterator[bytes]:
        with export.open("rb") as file:
            for line in file:
                hasher.update(line)
                yield line

    first = AuditEvent.objects.only("prev_hash").get(seq=segment.first_seq)
    before = segment.first_seq - 1
    try:
        chain, _ = verify_lines(
            lines(), after_seq=before, checkpoints={before: first.prev_hash} if before else {}
        )
    except Broken as broken:
        raise InvalidInput(f"{export}: {broken}") from broken
    except OSError as error:
        raise InvalidInput(f"{export}: {error.strerror}") from error
    if (chain.seq, chain.hash) != (segment.last_seq, segment.last_hash):
        raise InvalidInput(f"{export}: ends at seq {chain.seq}, and the segment at seq {segment.last_seq}")
    return hasher.hexdigest()
