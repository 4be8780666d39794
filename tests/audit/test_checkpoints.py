"""Checkpoints of the real log: signed, kept outside, tried again, and used."""

import io
import json
import stat
import sys

import pytest
from django.core.management import CommandError, call_command

from controlplane import guard
from controlplane.alerts.models import Alert
from controlplane.audit.anchors import read_anchors
from controlplane.audit.checkpoints import (
    deliver_checkpoints,
    get_public_key,
    keep_checkpoints,
    write_checkpoint,
)
from controlplane.audit.models import AuditEvent, Checkpoint, CheckpointSink, Verification
from controlplane.audit.selectors import get_chain_status, get_database_time, get_last_anchor_time
from controlplane.audit.verification import keep_verified, verify_database
from tests.audit.anchoring import KEY, PUBLIC, add_events, export_to, key_file, line_of, outside  # noqa: F401
from tests.audit.tampering import as_owner
from tests.audit.test_verify import run

pytestmark = pytest.mark.django_db(transaction=True)


def audit(*words: str) -> str:
    out = io.StringIO()
    call_command("audit", *words, stdout=out)
    return out.getvalue()


def test_a_checkpoint_is_a_line_outside_that_an_auditor_can_check(outside, key_file):  # noqa: F811
    events = add_events(3)
    first = write_checkpoint("first")
    second = write_checkpoint("second")
    (file,) = outside.glob("*.jsonl")
    assert file.read_text().splitlines() == [line_of(first), line_of(second)]
    assert stat.S_IMODE(file.stat().st_mode) & 0o137 == 0
    anchors = read_anchors(str(outside), str(key_file))
    assert anchors.heads == {3: events[-1].hash}
    assert (anchors.last["reason"], anchors.gaps) == ("second", [])
    assert second.previous == first.digest


def test_the_key_is_in_no_row_and_no_file_outside(outside):  # noqa: F811
    add_events(1)
    checkpoint = write_checkpoint("a test")
    stored = json.dumps(Checkpoint.objects.values_list("body", "signature", "digest").get())
    assert KEY not in stored + line_of(checkpoint) + "".join(f.read_text() for f in outside.iterdir())
    assert get_public_key().hex() == PUBLIC


def test_nothing_is_signed_of_an_empty_log_or_without_a_key(outside, settings):  # noqa: F811
    assert write_checkpoint("empty") is None
    add_events(1)
    settings.AUDIT_SIGNING_KEY = ""
    assert write_checkpoint("no key") is None
    assert not Checkpoint.objects.exists()


def test_the_guard_writes_one_an_hour_and_after_what_matters(outside):  # noqa: F811
    add_events(1)
    now = get_database_time()
    assert keep_checkpoints(now=now) == ()
    add_events(1)
    keep_checkpoints(now=now)
    assert Checkpoint.objects.count() == 1
    audit("segment", "close", "--actor", "operator", "--reason", "The year is over.")
    assert Checkpoint.objects.count() == 2
    later = Checkpoint.objects.last().at + guard.keep_checkpoints.__globals__["CHECKPOINT_INTERVAL"]
    keep_checkpoints(now=later)
    assert [row.reason for row in Checkpoint.objects.order_by("id")] == ["hourly", "segment closed", "hourly"]


def test_an_event_that_matters_is_anchored_though_nobody_called(outside, settings):  # noqa: F811
    add_events(1)
    now = get_database_time()
    keep_checkpoints(now=now)
    settings.AUDIT_SIGNING_KEY = ""
    audit("segment", "close", "--actor", "operator", "--reason", "The year is over.")
    settings.AUDIT_SIGNING_KEY = KEY
    keep_checkpoints(now=now)
    assert Checkpoint.objects.last().reason == "audit.segment_close"
    assert Checkpoint.objects.last().seq == 2


def test_a_place_that_fails_holds_up_nothing_and_is_tried_again(outside):  # noqa: F811
    add_events(2)
    outside.write_text("a file where the folder should be")
    first = write_checkpoint("while it is broken")
    guard.anchor_log()
    sink = CheckpointSink.objects.get()
    assert (sink.delivered, sink.failing_since is None) == (None, False)
    alert = Alert.objects.get(code="audit_checkpoint_failed")
    assert (alert.scope, alert.resolved_at) == ("directory", None)
    assert "FileExistsError" in alert.text
    assert get_last_anchor_time() is None

    outside.unlink()
    guard.anchor_log()
    alert.refresh_from_db()
    assert alert.resolved_at is not None
    (file,) = outside.glob("*.jsonl")
    assert file.read_text().splitlines() == [line_of(first)]
    assert get_last_anchor_time() == first.at


def test_nothing_configured_is_an_alert_that_says_what_to_set():
    add_events(1)
    guard.anchor_log()
    texts = dict(Alert.objects.values_list("scope", "text"))
    assert "AUDIT_SIGNING_KEY is not set" in texts["key"]
    assert "AUDIT_CHECKPOINT_DIR" in texts["place"]


def test_a_command_gets_each_checkpoint_and_its_zero_is_the_proof(outside, settings, tmp_path):  # noqa: F811
    taken = tmp_path / "taken"
    script = tmp_path / "hook.py"
    script.write_text(f"import sys; open({str(taken)!r}, 'a').write(sys.stdin.read()); sys.exit(0)")
    settings.AUDIT_CHECKPOINT_COMMAND = f"{sys.executable} {script}"
    add_events(1)
    first, second = write_checkpoint("one"), write_checkpoint("two")
    assert deliver_checkpoints("command", now=first.at) == ""
    assert taken.read_text().splitlines() == [line_of(first), line_of(second)]

    script.write_text("import sys; sys.exit(3)")
    third = write_checkpoint("three")
    assert "exit status 3" in deliver_checkpoints("command", now=third.at)
    assert CheckpointSink.objects.get(name="command").delivered_id == second.pk
    settings.AUDIT_CHECKPOINT_COMMAND = str(tmp_path / "absent")
    assert "FileNotFoundError" in deliver_checkpoints("command", now=third.at)


def test_verification_uses_what_is_outside(outside):  # noqa: F811
    add_events(3)
    assert "unanchored since seq 1" in audit("verify")
    write_checkpoint("a test")
    assert "anchored to the end" in audit("verify")
    add_events(1)
    text = audit("verify")
    assert "unanchored since seq 4" in text
    assert "last checkpoint: seq 3" in text
    assert "signature checked" in text
    assert get_chain_status(now=get_database_time()).unanchored_since == 4


def cut_tail(owner):
    owner.execute("DELETE FROM audit_auditevent WHERE seq > 3")
    owner.execute(
        "UPDATE audit_audithead SET seq = 3, hash = (SELECT hash FROM audit_auditevent WHERE seq = 3)"
    )


def rewrite_all(owner):
    """As the owner of the database can: every link made again, the head with it."""
    owner.execute(
        """
        DO $$
        DECLARE e record; prev text := repeat('0', 64); b text; h text;
        BEGIN
            FOR e IN SELECT seq, body FROM audit_auditevent ORDER BY seq LOOP
                b := replace(e.body, 'operator', 'somebody');
                h := encode(sha256('\\x61756469742d763100'::bytea
                    || convert_to(e.seq || prev || b, 'UTF8')), 'hex');
                UPDATE audit_auditevent SET body = b, payload = b::jsonb, actor = payload ->> 'actor',
                    prev_hash = prev, hash = h WHERE seq = e.seq;
                UPDATE audit_auditevent SET actor = payload ->> 'actor' WHERE seq = e.seq;
                prev := h;
            END LOOP;
            UPDATE audit_audithead SET hash = prev;
        END $$
        """
    )


@pytest.mark.parametrize(("harm", "bad"), [(cut_tail, 4), (rewrite_all, 6)])
def test_what_the_chain_cannot_show_is_shown_by_what_is_outside(outside, key_file, tmp_path, harm, bad):  # noqa: F811
    add_events(6)
    write_checkpoint("a test")
    with as_owner("audit_auditevent", "audit_audithead") as owner:
        harm(owner)
    blind = verify_database()
    assert (blind.is_whole, blind.unanchored_since) == (True, 1)
    with pytest.raises(SystemExit):
        audit("verify")
    assert Verification.objects.get().first_bad_seq == bad
    export = export_to(tmp_path / "log.jsonl")
    ended = run(export, "--checkpoints", outside, "--key", key_file)
    assert ended.returncode == 1
    assert f"broken: seq {bad}: " in ended.stdout


def test_a_log_that_is_not_whole_is_an_alarm_until_it_is(outside):  # noqa: F811
    add_events(3)
    guard.verify_log()
    assert Verification.objects.get().is_whole
    assert not Alert.objects.filter(code="audit_broken").exists()
    with as_owner("audit_auditevent") as owner:
        owner.execute("UPDATE audit_auditevent SET body = replace(body, 'To see', 'To be') WHERE seq = 2")
    assert keep_verified(now=get_database_time()).is_whole  # once a day
    with pytest.raises(SystemExit):
        audit("verify")
    guard.verify_log()
    alert = Alert.objects.get(code="audit_broken")
    assert (alert.severity, alert.resolved_at) == ("critical", None)
    assert "from seq 2" in alert.text


def test_checkpoints_that_cannot_be_trusted_are_an_alarm(outside):  # noqa: F811
    add_events(1)
    write_checkpoint("a test")
    (file,) = outside.glob("*.jsonl")
    file.write_text(file.read_text().replace("a test", "a tEst"))
    guard.verify_log()
    assert "the signature is not by a key" in Alert.objects.get(code="audit_broken").text


def test_the_command_signs_in_someones_name_and_says_who_has_it(outside):  # noqa: F811
    add_events(1)
    assert audit("checkpoint", "--public-key").strip() == PUBLIC
    facts = json.loads(audit("checkpoint", "--actor", "operator", "--reason", "Before the audit.", "--json"))
    event = AuditEvent.objects.get(action="audit.checkpoint")
    assert (facts["seq"], facts["sinks"], event.reason) == (event.seq, {"directory": ""}, "Before the audit.")
    with pytest.raises(CommandError, match="--actor is required"):
        audit("checkpoint", "--reason", "Nobody did it.")


def test_the_command_fails_where_nobody_outside_has_it(outside, settings):  # noqa: F811
    add_events(1)
    settings.AUDIT_CHECKPOINT_DIR = ""
    with pytest.raises(SystemExit) as ended:
        audit("checkpoint", "--actor", "operator", "--reason", "Before the audit.")
    assert ended.value.code == 1
    settings.AUDIT_SIGNING_KEY = ""
    with pytest.raises(CommandError, match="AUDIT_SIGNING_KEY") as refusal:
        audit("checkpoint", "--actor", "operator", "--reason", "Before the audit.")
    assert refusal.value.returncode == 2
