from datetime import timedelta

import pytest

from controlplane.audit.models import AuditEvent
from controlplane.audit.selectors import get_chain_status, get_database_time, list_events
from controlplane.audit.services import record

pytestmark = pytest.mark.django_db


@pytest.fixture
def log() -> list[AuditEvent]:
    return [
        record(
            action=action,
            actor=actor,
            subject_type="log",
            subject_id=subject,
            correlation_id=f"request-{subject}",
        )
        for action, actor, subject in (
            ("audit.export", "operator", "1"),
            ("audit.export.denied", "auditor", "2"),
            ("audit.seal", "system:sealer", "1"),
        )
    ]


def seqs(**filters: object) -> list[int]:
    return [event.seq for event in list_events(**filters)]  # type: ignore[arg-type]


def test_events_are_listed_by_seq_and_paged_by_it(log):
    assert seqs() == [1, 2, 3]
    assert seqs(limit=2) == [1, 2]
    assert seqs(after=2) == [3]
    assert seqs(newest_first=True, limit=2) == [3, 2]
    assert seqs(newest_first=True, before=2) == [1]


def test_events_are_found_by_what_is_known_of_them(log):
    assert seqs(action="audit.export") == [1]
    assert seqs(action="audit.") == [1, 2, 3]
    assert seqs(actor="sealer") == [3]
    assert seqs(subject_type="log", subject_id="1") == [1, 3]
    assert seqs(correlation_id="request-2") == [2]
    assert seqs(since=log[1].occurred_at, until=log[2].occurred_at) == [2]


def test_the_status_of_the_chain_names_its_head(log):
    now = get_database_time()
    status = get_chain_status(now=now, streams=())
    assert (status.head_seq, status.head_hash, status.last_event_at) == (3, log[2].hash, log[2].occurred_at)
    assert (status.last_seal_at, status.unsealed) == (None, {})
    assert now - status.last_event_at < timedelta(minutes=1)
