import hashlib
import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction

from controlplane.audit.actions import UnknownAction, get_registered_actions
from controlplane.audit.canonical import NotCanonical
from controlplane.audit.models import AuditEvent, AuditHead
from controlplane.audit.selectors import get_database_time
from controlplane.audit.services import NotInTransaction, audited_attempt, record
from controlplane.audit.verification import verify_database
from controlplane.errors import NotPermitted
from tests.audit.tampering import as_owner

FACTS = {"action": "audit.export", "actor": "operator", "subject_type": "log", "subject_id": "1"}


class SelfApproval(NotPermitted):
    code = "self_approval"


def approve_own_request() -> None:
    with (
        audited_attempt(**FACTS, reason="I want to.", detail={"asked": 1}),
        transaction.atomic(durable=True),
    ):
        record(**FACTS)
        raise SelfApproval("you asked for it yourself")


@pytest.mark.django_db
def test_an_event_says_who_did_what_to_what_and_why():
    event = record(
        **FACTS, reason="For the auditor.", detail={"limit": Decimal("1.50")}, correlation_id="request-1"
    )
    assert (event.action, event.actor, event.actor_kind) == ("audit.export", "operator", "user")
    assert (event.subject_type, event.subject_id, event.reason) == ("log", "1", "For the auditor.")
    assert (event.correlation_id, event.environment) == ("request-1", "paper")
    assert event.payload["detail"] == {"limit": "1.5"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("actor", "kind", "name"), [("system:sealer", "system", "sealer"), ("guard:watch", "guard", "watch")]
)
def test_an_actor_may_be_something_other_than_a_person(actor, kind, name):
    event = record(**{**FACTS, "actor": actor})
    assert (event.actor_kind, event.actor) == (kind, name)


@pytest.mark.django_db
@pytest.mark.parametrize("actor", ["", "robot:x", "user:"])
def test_an_actor_of_no_known_kind_is_a_bug(actor):
    with pytest.raises(ValueError, match="actor"):
        record(**{**FACTS, "actor": actor})


@pytest.mark.django_db
def test_links_follow_one_another_by_the_documented_recipe():
    first, second = record(**FACTS), record(**FACTS)
    assert (second.seq, second.prev_hash) == (first.seq + 1, first.hash)
    recipe = b"audit-v1\0" + str(second.seq).encode() + first.hash.encode() + second.body.encode()
    assert second.hash == hashlib.sha256(recipe).hexdigest()
    head = AuditHead.objects.get()
    assert (head.seq, head.hash, head.occurred_at) == (second.seq, second.hash, second.occurred_at)


@pytest.mark.django_db
def test_the_first_event_follows_sixty_four_zeros():
    assert record(**FACTS).seq == 1
    assert AuditEvent.objects.get(pk=1).prev_hash == "0" * 64


@pytest.mark.django_db
def test_any_text_can_be_recorded():
    strange = '\0 \ud800 \u2028 \x1f " \\ 日本 e\u0301 🚀 \n'
    event = record(**{**FACTS, "subject_id": strange}, reason=strange, detail={strange: strange})
    assert "日本" in event.reason
    assert verify_database(streams=()).is_whole


@pytest.mark.django_db
def test_a_float_is_refused_because_its_text_is_not_its_value():
    with pytest.raises(NotCanonical, match=r"\$\.detail\.ratio"):
        record(**FACTS, detail={"ratio": 0.1})


@pytest.mark.django_db
def test_secrets_are_taken_out_before_hashing():
    key = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
    event = record(**FACTS, reason=f"it was {key}", detail={"api_secret": "short", "answer": [f"no {key}"]})
    assert key not in event.body
    assert "short" not in event.body
    assert verify_database(streams=()).is_whole


@pytest.mark.django_db
def test_an_action_nobody_registered_is_a_bug():
    with pytest.raises(UnknownAction, match=r"audit\.erased"):
        record(**{**FACTS, "action": "audit.erased"})


def test_every_registered_action_has_a_plain_name():
    for action in get_registered_actions():
        assert action.replace(".", "").replace("_", "").isalpha()
        assert action == action.lower()
        assert not action.endswith(".denied")


@pytest.mark.django_db(transaction=True)
def test_an_event_outside_a_transaction_is_refused():
    with pytest.raises(NotInTransaction):
        record(**FACTS)
    assert not AuditEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_event_goes_with_the_change_that_is_rolled_back_and_leaves_no_gap():
    with transaction.atomic():
        record(**FACTS)
        transaction.set_rollback(True)
    with transaction.atomic():
        assert record(**FACTS).seq == 1


@pytest.mark.django_db(transaction=True)
def test_a_denied_attempt_is_remembered_though_it_was_rolled_back():
    with pytest.raises(SelfApproval):
        approve_own_request()
    (event,) = AuditEvent.objects.all()
    assert (event.action, event.actor, event.reason) == ("audit.export.denied", "operator", "I want to.")
    assert event.payload["detail"] == {
        "asked": 1,
        "code": "self_approval",
        "refusal": "you asked for it yourself",
    }


@pytest.mark.django_db(transaction=True)
def test_an_attempt_that_succeeds_leaves_only_its_own_event():
    with audited_attempt(**FACTS), transaction.atomic(durable=True):
        record(**FACTS)
    assert [event.action for event in AuditEvent.objects.all()] == ["audit.export"]


@pytest.mark.django_db(transaction=True)
def test_an_attempt_inside_a_transaction_is_refused_because_its_denial_could_be_erased():
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"), audited_attempt(**FACTS):
        pass


@pytest.mark.django_db(transaction=True)
def test_a_bug_in_an_attempt_is_not_taken_for_a_denial():
    with pytest.raises(ZeroDivisionError), audited_attempt(**FACTS):
        _ = 1 / 0
    assert not AuditEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_six_writers_never_fork_the_chain():
    writers, rounds = 6, 30
    barrier = threading.Barrier(writers)
    failures: list[BaseException] = []

    def write(name: str) -> None:
        try:
            for number in range(rounds):
                barrier.wait(timeout=30)
                with transaction.atomic():
                    record(**{**FACTS, "actor": name}, detail={"round": number})
        except BaseException as error:
            failures.append(error)
            barrier.abort()
            raise
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(f"writer{number}",)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    events = list(AuditEvent.objects.order_by("seq"))
    assert [event.seq for event in events] == list(range(1, writers * rounds + 1))
    assert len({event.prev_hash for event in events}) == len(events)
    assert [event.occurred_at for event in events] == sorted(event.occurred_at for event in events)
    assert verify_database(streams=()).is_whole


@pytest.mark.django_db(transaction=True)
def test_time_never_goes_back_even_when_the_clock_does():
    ahead = get_database_time() + timedelta(hours=1)
    with as_owner("audit_audithead") as owner:
        owner.execute("UPDATE audit_audithead SET occurred_at = %s", [ahead])
    with transaction.atomic():
        assert record(**FACTS).occurred_at == ahead
