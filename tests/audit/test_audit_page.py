"""The log's own page: filters, words, pages by key, what it says of itself, and the export."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from controlplane.approvals.core import Role
from controlplane.approvals.models import Designation
from controlplane.audit.checkpoints import write_checkpoint
from controlplane.audit.models import AuditEvent
from controlplane.audit.services import record
from controlplane.audit.verification import keep_verified, store_verification, verify_database
from controlplane.audit.verify import verify_lines
from tests.audit.anchoring import add_events, outside  # noqa: F401
from tests.audit.tampering import as_owner
from tests.factories import ApiTokenFactory

LIST = "/admin/audit/auditevent/"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def log() -> list[AuditEvent]:
    facts = (
        ("audit.export", "alice", "log", "1", "The yearly audit, as agreed.", "trace-1"),
        ("audit.segment_close", "system:sealer", "stream", "fills", "", ""),
        ("audit.export.denied", "bob", "log", "2", "He wanted a needle of it.", "trace-2"),
        ("audit.checkpoint", "alice", "log", "desk", "Before the holidays.", "trace-1"),
    )
    names = ("action", "actor", "subject_type", "subject_id", "reason", "correlation_id")
    with transaction.atomic():
        return [record(**dict(zip(names, fact, strict=True))) for fact in facts]


@pytest.fixture
def admin(log) -> Client:
    """Somebody who signed in after the four events of the log; that is the fifth."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def seqs(client: Client, **query: object) -> list[int]:
    answer = client.get(LIST, query)
    assert answer.status_code == 200
    return [event.seq for event in answer.context["cl"].result_list if event.seq <= 4]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"action": "audit.export"}, [1]),
        ({"action": "audit.export.denied"}, [3]),
        ({"action": "audit."}, [4, 3, 2, 1]),
        ({"actor": "alice"}, [4, 1]),
        ({"actor": "nobody"}, []),
        ({"subject": "stream:fills"}, [2]),
        ({"subject": "desk"}, [4]),
        ({"correlation": "trace-1"}, [4, 1]),
        ({"correlation": "trace-1", "action": "audit.export"}, [1]),
        ({"q": "needle"}, [3]),
        ({"q": "holidays before"}, [4]),
        ({"q": "haystack"}, []),
        ({"q": "3"}, [3]),
        ({"before": "3"}, [2, 1]),
        ({"before": "x"}, [4, 3, 2, 1]),
        ({"since": "2000-01-01T00:00"}, [4, 3, 2, 1]),
        ({"until": "2000-01-01"}, []),
        ({"since": "2999-01-01"}, []),
        ({"since": "yesterday"}, [4, 3, 2, 1]),
    ],
)
def test_each_filter_finds_what_it_names(admin, log, query, found):
    assert seqs(admin, **query) == found


def test_a_time_range_is_half_open(admin, log):
    middle, last = log[1].occurred_at, log[3].occurred_at
    assert seqs(admin, since=middle.isoformat(), until=last.isoformat()) == [3, 2]
    assert seqs(admin, since=(last + timedelta(seconds=1)).isoformat()) == []


def test_pages_follow_by_key_without_a_hole_and_nothing_is_counted(admin):
    add_events(120)
    seen, query = [], ""
    with CaptureQueriesContext(
        connection,
    ) as asked:
        for _ in range(3):
            page = admin.get(LIST + query)
            seen += [event.seq for event in page.context["cl"].result_list]
            query = page.context["cl"].older
    assert seen == list(range(AuditEvent.objects.latest("seq").seq, 0, -1))
    assert len(seen) > 120
    assert query == ""
    statements = " ".join(one["sql"] for one in asked if "audit_auditevent" in one["sql"])
    assert "COUNT(*)" not in statements
    assert "OFFSET" not in statements


def test_the_page_says_whether_the_log_is_whole_and_anchored(admin, log, outside):  # noqa: F811
    text = admin.get(LIST).content.decode()
    assert "Not verified yet" in text
    assert "Unanchored since seq 1" in text
    keep_verified(now=log[-1].occurred_at)
    write_checkpoint("a test")
    text = admin.get(LIST).content.decode()
    head = AuditEvent.objects.latest("seq").seq
    assert f"Whole up to seq {head}" in text
    assert "Anchored to the end" in text
    assert f"Directory has seq {head}" in text


def test_the_page_names_the_first_bad_event(admin, log):
    with as_owner("audit_auditevent") as owner:
        owner.execute("UPDATE audit_auditevent SET body = replace(body, 'alice', 'carol') WHERE seq = 1")
    store_verification(verify_database(), at=log[-1].occurred_at)
    assert "the first bad event is seq 1" in admin.get(LIST).content.decode()


@pytest.fixture
def auditor(log) -> Client:
    person = User.objects.create_user("ann", is_staff=True)
    Designation.objects.create(user=person, role=Role.AUDITOR.value, designated_by="root")
    client = Client()
    client.force_login(person)
    return client


def test_an_auditor_takes_the_log_along_and_that_is_in_it(auditor, log):
    answer = auditor.post("/admin/audit-export/", {"reason": "For the yearly audit."})
    assert answer.status_code == 200
    lines = b"".join(answer.streaming_content).splitlines(keepends=True)
    chain, _ = verify_lines(lines)
    assert chain.seq == AuditEvent.objects.latest("seq").seq
    event = json.loads(lines[-1])["body"]
    assert (event["action"], event["actor"], event["reason"]) == (
        "audit.export",
        "ann",
        "For the yearly audit.",
    )


def test_nobody_else_does_and_the_attempt_is_in_the_log(admin, auditor, log):
    answer = admin.post("/admin/audit-export/", {"reason": "Only out of curiosity."})
    assert answer.status_code == 403
    last = AuditEvent.objects.latest("seq")
    assert (last.action, last.actor) == ("audit.export.denied", "root")
    assert auditor.post("/admin/audit-export/", {"reason": "short"}).status_code == 422
    assert auditor.get("/admin/audit-export/").status_code == 405
    assert Client().post("/admin/audit-export/", {"reason": "For the yearly audit."}).status_code == 302


def test_checkpoints_are_read_page_by_page(log, outside):  # noqa: F811
    ApiTokenFactory(name="bot", raw="a-token-for-tests")
    first, second = write_checkpoint("one"), write_checkpoint("two")
    client, headers = Client(), {"Authorization": "Bearer a-token-for-tests"}
    page = client.get("/api/v1/audit/checkpoints?limit=1", headers=headers).json()
    assert page["items"][0]["body"] == first.body
    assert page["items"][0]["signature"] == first.signature
    rest = client.get(f"/api/v1/audit/checkpoints?after={page['next']}", headers=headers).json()
    assert [item["digest"] for item in rest["items"]] == [second.digest]
    assert rest["next"] is None


def test_words_that_many_events_hold_find_all_of_them_page_by_page(admin):
    add_events(600)
    page = admin.get(LIST, {"q": "To see it"})
    assert len(page.context["cl"].result_list) == 50
    assert page.context["cl"].older
    assert {event.reason for event in page.context["cl"].result_list} == {"To see it."}
    assert page.context["cl"].result_list[0].seq > page.context["cl"].result_list[49].seq
