"""The five questions of an auditor, each with a bad answer where something was done."""

import io
import json

import pytest
from django.conf import settings
from django.core.management import call_command

from controlplane.audit.checkpoints import write_checkpoint
from controlplane.audit.models import AuditEvent
from tests.audit.anchoring import add_events, outside  # noqa: F401
from tests.audit.tampering import BOTH_ROLES, as_owner, connect

pytestmark = BOTH_ROLES
ROLE = settings.DATABASES["default"]["USER"]


def inspect() -> tuple[int, dict[str, dict[str, object]]]:
    out, code = io.StringIO(), 0
    try:
        call_command("audit", "inspect", "--json", stdout=out)
    except SystemExit as ended:
        code = int(str(ended.code))
    return code, {finding["question"][0]: finding for finding in json.loads(out.getvalue())}


@pytest.fixture
def log(outside) -> list[AuditEvent]:  # noqa: F811
    events = add_events(5)
    write_checkpoint("a test")
    return events


def bad() -> set[str]:
    code, findings = inspect()
    found = {number for number, finding in findings.items() if not finding["is_good"]}
    assert code == int(bool(found))
    return found


def test_a_good_log_has_five_good_answers(log):
    code, findings = inspect()
    assert (code, len(findings)) == (0, 5), findings
    assert "anchored to the end" in str(findings["2"]["answer"])
    out = io.StringIO()
    call_command("audit", "inspect", stdout=out)
    assert out.getvalue().count("ok ") == 5


def test_without_anything_outside_the_first_answer_is_bad():
    add_events(1)
    assert bad() == {"1"}


def test_a_changed_event_is_the_second_answer(log):
    with as_owner("audit_auditevent") as owner:
        owner.execute("UPDATE audit_auditevent SET body = replace(body, 'To see', 'To be') WHERE seq = 2")
    assert bad() == {"2"}


def test_a_changed_head_is_the_first_and_a_lost_event_the_third(log):
    with as_owner("audit_auditevent") as owner:
        owner.execute("DELETE FROM audit_auditevent WHERE seq = 3")
    assert bad() == {"2", "3"}
    assert "seq 3 is missing" in str(inspect()[1]["3"]["answer"])
    with as_owner("audit_auditevent") as owner:
        owner.execute("DELETE FROM audit_auditevent WHERE seq = 5")
    assert bad() == {"1", "2", "3"}


def test_a_row_without_its_event_is_the_fourth(log):
    with as_owner("audit_segment") as owner:
        owner.execute(
            "INSERT INTO audit_segment (first_seq, last_seq, last_hash, closed_at) VALUES (1, 2, '', now())"
        )
    assert bad() == {"4"}
    assert "audit.segment_close of 1: 1 rows, 0 events" in str(inspect()[1]["4"]["answer"])


def test_a_right_too_many_and_a_guard_that_is_gone_are_the_fifth(log):
    with connect("owner") as owner:
        owner.execute(f"GRANT DELETE ON approvals_vote TO {ROLE}")
        assert bad() == {"5"}
        owner.execute(f"REVOKE DELETE ON approvals_vote FROM {ROLE}")
        owner.execute("ALTER TABLE golive_hold DISABLE TRIGGER golive_hold_latch")
        assert bad() == {"5"}
        owner.execute("ALTER TABLE golive_hold ENABLE ALWAYS TRIGGER golive_hold_latch")
    assert bad() == set()
