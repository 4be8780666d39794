from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction

from controlplane.audit import sealing
from controlplane.audit.exporting import export_lines
from controlplane.audit.models import AuditEvent, Seal
from controlplane.audit.sealing import SealReport, seal_streams
from controlplane.audit.selectors import count_unsealed, get_chain_status, get_database_time
from controlplane.audit.streams import Stream, merge_ranges
from controlplane.audit.verification import LogReport, StreamCount, verify_database
from controlplane.audit.verify import verify_lines
from tests.audit.tampering import BOTH_ROLES, as_owner, connect

pytestmark = BOTH_ROLES

LATER = timedelta(minutes=11)


def add(count: int, note: str = "x") -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_test_fact (amount, note) SELECT n + 0.5, %s FROM generate_series(1, %s) n",
            [note, count],
        )


def seal(stream: Stream, *, after: timedelta = timedelta(0)) -> SealReport:
    return seal_streams(now=get_database_time() + after, at_once=True, streams=[stream])


def verify(stream: Stream) -> LogReport:
    return verify_database(streams=[stream])


def ranges() -> list[list[list[int]]]:
    return list(Seal.objects.order_by("event_id").values_list("ranges", flat=True))


def test_new_rows_are_sealed_into_the_chain(stream):
    add(3)
    assert verify(stream).streams == (StreamCount(stream="facts", sealed=0, unsealed=3),)
    assert seal(stream) == SealReport(rows=3, seals=1)
    row = Seal.objects.get()
    assert (row.ranges, row.row_count, row.horizon) == ([[1, 3]], 3, 3)
    event = AuditEvent.objects.get(pk=row.event_id)
    assert (event.action, event.actor_kind, event.subject_id) == ("audit.seal", "system", "facts")
    assert event.payload["detail"]["digest"] == row.digest
    report = verify(stream)
    assert report.is_whole, report.why
    assert report.streams == (StreamCount(stream="facts", sealed=3, unsealed=0),)


def test_nothing_new_makes_no_seal(stream):
    add(1)
    seal(stream)
    assert seal(stream) == SealReport(rows=0, seals=0)


def test_a_row_that_commits_after_a_later_one_is_sealed_by_itself(stream):
    with connect() as slow:
        with slow.transaction():
            slow.execute("INSERT INTO audit_test_fact (note) VALUES ('slow')")
            add(2)
            seal(stream)
            assert ranges() == [[[2, 3]]]
            assert Seal.objects.get().horizon == 0
        assert count_unsealed(stream) == 1
        seal(stream)
    assert ranges() == [[[2, 3]], [[1, 1]]]
    assert Seal.objects.order_by("-event_id")[0].horizon == 3
    assert verify(stream).is_whole


def test_the_place_of_an_insert_that_was_rolled_back_closes_after_ten_minutes(stream):
    with transaction.atomic():
        add(1)
        transaction.set_rollback(True)
    add(1)
    seal(stream)
    add(1)
    seal(stream, after=timedelta(minutes=9))
    assert Seal.objects.order_by("-event_id")[0].horizon == 0
    add(1)
    seal(stream, after=LATER)
    assert Seal.objects.order_by("-event_id")[0].horizon == 4
    assert ranges() == [[[2, 2]], [[3, 3]], [[4, 4]]]
    assert verify(stream).is_whole


def test_a_row_visible_only_to_the_scan_that_closes_its_place_is_still_sealed(stream):
    with connect() as slow, slow.transaction():
        slow.execute("INSERT INTO audit_test_fact (note) VALUES ('slow')")
        add(1)
        seal(stream)
    add(1)
    assert seal(stream, after=LATER).rows == 2
    assert ranges() == [[[2, 2]], [[1, 1], [3, 3]]]
    assert verify(stream).is_whole


def test_a_row_slipped_in_below_the_horizon_is_reported(stream):
    with transaction.atomic():
        add(1)
        transaction.set_rollback(True)
    add(1)
    seal(stream)
    add(1)
    seal(stream, after=LATER)
    with connect() as app:
        app.execute("INSERT INTO audit_test_fact (id, note) VALUES (1, 'forged')")
    seal(stream, after=LATER)
    report = verify(stream)
    assert not report.is_whole
    assert report.why == "facts: row 1 came after its place was closed, and is not sealed"


def test_many_rows_are_sealed_in_several_batches(stream, monkeypatch):
    monkeypatch.setattr(sealing, "BATCH_ROWS", 10)
    with transaction.atomic():
        add(1)
        transaction.set_rollback(True)
    add(35)
    assert seal(stream) == SealReport(rows=35, seals=4)
    assert ranges() == [[[2, 11]], [[12, 21]], [[22, 31]], [[32, 36]]]
    assert verify(stream).is_whole


def test_closing_a_place_never_jumps_over_rows_that_wait_behind_a_full_batch(stream, monkeypatch):
    with connect() as slow, slow.transaction():
        slow.execute("INSERT INTO audit_test_fact (note) SELECT 'slow' FROM generate_series(1, 25)")
        add(1)
        seal(stream)
    monkeypatch.setattr(sealing, "BATCH_ROWS", 10)
    assert seal(stream, after=LATER) == SealReport(rows=25, seals=3)
    assert verify(stream).is_whole


def test_a_small_batch_waits_and_a_large_one_does_not(stream, monkeypatch):
    monkeypatch.setattr(sealing, "SMALL_BATCH", 5)
    add(1)
    now = get_database_time()
    assert seal_streams(now=now, streams=[stream]).rows == 1
    add(1)
    assert seal_streams(now=now, streams=[stream]).rows == 0
    assert seal_streams(now=now + timedelta(minutes=1), streams=[stream]).rows == 1
    add(5)
    assert seal_streams(now=now, streams=[stream]).rows == 5


def test_one_sealer_works_at_a_time(stream):
    add(1)
    with connect() as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(%s)", [sealing._SEALER_LOCK])
        assert seal(stream) == SealReport(rows=0, seals=0, is_busy=True)
    assert seal(stream).rows == 1


def test_concurrent_writers_lose_no_row_to_the_sealer(stream):
    """Transactions interleave in every order; at the end each row is sealed once."""
    with connect() as one, connect() as two, connect() as three:
        for number in range(12):
            sessions = [one, two, three]
            for session in sessions:
                session.execute("BEGIN")
                session.execute("INSERT INTO audit_test_fact (amount) VALUES (%s)", [number])
            for index in range(3):
                session = sessions[(number + 2 * index) % 3]
                session.execute("ROLLBACK" if number % 4 == index else "COMMIT")
                seal(stream)
    report = verify(stream)
    assert report.is_whole, report.why
    assert report.streams[0].unsealed == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM audit_test_fact")
        assert report.streams[0].sealed == cursor.fetchone()[0] == 27


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_test_fact SET note = 'y' WHERE id = 2",
        "UPDATE audit_test_fact SET amount = amount + 0.00000001 WHERE id = 2",
        "UPDATE audit_test_fact SET note = NULL WHERE id = 2",
        "UPDATE audit_test_fact SET at = at + interval '1 microsecond' WHERE id = 2",
        "UPDATE audit_test_fact SET id = 99 WHERE id = 2",
        "DELETE FROM audit_test_fact WHERE id = 2",
    ],
)
def test_a_sealed_row_that_was_changed_is_found_at_its_seal(stream, statement):
    add(3)
    seal(stream)
    add(1)
    with as_owner(stream.table) as owner:
        owner.execute(statement)
    report = verify(stream)
    assert (report.is_whole, report.first_bad_seq) == (False, 1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_seal SET digest = repeat('0', 64)",
        "UPDATE audit_seal SET ranges = '[[1, 2]]', row_count = 2",
        "UPDATE audit_seal SET columns = '[\"id\"]'",
        "UPDATE audit_seal SET horizon = 99",
        "DELETE FROM audit_seal",
    ],
)
def test_a_seal_that_was_changed_is_found(stream, statement):
    add(3)
    seal(stream)
    with as_owner("audit_seal") as owner:
        owner.execute(statement)
    assert verify(stream).first_bad_seq == 1


def test_a_seal_the_chain_does_not_know_is_found(stream):
    add(3)
    seal(stream)
    add(1)
    with connect() as app, app.transaction():
        (seq,) = app.execute(
            "INSERT INTO audit_auditevent (body) SELECT (payload - 'occurred_at')::text"
            " FROM audit_auditevent WHERE seq = 1 RETURNING seq"
        ).fetchone()
        app.execute(
            "INSERT INTO audit_seal"
            " (stream, event_id, ranges, first_id, last_id, row_count, digest, columns, horizon)"
            " SELECT stream, %s, '[[4, 4]]', 4, 4, 1, digest, columns, 4 FROM audit_seal",
            [seq],
        )
    assert verify(stream).why == "there are seals that the chain does not know"


def test_an_older_seal_keeps_its_columns_when_a_stream_gains_one(stream):
    add(2)
    narrow = Stream(name=stream.name, table=stream.table, columns=("id", "note"))
    seal(narrow)
    add(2)
    seal(stream)
    assert verify(stream).is_whole


def test_an_export_with_rows_is_verified_without_the_database(stream):
    add(3, note='é " \\ \n\t 🚀')
    seal(stream)
    add(2)
    seal(stream)
    lines = list(export_lines(with_rows=True, streams=[stream]))
    chain, rows = verify_lines(lines)
    assert (chain.seq, rows.rows, len(lines)) == (2, 5, 7)
    assert len(list(export_lines(streams=[stream]))) == 2
    assert len(list(export_lines(after_seq=1, with_rows=True, streams=[stream]))) == 3


def test_the_digest_does_not_depend_on_the_session(stream):
    add(2)
    seal(stream)
    with connection.cursor() as cursor:
        cursor.execute(
            "SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'SQL, DMY'; SET bytea_output = 'escape'"
        )
    try:
        assert verify(stream).is_whole
    finally:
        connection.close()


def test_the_status_counts_what_waits_and_the_age_of_the_last_seal(stream):
    now = get_database_time()
    add(2)
    before = get_chain_status(now=now, streams=[stream])
    assert (before.head_seq, before.last_seal_at, before.last_seal_age) == (0, None, None)
    assert before.unsealed == {"facts": 2}
    seal(stream)
    add(1)
    status = get_chain_status(now=get_database_time() + timedelta(seconds=30), streams=[stream])
    assert (status.head_seq, status.unsealed, status.unanchored_since) == (1, {"facts": 1}, 1)
    assert isinstance(status.last_seal_at, datetime)
    assert timedelta(seconds=30) <= status.last_seal_age < timedelta(seconds=60)


def test_ranges_are_merged():
    assert merge_ranges([(5, 6), (1, 2), (3, 3), (9, 9), (5, 5)]) == [(1, 3), (5, 6), (9, 9)]
    assert merge_ranges([]) == []
