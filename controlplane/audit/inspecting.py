"""The five questions of an auditor, answered from the database and from what is kept outside.

1. Do the heads kept outside still match?  2. Does the chain recompute, and do the sealed rows?
3. Is there no gap?  4. Has every row its event, and every event its row?  5. Who may change what?
"""

from dataclasses import dataclass

from django.core.checks import CheckMessage
from django.db import connection
from psycopg import sql

from controlplane.audit.anchors import Anchors, anchor_texts
from controlplane.audit.checks import check_append_only_tables
from controlplane.audit.models import AuditEvent
from controlplane.audit.streams import EventRows, get_registered_event_rows, get_registered_guards
from controlplane.audit.verification import find_start, verify_database

ALIAS = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer to one question."""

    question: str
    is_good: bool
    answer: str


def inspect_log(anchors: Anchors) -> tuple[Finding, ...]:
    """Answer all five; changes nothing."""
    return (_heads(anchors), _chain(anchors), _gaps(), _rows(), _rights())


def _heads(anchors: Anchors) -> Finding:
    question = "1 heads kept outside match"
    start, _ = find_start(0, using=ALIAS)
    here = {seq: hash_ for seq, hash_ in anchors.heads.items() if seq > start}
    found = dict(AuditEvent.objects.filter(seq__in=here).values_list("seq", "hash"))
    bad = sorted(seq for seq, hash_ in here.items() if found.get(seq) != hash_)
    if bad:
        return Finding(question=question, is_good=False, answer=f"not at seq {bad[0]} ({len(bad)} do not)")
    if not anchors.heads:
        return Finding(question=question, is_good=False, answer="there are none: nothing outside vouches")
    texts = [f"{len(anchors.heads)} heads", *anchor_texts(None, anchors)[1:]]
    return Finding(question=question, is_good=not anchors.gaps, answer=", ".join(texts))


def _chain(anchors: Anchors) -> Finding:
    report = verify_database(checkpoints=anchors.heads)
    answer = f"broken at seq {report.first_bad_seq}: {report.why}"
    if report.is_whole:
        since = report.unanchored_since
        end = "anchored to the end" if since is None else f"unanchored since seq {since}"
        answer = f"{report.events} events and their sealed rows, head {report.head_seq}, {end}"
    return Finding(question="2 the chain recomputes", is_good=report.is_whole, answer=answer)


def _gaps() -> Finding:
    start, _ = find_start(0, using=ALIAS)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(previous) + 1 FROM (SELECT seq, lag(seq, 1, %s::bigint) OVER (ORDER BY seq)"
            " AS previous FROM audit_auditevent) AS pairs WHERE seq <> previous + 1",
            [start],
        )
        (missing,) = cursor.fetchone()
    answer = f"seq {missing} is missing" if missing else f"every seq from {start + 1} on is there"
    return Finding(question="3 no gap in the sequence", is_good=missing is None, answer=answer)


def _rows() -> Finding:
    registered = get_registered_event_rows()
    bad = [text for rows in registered if (text := _compare(rows))]
    answer = (
        "; ".join(bad) or f"{', '.join(rows.action for rows in registered)}: each has its row, and vice versa"
    )
    return Finding(question="4 events and rows agree", is_good=not bad, answer=answer)


def _compare(rows: EventRows) -> str:
    """Say which subject has more rows than events, or fewer; of detached events only the rows are left."""
    start, _ = find_start(0, using=ALIAS)
    sign = sql.SQL("<" if start else "<>")
    statement = sql.SQL(
        """
        WITH stored AS (SELECT subject, count(*) AS n FROM ({rows}) AS given (subject) GROUP BY subject),
        chained AS (
            SELECT subject_id AS subject, count(*) AS n FROM audit_auditevent WHERE action = %s GROUP BY 1
        )
        SELECT subject, coalesce(stored.n, 0), coalesce(chained.n, 0)
        FROM stored FULL JOIN chained USING (subject)
        WHERE coalesce(stored.n, 0) {sign} coalesce(chained.n, 0) ORDER BY subject LIMIT 1
        """
    ).format(rows=sql.SQL(rows.subjects), sign=sign)
    with connection.cursor() as cursor:
        cursor.execute(statement, [rows.action])
        found = cursor.fetchone()
    if found is None:
        return ""
    subject, stored, chained = found
    return f"{rows.action} of {subject}: {stored} rows, {chained} events"


def _rights() -> Finding:
    messages: list[CheckMessage] = check_append_only_tables(databases=[ALIAS])
    answer = "; ".join(str(message.msg) for message in messages)
    if not messages:
        answer = f"the application's role changes nothing there; {len(get_registered_guards())} guards stand"
    return Finding(question="5 grants and triggers", is_good=not messages, answer=answer)
