"""Verifies the log where it lies: the chain, its head, the seals against the rows, nothing unsealed below."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from controlplane.audit.anchors import Anchors, key_fingerprint, read_anchors
from controlplane.audit.checkpoints import get_public_key
from controlplane.audit.models import AuditEvent, AuditHead, Seal, Segment, Verification
from controlplane.audit.streams import (
    Stream,
    digest_expression,
    get_registered_streams,
    pin_text_form,
    ranges_literal,
    row_expression,
)
from controlplane.audit.verify import Broken, Chain, event_line

COLUMNS = (
    "action",
    "actor",
    "actor_kind",
    "subject_type",
    "subject_id",
    "reason",
    "correlation_id",
    "environment",
)


VERIFY_EVERY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCount:
    """Rows of one stream: sealed, and not sealed yet."""

    stream: str
    sealed: int
    unsealed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """The outcome of a verification; `first_bad_seq` and `why` where it is broken."""

    is_whole: bool
    events: int
    head_seq: int
    head_hash: str
    unanchored_since: int | None
    streams: tuple[StreamCount, ...]
    first_bad_seq: int | None = None
    why: str = ""


def verify_database(
    *,
    using: str = "default",
    after_seq: int = 0,
    checkpoints: Mapping[int, str] | None = None,
    streams: Sequence[Stream] | None = None,
) -> LogReport:
    """Check everything in one snapshot; changes nothing. By default every registered stream.

    `after_seq` leaves out what was verified before: the chain and the seals are checked from there on.
    What was detached lies in files of its own, and ends with the hash that the next event begins with.
    """
    streams = get_registered_streams() if streams is None else streams
    with snapshot(using):
        seals = _SealCheck(using, streams)
        after_seq, start_hash = find_start(after_seq, using=using)
        chain = Chain(
            after_seq=after_seq, checkpoints=checkpoints, on_seal=seals.check, start_hash=start_hash
        )
        counts: tuple[StreamCount, ...] = ()
        broken: Broken | None = None
        try:
            for line in iterate_event_lines(using=using, after_seq=after_seq):
                chain.feed(line)
            chain.finish()
            _check_head(chain, using)
            _check_columns(chain, using)
            seals.finish(after_seq, chain.seq)
            counts = tuple(_count_stream(connections[using], stream, chain.seq) for stream in streams)
        except Broken as error:
            broken = error
    return LogReport(
        is_whole=broken is None,
        events=chain.seq - after_seq,
        head_seq=chain.seq,
        head_hash=chain.hash,
        unanchored_since=chain.unanchored_since,
        streams=counts,
        first_bad_seq=broken.seq if broken else None,
        why=broken.why if broken else "",
    )


def read_own_anchors(path: str | None = None, key_path: str | None = None) -> Anchors:
    """Read what is kept outside, by default in AUDIT_CHECKPOINT_DIR and against our own key."""
    if path is not None:
        return read_anchors(path, key_path)
    if not settings.AUDIT_CHECKPOINT_DIR or not Path(settings.AUDIT_CHECKPOINT_DIR).is_dir():
        return Anchors()
    key = get_public_key()
    keys = None if key is None else {key_fingerprint(key): key}
    return read_anchors(settings.AUDIT_CHECKPOINT_DIR, keys=keys)


def store_verification(report: LogReport, *, at: datetime) -> Verification:
    """Keep what a verification of the whole log found, for the pages."""
    return Verification.objects.create(
        at=at,
        is_whole=report.is_whole,
        events=report.events,
        head_seq=report.head_seq,
        unanchored_since=report.unanchored_since,
        first_bad_seq=report.first_bad_seq,
        why=report.why,
    )


def keep_verified(*, now: datetime) -> Verification:
    """Verify the whole log once a day (guard duty); returns the newest finding."""
    last = Verification.objects.order_by("-id").first()
    if last is not None and now - last.at < VERIFY_EVERY:
        return last
    return store_verification(verify_database(checkpoints=read_own_anchors().heads), at=now)


def find_start(after_seq: int, *, using: str) -> tuple[int, str]:
    """Return the seq after which events are here, and its hash where a detached segment says it."""
    last = Segment.objects.using(using).filter(detachment__isnull=False).order_by("-last_seq").first()
    if last is None or last.last_seq < after_seq:
        return after_seq, ""
    return last.last_seq, last.last_hash


@contextmanager
def snapshot(using: str) -> Iterator[None]:
    """One unchanging, read-only view of the database; joins a surrounding transaction as it is."""
    connection = connections[using]
    is_outermost = not connection.in_atomic_block
    with transaction.atomic(using=using), connection.cursor() as cursor:
        if is_outermost:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        pin_text_form(cursor)
        yield


def iterate_event_lines(*, using: str, after_seq: int = 0, until_seq: int | None = None) -> Iterator[bytes]:
    """Yield the export's lines, straight from the rows."""
    end = {} if until_seq is None else {"seq__lte": until_seq}
    rows = (
        AuditEvent.objects.using(using)
        .filter(seq__gt=after_seq, **end)
        .order_by("seq")
        .values_list("seq", "prev_hash", "hash", "body")
    )
    for row in rows.iterator(chunk_size=5_000):
        yield event_line(*row)


class _SealCheck:
    """Compares each seal in the chain with its row, and with the rows it seals."""

    def __init__(self, using: str, streams: Sequence[Stream]) -> None:
        self._using = using
        self._streams = {stream.name: stream for stream in streams}
        self._seen = 0

    def check(self, seq: int, detail: dict[str, Any]) -> None:
        self._seen += 1
        row = Seal.objects.using(self._using).filter(event_id=seq).first()
        if row is None or _seal_facts(row) != {name: detail.get(name) for name in _seal_facts(row)}:
            raise Broken(seq, "the seal's row is missing or says something else")
        stream = self._streams.get(row.stream)
        if stream is None:
            raise Broken(seq, f"no stream is named {row.stream}")
        connection = connections[self._using]
        with connection.cursor() as cursor:
            rows, parameters = sealed_rows(stream, row)
            cursor.execute(digest_expression(rows), [row.stream, *parameters])
            if cursor.fetchone() != (row.digest, row.row_count):
                raise Broken(seq, f"the rows of {row.stream} are not those that were sealed")

    def finish(self, after_seq: int, head_seq: int) -> None:
        if Seal.objects.using(self._using).filter(event_id__gt=after_seq).count() != self._seen:
            raise Broken(head_seq, "there are seals that the chain does not know")


def _seal_facts(seal: Seal) -> dict[str, object]:
    return {
        "stream": seal.stream,
        "ranges": seal.ranges,
        "count": seal.row_count,
        "digest": seal.digest,
        "columns": seal.columns,
        "horizon": seal.horizon,
    }


def sealed_rows(stream: Stream, seal: Seal) -> tuple[sql.Composed, list[int | str]]:
    """Return SQL that yields (id, row) of the rows a seal covers, with its parameters."""
    statement = sql.SQL(
        "SELECT {key} AS id, {row} AS row FROM {table}"
        " WHERE {key} BETWEEN %s AND %s AND {key} <@ %s::int8multirange ORDER BY {key}"
    ).format(
        key=sql.Identifier(seal.columns[0]),
        row=row_expression(seal.columns),
        table=sql.Identifier(stream.table),
    )
    return statement, [seal.first_id, seal.last_id, ranges_literal(seal.ranges)]


def _check_head(chain: Chain, using: str) -> None:
    head = AuditHead.objects.using(using).get()
    # No event was read where all was verified before: there is no hash to compare.
    if (head.seq, head.hash) != (chain.seq, chain.hash or head.hash):
        raise Broken(chain.seq + 1, f"the head says seq {head.seq}: the tail is missing or was added past it")


def _check_columns(chain: Chain, using: str) -> None:
    """The columns that screens search must say what the hashed text says."""
    differs = sql.SQL(" OR ").join(
        sql.SQL("{} IS DISTINCT FROM payload ->> {}").format(sql.Identifier(name), sql.Literal(name))
        for name in COLUMNS
    )
    statement = sql.SQL(
        "SELECT min(seq) FROM audit_auditevent WHERE seq > %s AND (payload IS DISTINCT FROM body::jsonb OR {}"
        " OR occurred_at IS DISTINCT FROM (payload ->> 'occurred_at')::timestamptz)"
    ).format(differs)
    with connections[using].cursor() as cursor:
        cursor.execute(statement, [chain.first_seq])
        (seq,) = cursor.fetchone()
    if seq is not None:
        raise Broken(seq, "its columns do not say what its body says")


_COUNT = sql.SQL(
    """
    WITH seals AS (
        SELECT coalesce(sum(row_count), 0) AS claimed, coalesce(max(horizon), 0) AS horizon
        FROM audit_seal WHERE stream = %s
    ), covered AS (
        SELECT coalesce(range_agg(int8range((r ->> 0)::int8, (r ->> 1)::int8, '[]')), '{{}}') AS ids
        FROM audit_seal, jsonb_array_elements(ranges) AS r WHERE stream = %s
    )
    SELECT claimed,
        (SELECT count(*) FROM {table} WHERE {key} <@ covered.ids),
        (SELECT count(*) FROM {table} WHERE NOT {key} <@ covered.ids AND {key} > horizon),
        (SELECT min({key}) FROM {table} WHERE NOT {key} <@ covered.ids AND {key} <= horizon)
    FROM seals, covered
    """
)


def _count_stream(connection: BaseDatabaseWrapper, stream: Stream, head_seq: int) -> StreamCount:
    """Every row is sealed once, or waits above the horizon."""
    statement = _COUNT.format(table=sql.Identifier(stream.table), key=sql.Identifier(stream.columns[0]))
    with connection.cursor() as cursor:
        cursor.execute(statement, [stream.name, stream.name])
        claimed, sealed, unsealed, stray = cursor.fetchone()
    if claimed != sealed:
        raise Broken(head_seq, f"{stream.name}: {claimed} rows were sealed, {sealed} are there")
    if stray is not None:
        raise Broken(
            head_seq, f"{stream.name}: row {stray} came after its place was closed, and is not sealed"
        )
    return StreamCount(stream=stream.name, sealed=sealed, unsealed=unsealed)
