"""Brings the rows of append-only tables into the chain, batch by batch.

Ids are handed out in rising order, but transactions commit in any order: behind a visible row a
smaller id may still appear. So each seal names exactly the ids it digested, and carries a *horizon*:
at or below it every id is either sealed or was handed out ten minutes ago and never came (a rolled-back
insert). Each run looks again at everything above the horizon that no seal covers. A row that
comes later still is not sealed, and verification reports it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from psycopg import sql

from controlplane.audit.models import AuditEvent, Seal
from controlplane.audit.services import record
from controlplane.audit.streams import (
    IdRange,
    Stream,
    digest_expression,
    get_registered_streams,
    merge_ranges,
    pin_text_form,
    ranges_literal,
    row_expression,
)

LATEST_COMMIT = timedelta(minutes=10)
"""A transaction older than this has not committed an order-path row, and will not."""
SEAL_INTERVAL = timedelta(seconds=15)
"""A small batch waits for this long after the last seal of its stream."""
BATCH_ROWS = 2_000
SMALL_BATCH = 500
_SEALER_LOCK = 7_310_001
_PENDING = sql.SQL(
    """
    WITH pending AS MATERIALIZED (
        SELECT {key} AS id, {row} AS row FROM {table}
        WHERE {key} > %s AND NOT {key} <@ %s::int8multirange
        ORDER BY {key} LIMIT %s
    )
    SELECT digest.*, (
        SELECT coalesce(jsonb_agg(jsonb_build_array(lower(r), upper(r) - 1) ORDER BY r), '[]')::text
        FROM (SELECT unnest(range_agg(int8range(id, id, '[]'))) AS r FROM pending) AS runs
    )
    FROM ({digest}) AS digest
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReport:
    """What one run sealed; `is_busy` where another sealer was at work."""

    rows: int
    seals: int
    is_busy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Progress:
    """What is known of a stream before a batch."""

    horizon: int
    sealed_above: list[IdRange]
    settled_id: int
    is_recent: bool


def seal_streams(
    *, now: datetime, at_once: bool = False, streams: Sequence[Stream] | None = None
) -> SealReport:
    """Seal what is pending, by default in every registered stream; `at_once` skips the interval.

    Each batch is a durable transaction of its own. `now` is the database's wall time.
    """
    rows = seals = 0
    for stream in get_registered_streams() if streams is None else streams:
        while True:
            sealed = _seal_batch(stream, now=now, at_once=at_once)
            if sealed is None:
                return SealReport(rows=rows, seals=seals, is_busy=True)
            rows, seals = rows + sealed, seals + (sealed > 0)
            if sealed < BATCH_ROWS:
                break
    return SealReport(rows=rows, seals=seals)


@transaction.atomic(durable=True)
def _seal_batch(stream: Stream, *, now: datetime, at_once: bool) -> int | None:
    """Seal one batch; returns its rows, or None where another sealer holds the lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_SEALER_LOCK])
        if not cursor.fetchone()[0]:
            return None
    progress = _get_progress(stream, now=now)
    digest, count, ranges = _digest_pending(stream, progress)
    if count == 0 or (progress.is_recent and count < SMALL_BATCH and not at_once):
        return 0
    horizon = _advance(progress, ranges, is_full=count >= BATCH_ROWS)
    event = record(
        action="audit.seal",
        actor="system:sealer",
        subject_type="stream",
        subject_id=stream.name,
        detail={
            "stream": stream.name,
            "table": stream.table,
            "columns": stream.columns,
            "ranges": ranges,
            "count": count,
            "digest": digest,
            "horizon": horizon,
        },
    )
    Seal.objects.create(
        stream=stream.name,
        event=event,
        ranges=ranges,
        first_id=ranges[0][0],
        last_id=ranges[-1][1],
        row_count=count,
        digest=digest,
        columns=list(stream.columns),
        horizon=horizon,
    )
    return count


def _get_progress(stream: Stream, *, now: datetime) -> _Progress:
    seals = Seal.objects.filter(stream=stream.name)
    last = seals.order_by("-event_id").first()
    if last is None:
        return _Progress(horizon=0, sealed_above=[], settled_id=0, is_recent=False)
    above = [
        (first, end)
        for ranges in seals.filter(last_id__gt=last.horizon).values_list("ranges", flat=True)
        for first, end in ranges
    ]
    settled = (
        seals.filter(event__occurred_at__lte=now - LATEST_COMMIT)
        .order_by("-last_id")
        .values_list("last_id")
        .first()
    )
    return _Progress(
        horizon=last.horizon,
        sealed_above=merge_ranges(above),
        settled_id=settled[0] if settled else 0,
        # Its event may be detached with an old segment: then it is not recent.
        is_recent=AuditEvent.objects.filter(seq=last.event_id, occurred_at__gt=now - SEAL_INTERVAL).exists(),
    )


def _digest_pending(stream: Stream, progress: _Progress) -> tuple[str, int, list[IdRange]]:
    """Digest the oldest rows that no seal covers, in one statement and so one snapshot."""
    statement = _PENDING.format(
        key=sql.Identifier(stream.columns[0]),
        table=sql.Identifier(stream.table),
        row=row_expression(stream.columns),
        digest=digest_expression(sql.SQL("SELECT id, row FROM pending")),
    )
    with connection.cursor() as cursor:
        pin_text_form(cursor)
        cursor.execute(
            statement, [progress.horizon, ranges_literal(progress.sealed_above), BATCH_ROWS, stream.name]
        )
        digest, count, ranges = cursor.fetchone()
    return digest, count, [(first, last) for first, last in json.loads(ranges)]


def _advance(progress: _Progress, ranges: list[IdRange], *, is_full: bool) -> int:
    """Return the new horizon: past settled ids, then past every id that is sealed without a gap.

    After a full batch more rows may be waiting behind it, so only ids up to its end count as seen.
    """
    settled = min(progress.settled_id, ranges[-1][1]) if is_full else progress.settled_id
    horizon = max(progress.horizon, settled)
    for first, last in merge_ranges([*progress.sealed_above, *ranges]):
        if first > horizon + 1:
            break
        horizon = max(horizon, last)
    return horizon
