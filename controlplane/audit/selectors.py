"""Reads of the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Max
from psycopg import sql

from controlplane.audit.models import AuditEvent, AuditHead, Checkpoint, CheckpointSink, Seal, Verification
from controlplane.audit.streams import Stream, get_registered_streams, merge_ranges, ranges_literal

LONGEST_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStatus:
    """Where the log stands; `unsealed` counts rows by stream that no seal covers yet."""

    head_seq: int
    head_hash: str
    last_event_at: datetime
    last_seal_at: datetime | None
    last_seal_age: timedelta | None
    unsealed: dict[str, int]
    unanchored_since: int | None


def list_events(
    *,
    after: int | None = None,
    before: int | None = None,
    action: str = "",
    actor: str = "",
    subject_type: str = "",
    subject_id: str = "",
    correlation_id: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    newest_first: bool = False,
    limit: int = 100,
) -> list[AuditEvent]:
    """Return one page by seq; the next begins `after` (or `before`) the last one's seq.

    An `action` that ends in a dot matches every action beginning with it.
    """
    filters: dict[str, object] = {
        "seq__gt": after,
        "seq__lt": before,
        "action__startswith" if action.endswith(".") else "action": action,
        "actor": actor,
        "subject_type": subject_type,
        "subject_id": subject_id,
        "correlation_id": correlation_id,
        "occurred_at__gte": since,
        "occurred_at__lt": until,
    }
    given = {name: value for name, value in filters.items() if value not in (None, "")}
    events = AuditEvent.objects.filter(**given).order_by("-seq" if newest_first else "seq")
    return list(events[: min(limit, LONGEST_PAGE)])


def get_chain_status(*, now: datetime, streams: Sequence[Stream] | None = None) -> ChainStatus:
    """Return the head, the age of the last seal and what waits to be sealed."""
    streams = get_registered_streams() if streams is None else streams
    head = AuditHead.objects.get()
    last_seal_at = Seal.objects.aggregate(at=Max("event__occurred_at"))["at"]
    return ChainStatus(
        head_seq=head.seq,
        head_hash=head.hash,
        last_event_at=head.occurred_at,
        last_seal_at=last_seal_at,
        last_seal_age=now - last_seal_at if last_seal_at else None,
        unsealed={stream.name: count_unsealed(stream) for stream in streams},
        unanchored_since=get_unanchored_since(head.seq),
    )


def get_unanchored_since(head_seq: int) -> int | None:
    """Return the first event that no place outside vouches for, as far as this database knows."""
    anchored = CheckpointSink.objects.aggregate(seq=Max("delivered__seq"))["seq"] or 0
    return None if 0 < head_seq <= anchored else anchored + 1


def get_last_anchor_time() -> datetime | None:
    """Return when the newest checkpoint was written that a place outside has."""
    at: datetime | None = CheckpointSink.objects.aggregate(at=Max("delivered__at"))["at"]
    return at


def seq_at(moment: datetime) -> int:
    """Return the seq of the first event at or after a time; past the head where there is none."""
    rows = AuditEvent.objects.filter(occurred_at__gte=moment).order_by("occurred_at", "seq")
    found = rows.values_list("seq", flat=True).first()
    return AuditHead.objects.get().seq + 1 if found is None else found


def list_checkpoints(*, after: int | None = None, limit: int = 100) -> list[Checkpoint]:
    """Return one page, oldest first; the next begins `after` the last one's id."""
    return list(Checkpoint.objects.filter(id__gt=after or 0).order_by("id")[: min(limit, LONGEST_PAGE)])


def list_sink_states() -> list[CheckpointSink]:
    return list(CheckpointSink.objects.select_related("delivered").order_by("name"))


def get_last_verification() -> Verification | None:
    return Verification.objects.order_by("-id").first()


def count_unsealed(stream: Stream) -> int:
    """Return how many rows above the stream's horizon no seal covers."""
    seals = Seal.objects.filter(stream=stream.name)
    last = seals.order_by("-event_id").first()
    horizon = last.horizon if last else 0
    above = [
        (first, end)
        for ranges in seals.filter(last_id__gt=horizon).values_list("ranges", flat=True)
        for first, end in ranges
    ]
    statement = sql.SQL(
        "SELECT count(*) FROM {table} WHERE {key} > %s AND NOT {key} <@ %s::int8multirange"
    ).format(table=sql.Identifier(stream.table), key=sql.Identifier(stream.columns[0]))
    with connection.cursor() as cursor:
        cursor.execute(statement, [horizon, ranges_literal(merge_ranges(above))])
        return int(cursor.fetchone()[0])


def get_database_time() -> datetime:
    """Return the database's clock: wall time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now
