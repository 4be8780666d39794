"""The log in the database against someone with the owner's rights; the stand-alone verifier must agree."""

import random

import pytest
from django.db import connections, transaction

from controlplane.audit.exporting import export_lines
from controlplane.audit.models import AuditEvent
from controlplane.audit.services import record
from controlplane.audit.verification import LogReport, verify_database
from controlplane.audit.verify import Broken, event_hash, verify_lines
from tests.audit.tampering import BOTH_ROLES, always_triggers, as_owner

pytestmark = BOTH_ROLES

EVENTS = 12


@pytest.fixture
def log() -> list[AuditEvent]:
    with transaction.atomic():
        return [
            record(
                action="audit.export",
                actor=f"person{number}",
                subject_type="log",
                subject_id=number,
                reason="Für die Prüfung.",
                detail={"n": number},
            )
            for number in range(EVENTS)
        ]


def verify(**given: object) -> LogReport:
    return verify_database(using="owner", streams=(), **given)  # type: ignore[arg-type]


def first_bad_seq_of_export() -> int | None:
    try:
        verify_lines(export_lines(using="owner"))
    except Broken as broken:
        return broken.seq
    return None


def tamper(*statements: str) -> None:
    with as_owner("audit_auditevent", "audit_audithead") as owner:
        for statement in statements:
            owner.execute(statement)


def rewrite_from(seq: int) -> None:
    """What a careful owner does: change an event and hash everything after it anew, the head too."""
    with as_owner("audit_auditevent", "audit_audithead") as owner:
        rows = owner.execute(
            "SELECT seq, prev_hash, body FROM audit_auditevent WHERE seq >= %s ORDER BY seq", [seq]
        )
        prev = None
        changes = []
        for number, prev_hash, body in rows.fetchall():
            text = str(body).replace("Für die Prüfung.", "Nothing to see.") if number == seq else str(body)
            found = event_hash(number, prev or str(prev_hash), text.encode())
            changes.append((prev or prev_hash, found, text, text, number))
            prev = found
        owner.execute(
            "UPDATE audit_auditevent SET prev_hash = seq::text, hash = seq::text WHERE seq >= %s", [seq]
        )
        for change in changes:
            owner.execute(
                "UPDATE audit_auditevent SET prev_hash = %s, hash = %s, body = %s, payload = %s::jsonb"
                " WHERE seq = %s",
                change,
            )
        owner.execute("UPDATE audit_auditevent SET reason = payload ->> 'reason'")
        owner.execute("UPDATE audit_audithead SET hash = %s", [prev])


def test_an_untouched_log_is_whole(log):
    report = verify()
    assert (report.is_whole, report.events, report.head_hash) == (True, EVENTS, log[-1].hash)
    assert report.unanchored_since == 1
    assert first_bad_seq_of_export() is None


def test_an_empty_log_is_whole():
    assert verify().is_whole


def test_two_hundred_corruptions_are_each_found_by_both_verifiers(log):
    chance = random.Random(20260301)
    connection = connections["owner"]
    with transaction.atomic(using="owner"), connection.cursor() as cursor:
        for trigger in always_triggers_of("audit_auditevent"):
            cursor.execute(f"ALTER TABLE audit_auditevent DISABLE TRIGGER {trigger}")
        for _ in range(200):
            event = chance.choice(log)
            column = chance.choice(["prev_hash", "hash", "body", "body", "body"])
            text = str(getattr(event, column))
            place = chance.randrange(len(text))
            other = chance.choice([one for one in '0f{"\\ é\n,x' if one != text[place]])
            mark = transaction.savepoint(using="owner")
            cursor.execute(
                f"UPDATE audit_auditevent SET {column} = %s WHERE seq = %s",
                [text[:place] + other + text[place + 1 :], event.seq],
            )
            report = verify()
            assert (report.is_whole, report.first_bad_seq) == (False, event.seq), (column, place, other)
            assert first_bad_seq_of_export() == event.seq
            transaction.savepoint_rollback(mark, using="owner")
        transaction.set_rollback(True, using="owner")


def always_triggers_of(table: str) -> list[str]:
    with as_owner() as owner:
        return always_triggers(owner, table)


def test_a_deleted_event_is_found_by_both(log):
    tamper("DELETE FROM audit_auditevent WHERE seq = 5")
    assert verify().first_bad_seq == 5
    assert first_bad_seq_of_export() == 5


def test_swapped_bodies_are_found_by_both(log):
    tamper(
        "UPDATE audit_auditevent e SET body = o.body FROM audit_auditevent o"
        " WHERE (e.seq, o.seq) IN ((4, 5), (5, 4))"
    )
    assert verify().first_bad_seq == 4
    assert first_bad_seq_of_export() == 4


def test_a_cut_tail_is_found_by_the_head_and_by_a_checkpoint(log):
    tamper("DELETE FROM audit_auditevent WHERE seq > 9")
    assert verify().first_bad_seq == 10
    tamper("UPDATE audit_audithead SET seq = 9, hash = (SELECT hash FROM audit_auditevent WHERE seq = 9)")
    unanchored = verify()
    assert (unanchored.is_whole, unanchored.unanchored_since) == (True, 1)
    assert verify(checkpoints={12: log[-1].hash}).first_bad_seq == 10


def test_a_head_that_was_moved_is_found(log):
    tamper("UPDATE audit_audithead SET hash = repeat('0', 64)")
    assert verify().why.startswith("the head says")


def test_a_rewritten_log_is_found_only_by_a_checkpoint(log):
    rewrite_from(3)
    assert verify().is_whole
    assert AuditEvent.objects.get(seq=3).reason == "Nothing to see."
    assert verify(checkpoints={2: log[1].hash}).is_whole
    assert verify(checkpoints={8: log[7].hash}).first_bad_seq == 8


@pytest.mark.parametrize(
    "change",
    [
        "action = 'x'",
        "actor = 'x'",
        "actor_kind = 'x'",
        "subject_type = 'x'",
        "subject_id = 'x'",
        "reason = 'x'",
        "correlation_id = 'x'",
        "environment = 'x'",
        "occurred_at = occurred_at - interval '1 microsecond'",
        "payload = jsonb_set(payload, '{actor}', '\"x\"')",
    ],
)
def test_columns_that_say_something_else_than_the_hashed_text_are_found(log, change):
    tamper(f"UPDATE audit_auditevent SET {change} WHERE seq = 6")
    assert verify().first_bad_seq == 6
    assert first_bad_seq_of_export() is None


def test_checkpoints_say_from_where_nothing_vouches(log):
    assert verify(checkpoints={7: log[6].hash}).unanchored_since == 8
    assert verify(checkpoints={EVENTS: log[-1].hash}).unanchored_since is None


def test_what_was_verified_before_can_be_left_out(log):
    report = verify(after_seq=8)
    assert (report.is_whole, report.events, report.head_seq) == (True, 4, EVENTS)
    tamper("UPDATE audit_auditevent SET body = replace(body, 'Für', 'Fur') WHERE seq = 10")
    assert verify(after_seq=8).first_bad_seq == 10
    assert verify(after_seq=10, checkpoints={10: log[9].hash}).is_whole
    assert verify(after_seq=10, checkpoints={10: "0" * 64}).first_bad_seq == 11
    assert verify(after_seq=EVENTS).is_whole
