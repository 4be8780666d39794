import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from controlplane.audit.models import AuditEvent
from controlplane.audit.services import record
from controlplane.audit.tasks import seal
from tests.audit.tampering import as_owner

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def log() -> list[AuditEvent]:
    with transaction.atomic():
        return [
            record(action="audit.export", actor="operator", subject_type="log", subject_id=number)
            for number in range(5)
        ]


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("audit", *words, stdout=out)
    return out.getvalue()


def test_a_whole_log_is_verified(log):
    text = run("verify")
    assert f"whole: 5 events, head 5 {log[-1].hash}" in text
    assert "unanchored since seq 1" in text
    assert "fills: 0 rows sealed, 0 waiting" in text
    facts = json.loads(run("verify", "--json"))
    assert (facts["is_whole"], facts["head_seq"], facts["first_bad_seq"]) == (True, 5, None)


def test_a_broken_log_exits_1_and_names_the_event(log):
    with as_owner("audit_auditevent") as owner:
        owner.execute(
            "UPDATE audit_auditevent SET body = replace(body, 'operator', 'somebody') WHERE seq = 3"
        )
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("audit", "verify", stdout=out)
    assert ended.value.code == 1
    assert "broken: seq 3: the hash is not that of the body" in out.getvalue()


def test_an_export_is_verified_as_a_file(log, tmp_path, capsys):
    file = str(tmp_path / "log.jsonl")
    assert json.loads(run("export", "--output", file, "--json")) == {"output": file, "lines": 5}
    run("verify", file)
    assert "whole: 5 events" in capsys.readouterr().out
    heads = tmp_path / "heads"
    heads.write_text(json.dumps({"seq": 5, "hash": "0" * 64}))
    with pytest.raises(SystemExit) as ended:
        run("verify", file, "--checkpoints", str(heads), "--json")
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out)["first_bad_seq"] == 5


def test_the_database_is_compared_with_checkpoints(log, tmp_path):
    heads = tmp_path / "heads"
    heads.write_text(json.dumps({"seq": 4, "hash": log[3].hash}))
    assert "unanchored since seq 5" in run("verify", "--checkpoints", str(heads))
    heads.write_text("nonsense")
    with pytest.raises(CommandError, match="heads:1") as refusal:
        run("verify", "--checkpoints", str(heads))
    assert refusal.value.returncode == 2


def test_an_export_goes_to_standard_output_and_may_begin_later(log, capfdbinary):
    run("export", "--after", "3")
    lines = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [4, 5]


def test_an_export_in_someones_name_is_recorded(log, tmp_path):
    run("export", "--output", str(tmp_path / "log"), "--actor", "auditor", "--reason", "Yearly audit.")
    event = AuditEvent.objects.get(seq=6)
    assert (event.action, event.actor, event.reason) == ("audit.export", "auditor", "Yearly audit.")
    assert len((tmp_path / "log").read_bytes().splitlines()) == 6


def test_a_place_that_cannot_be_written_is_one_line_and_exit_2(log, tmp_path):
    with pytest.raises(CommandError, match="No such file") as refusal:
        run("export", "--output", str(Path(tmp_path) / "absent" / "log"))
    assert refusal.value.returncode == 2


def test_a_seq_must_be_a_number():
    with pytest.raises(CommandError, match="'x' is not a seq"):
        run("export", "--after", "x")


def test_the_task_seals_what_is_registered(log):
    seal()
    assert AuditEvent.objects.count() == 5
