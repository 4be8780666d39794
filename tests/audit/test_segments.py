"""Retention: closed segments leave whole, and nothing else ever does."""

import io
import json
from datetime import timedelta

import psycopg
import pytest
from django.core.management import CommandError, call_command

from controlplane.audit.checkpoints import write_checkpoint
from controlplane.audit.models import AuditEvent, Detachment, Seal, Segment
from controlplane.audit.sealing import seal_streams
from controlplane.audit.segments import close_segment, detach_segment
from controlplane.audit.selectors import get_database_time
from controlplane.audit.verification import verify_database
from controlplane.errors import Conflict, InvalidInput
from tests.audit.anchoring import add_events, export_to, key_file, outside  # noqa: F401
from tests.audit.tampering import BOTH_ROLES, connect
from tests.audit.test_verify import run

pytestmark = BOTH_ROLES
WHO = {"actor": "operator", "reason": "The year is over."}


def audit(*words: str) -> str:
    out = io.StringIO()
    call_command("audit", *words, stdout=out)
    return out.getvalue()


def in_years(years: float):
    return get_database_time() + timedelta(days=366 * years)


@pytest.fixture
def closed(outside) -> Segment:  # noqa: F811
    add_events(5)
    return close_segment(**WHO)


def test_the_event_that_closes_a_segment_begins_the_next_one(closed):
    genesis = AuditEvent.objects.get(action="audit.segment_close")
    assert (closed.first_seq, closed.last_seq, genesis.seq) == (1, 5, 6)
    assert genesis.prev_hash == closed.last_hash == AuditEvent.objects.get(seq=5).hash
    add_events(2)
    second = close_segment(**WHO)
    assert (second.first_seq, second.last_seq) == (6, 8)


def test_an_empty_log_has_nothing_to_close():
    with pytest.raises(Conflict, match="nothing to close"):
        close_segment(**WHO)
    assert not AuditEvent.objects.exists()


def test_a_segment_leaves_whole_and_both_files_still_verify_as_one_log(closed, outside, key_file, tmp_path):  # noqa: F811
    first = export_to(tmp_path / "first.jsonl", until_seq=closed.last_seq)
    detach_segment(first_seq=1, export=first, now=in_years(6), **WHO)
    assert list(AuditEvent.objects.order_by("seq").values_list("seq", "action")) == [
        (6, "audit.segment_close"),
        (7, "audit.segment_detach"),
    ]
    detail = AuditEvent.objects.get(seq=7).payload["detail"]
    assert (detail["first_seq"], detail["last_seq"], detail["last_hash"]) == (1, 5, closed.last_hash)
    assert Detachment.objects.get().export_sha256 == detail["export_sha256"]
    write_checkpoint("after it")
    report = verify_database()
    assert (report.is_whole, report.events, report.first_bad_seq) == (True, 2, None)
    second = export_to(tmp_path / "second.jsonl")
    ended = run(first, second, "--checkpoints", outside, "--key", key_file)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "whole: 7 events" in ended.stdout
    assert "anchored to the end" in ended.stdout
    assert "anchored to the end" in audit("verify")
    assert '"is_detached": true' in audit("segment", "list", "--json")


def test_what_speaks_against_it_is_said(closed, settings, tmp_path):
    whole = export_to(tmp_path / "whole", until_seq=closed.last_seq)

    def refused(error, match, **changes):
        given = {"first_seq": 1, "export": whole, "now": in_years(6), **WHO} | changes
        with pytest.raises(error, match=match):
            detach_segment(**given)

    refused(Conflict, "it is kept until", now=in_years(4.9))
    refused(InvalidInput, "ends at seq 4", export=export_to(tmp_path / "short", until_seq=4))
    refused(InvalidInput, "ends at seq 6", export=export_to(tmp_path / "long"))
    harmed = tmp_path / "harmed"
    harmed.write_bytes(whole.read_bytes().replace(b"operator", b"somebody", 1))
    refused(InvalidInput, "seq 1: the hash is not that of the body", export=harmed)
    refused(InvalidInput, "No such file", export=tmp_path / "absent")
    add_events(1)
    second = close_segment(**WHO)
    refused(Conflict, "an earlier segment", first_seq=second.first_seq)
    detach_segment(first_seq=1, export=whole, now=in_years(6), **WHO)
    refused(Conflict, "detached already")
    assert AuditEvent.objects.filter(action="audit.segment_detach").count() == 1


def test_a_segment_that_nobody_outside_vouches_for_stays(tmp_path):
    add_events(3)
    closed = close_segment(**WHO)
    whole = export_to(tmp_path / "whole", until_seq=closed.last_seq)
    with pytest.raises(Conflict, match="no checkpoint kept outside"):
        detach_segment(first_seq=1, export=whole, now=in_years(6), **WHO)


def test_the_application_can_neither_delete_nor_say_that_a_segment_is_detached(closed):
    with connect() as app:
        for statement in (
            "DELETE FROM audit_auditevent WHERE seq = 1",
            "INSERT INTO audit_detachment (segment_id, export_sha256, event_seq, at)"
            " SELECT id, '', 1, now() FROM audit_segment",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(statement)


def test_the_owner_deletes_what_is_detached_and_nothing_else(closed, tmp_path):
    whole = export_to(tmp_path / "whole", until_seq=closed.last_seq)
    detach_segment(first_seq=1, export=whole, now=in_years(6), **WHO)
    with connect("owner") as owner:
        for statement in (
            "DELETE FROM audit_auditevent WHERE seq = 6",
            "UPDATE audit_auditevent SET reason = ''",
            "DELETE FROM audit_detachment",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                owner.execute(statement)


def test_sealed_rows_stay_sealed_when_the_event_of_their_seal_is_gone(outside, stream, tmp_path):  # noqa: F811
    with connect() as app:
        app.execute("INSERT INTO audit_test_fact (amount) SELECT generate_series(1, 5)")
    seal_streams(now=get_database_time(), at_once=True, streams=[stream])
    closed = close_segment(**WHO)
    whole = tmp_path / "whole"
    audit("export", "--segment", "1", "--output", str(whole))
    detach_segment(first_seq=1, export=whole, now=in_years(6), **WHO)
    assert Seal.objects.get().event_id == closed.last_seq
    assert seal_streams(now=get_database_time(), streams=[stream]).rows == 0
    with connect() as app:
        app.execute("INSERT INTO audit_test_fact (amount) VALUES (6)")
    assert seal_streams(now=get_database_time(), at_once=True, streams=[stream]).rows == 1
    report = verify_database(streams=[stream])
    assert (report.is_whole, report.streams[0].sealed) == (True, 6)


def test_the_commands_tell_the_story(outside, settings, tmp_path):  # noqa: F811
    settings.AUDIT_KEEP_YEARS = 0
    add_events(4)
    names = ("--actor", "operator", "--reason", "The year is over.")
    assert json.loads(audit("segment", "close", *names, "--json"))["last_seq"] == 4
    file = str(tmp_path / "segment")
    assert "4 lines" in audit("export", "--segment", "1", "--output", file)
    with pytest.raises(CommandError, match="no segment begins at seq 2"):
        audit("segment", "detach", "2", "--export", file, *names)
    assert "export_sha256" in audit("segment", "detach", "1", "--export", file, *names)
    assert "is_detached True" in audit("segment", "list")
