"""What the database itself refuses: every way around the services, as the application and as the owner."""

from datetime import timedelta

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.core import serializers
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import ProtectedError

from controlplane.approvals import people, requests, selectors, voting
from controlplane.approvals.core import Mode, Role, VoteDecision
from controlplane.approvals.models import (
    ApprovalMode,
    ApprovalRequest,
    CredentialChange,
    Designation,
    SecondFactorUse,
    Vote,
)
from controlplane.approvals.selectors import get_database_time
from tests import factories
from tests.approvals.conftest import REASON, choose_mode, code_of, make_person
from tests.audit.tampering import connect

pytestmark = pytest.mark.django_db(transaction=True)
MODELS = (Vote, SecondFactorUse, CredentialChange)
TABLES = tuple(model._meta.db_table for model in MODELS)


def ask() -> ApprovalRequest:
    return people.request_designation(
        name="dan", role=Role.AUDITOR, reason=REASON, actor=selectors.get_actor("ann")
    )


@pytest.fixture
def row(desk):
    """A request that bob has approved and that is executed, with a row in every governed table."""
    factories.UserFactory(username="dan")
    return voting.vote_on_request(
        request_id=ask().pk,
        decision=VoteDecision.APPROVE,
        otp=code_of(desk["bob"]),
        reason=REASON,
        actor=selectors.get_actor("bob"),
    )


@pytest.fixture
def waiting(row):
    """Another request, which nobody has voted on."""
    return ask()


def vote_of(request: ApprovalRequest, approver: str, *, with_code: bool = True, **changes) -> Vote:
    if with_code:
        action = f"vote.{changes.get('decision', 'approve')}"
        SecondFactorUse.objects.create(
            user=get_user_model().objects.get(username=approver),
            step=SecondFactorUse.objects.count(),
            action=action,
            digest=changes.get("digest", request.digest),
        )
    values = {
        "request": request,
        "proposer": request.proposer,
        "mode": request.mode,
        "approver": get_user_model().objects.get(username=approver),
        "decision": "approve",
        "digest": request.digest,
        "reason": REASON,
        "step_up_at": get_database_time(),
    }
    return Vote(**values | changes)


def digest_of_tables() -> dict[str, list[tuple[object, ...]]]:
    with connection.cursor() as cursor:
        found = {}
        for table in (*TABLES, "approvals_approvalrequest"):
            cursor.execute(f"SELECT * FROM {table} ORDER BY 1")
            found[table] = cursor.fetchall()
    return found


def save(first):
    first.save()


def update(first):
    type(first).objects.update(**{field_of(first): getattr(first, field_of(first))})


def bulk_update(first):
    type(first).objects.bulk_update([first], [field_of(first)])


def raw_sql(first):
    with connection.cursor() as cursor:
        name = field_of(first)
        cursor.execute(f"UPDATE {first._meta.db_table} SET {name} = {name}")


def upsert(first):
    type(first).objects.bulk_create(
        [first], update_conflicts=True, unique_fields=["id"], update_fields=[field_of(first)]
    )


def delete(first):
    first.delete()


def queryset_delete(first):
    type(first).objects.all().delete()


def raw_delete(first):
    type(first).objects.all()._raw_delete("default")


def raw_sql_delete(first):
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {first._meta.db_table}")


def truncate(first):
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {first._meta.db_table} CASCADE")


def field_of(first) -> str:
    return {"Vote": "decision", "SecondFactorUse": "step", "CredentialChange": "what"}[type(first).__name__]


WAYS = (
    save,
    update,
    bulk_update,
    raw_sql,
    upsert,
    delete,
    queryset_delete,
    raw_delete,
    raw_sql_delete,
    truncate,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_evidence_cannot_be_changed_or_deleted(row, model, way):
    before = digest_of_tables()
    with pytest.raises(DatabaseError), transaction.atomic():
        way(model.objects.order_by("pk").first())
    assert digest_of_tables() == before


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_owner_is_refused_too(row, table, statement):
    before = digest_of_tables()
    with connect("owner") as owner, pytest.raises(psycopg.Error):
        owner.execute(statement.format(table))
    assert digest_of_tables() == before


def test_a_fixture_cannot_load_evidence_over_what_is_there(row, tmp_path):
    file = tmp_path / "votes.json"
    file.write_text(serializers.serialize("json", [*Vote.objects.all(), row]), encoding="utf-8")
    before = digest_of_tables()
    with pytest.raises(DatabaseError):
        call_command("loaddata", str(file), verbosity=0)
    assert digest_of_tables() == before


def test_a_request_cannot_be_deleted_by_anybody(row):
    for way in (queryset_delete, raw_delete, raw_sql_delete):
        with pytest.raises((DatabaseError, ProtectedError)), transaction.atomic():
            way(row)
    with connect("owner") as owner, pytest.raises(psycopg.Error):
        owner.execute("DELETE FROM approvals_approvalrequest")
    assert ApprovalRequest.objects.filter(pk=row.pk).exists()


# How a request can be forced: each of these is one statement that the application's role may try.
FORCED = {
    "approved without a vote": {"state": "approved", "version": 2, "approved_digest": "{digest}"},
    "executed at once": {"state": "executed", "version": 2, "approved_digest": "{digest}"},
    "approved as another digest": {"state": "approved", "version": 2, "approved_digest": "0" * 64},
    "withdrawn without a new version": {"state": "withdrawn"},
    "expired before its time": {"state": "expired", "version": 2},
    "an unknown state": {"state": "emperor", "version": 2},
    "another subject": {"subject_text": "{}", "version": 2},
    "another digest": {"digest": "0" * 64},
    "fewer approvals": {"required_approvals": 0},
    "another proposer": {"proposer": None},
    "another time": {"proposed_at": "2001-01-01T00:00Z"},
    "more time": {"approve_by": "2999-01-01T00:00Z", "execute_by": "2999-01-01T00:00Z"},
    "another mode": {"mode": "solo"},
}


@pytest.mark.parametrize("changes", FORCED.values(), ids=FORCED.keys())
def test_a_request_cannot_be_forced(waiting, changes):
    values = {
        name: value.replace("{digest}", waiting.digest) if isinstance(value, str) else value
        for name, value in changes.items()
    }
    before = digest_of_tables()
    with pytest.raises(DatabaseError), transaction.atomic():
        ApprovalRequest.objects.filter(pk=waiting.pk).update(**values)
    assert digest_of_tables() == before


def test_what_is_closed_stays_closed(row):
    for state in ("proposed", "approved", "rejected"):
        with pytest.raises(DatabaseError), transaction.atomic():
            ApprovalRequest.objects.filter(pk=row.pk).update(state=state, version=row.version + 1)


@pytest.mark.parametrize("changes", [{"state": "executed"}, {"version": 7}, {"approved_digest": "0" * 64}])
def test_a_request_is_born_as_proposed(waiting, changes):
    fresh = ApprovalRequest.objects.get(pk=waiting.pk)
    fresh.pk = None
    for name, value in ({"id": ApprovalRequest().id} | changes).items():
        setattr(fresh, name, value)
    with pytest.raises(DatabaseError), transaction.atomic():
        fresh.save(force_insert=True)


def test_a_request_of_another_mode_than_the_desks_is_refused_and_its_time_is_the_databases(waiting):
    fresh = ApprovalRequest.objects.get(pk=waiting.pk)
    fresh.pk, fresh.proposed_at = ApprovalRequest().id, "2001-01-01T00:00Z"
    fresh.save(force_insert=True)
    fresh.refresh_from_db()
    assert fresh.proposed_at > waiting.proposed_at
    fresh.pk, fresh.mode = ApprovalRequest().id, "solo"
    with pytest.raises(DatabaseError), transaction.atomic():
        fresh.save(force_insert=True)


def test_the_proposers_vote_is_refused_whatever_the_row_claims(waiting):
    bob = get_user_model().objects.get(username="bob")
    for claim in (
        {},
        {"proposer": bob},
        {"proposer": None},
        {"mode": "solo", "proposed_at": get_database_time() - timedelta(days=9)},
        {"decided_at": get_database_time() + timedelta(days=9), "mode": "solo"},
    ):
        with pytest.raises(DatabaseError, match="vote_not_by_the_proposer"), transaction.atomic():
            vote_of(waiting, "ann", **claim).save()


def test_alone_the_database_itself_waits_a_day(waiting):
    choose_mode(Mode.SOLO)
    fresh = ApprovalRequest.objects.get(pk=waiting.pk)
    fresh.pk, fresh.mode = ApprovalRequest().id, "solo"
    fresh.save(force_insert=True)
    with pytest.raises(DatabaseError, match="vote_not_by_the_proposer"), transaction.atomic():
        vote_of(fresh, "ann").save()


def test_a_vote_on_another_digest_twice_or_on_what_is_closed_is_refused(row, waiting):
    with pytest.raises(DatabaseError), transaction.atomic():
        vote_of(waiting, "bob", digest=row.digest).save()
    with pytest.raises(DatabaseError), transaction.atomic():
        vote_of(row, "cat").save()
    vote_of(waiting, "bob").save()
    with pytest.raises(DatabaseError, match="vote_once"), transaction.atomic():
        vote_of(waiting, "bob").save()
    with pytest.raises(DatabaseError), transaction.atomic():
        vote_of(waiting, "cat", reason="  short  ").save()


def test_two_rows_of_one_person_are_not_two_people(desk):
    factories.UserFactory(username="dan")
    choose_mode()
    row = ask()
    # Born with a need of two, as a kind with a quorum of two would.
    pair = ApprovalRequest.objects.get(pk=row.pk)
    pair.pk, pair.required_approvals = ApprovalRequest().id, 2
    pair.save(force_insert=True)
    vote_of(pair, "bob").save()
    vote_of(pair, "bob", decision="revoke").save()
    vote_of(pair, "cat").save()
    with pytest.raises(DatabaseError, match="too few"), transaction.atomic():
        requests.move(pair, requests.RequestState.APPROVED)


def test_a_second_mode_cannot_be_added(row):
    with pytest.raises(DatabaseError), transaction.atomic():
        ApprovalMode.objects.create(id=2, mode="solo", set_by="x")
    with pytest.raises(DatabaseError), transaction.atomic():
        ApprovalMode.objects.update(mode="none")


def test_times_of_evidence_are_the_databases(row):
    user = make_person("eve")
    use = SecondFactorUse.objects.create(
        user=user, step=1, action="x", digest="0" * 64, used_at="2001-01-01T00:00Z"
    )
    change = CredentialChange.objects.create(user_id=user.pk, what="password", changed_at="2001-01-01T00:00Z")
    for written in (use, change):
        written.refresh_from_db()
    assert min(use.used_at, change.changed_at) > row.proposed_at


def test_a_person_who_asked_or_voted_cannot_be_deleted(row):
    for name in ("ann", "bob"):
        with pytest.raises(ProtectedError):
            get_user_model().objects.get(username=name).delete()


def test_every_transition_names_state_and_version(waiting, django_assert_num_queries):
    with django_assert_num_queries(2) as captured:
        requests.move(waiting, requests.RequestState.WITHDRAWN)
    where = captured.captured_queries[0]["sql"].partition("WHERE")[2]
    assert '"state"' in where
    assert '"version"' in where
    waiting.state = "proposed"
    with pytest.raises(requests.StateChanged):
        requests.move(waiting, requests.RequestState.WITHDRAWN)


# Who votes, and how the desk approves.


def test_a_vote_without_a_code_for_it_is_refused(waiting):
    bob = get_user_model().objects.get(username="bob")
    with pytest.raises(DatabaseError, match="no code was used"), transaction.atomic():
        vote_of(waiting, "bob", with_code=False).save()
    for number, changes in enumerate(({"digest": "0" * 64}, {"action": "vote.reject"}), start=1):
        used = {"action": "vote.approve", "digest": waiting.digest} | changes
        SecondFactorUse.objects.create(user=bob, step=number, **used)
        with pytest.raises(DatabaseError, match="no code was used"), transaction.atomic():
            vote_of(waiting, "bob", with_code=False).save()
    claimed = vote_of(waiting, "bob", step_up_at="2001-01-01T00:00Z")
    claimed.save()
    claimed.refresh_from_db()
    assert claimed.step_up_at > waiting.proposed_at


def test_nobody_who_is_not_designated_or_not_active_votes_or_counts(waiting):
    make_person("eve")
    with pytest.raises(DatabaseError, match="designated"), transaction.atomic():
        vote_of(waiting, "eve").save()
    vote_of(waiting, "bob").save()
    get_user_model().objects.filter(username="bob").update(is_active=False)
    with pytest.raises(DatabaseError, match="too few"), transaction.atomic():
        requests.move(waiting, requests.RequestState.APPROVED)


def test_a_desk_becomes_one_persons_by_its_request_only(waiting):
    with pytest.raises(DatabaseError, match="seven days"), transaction.atomic():
        ApprovalMode.objects.update(mode=Mode.SOLO.value)
    people.request_solo(name="ann", reason=REASON, actor=selectors.get_actor("ann"))
    with pytest.raises(DatabaseError, match="seven days"), transaction.atomic():
        ApprovalMode.objects.update(mode=Mode.SOLO.value)
    with pytest.raises(DatabaseError), transaction.atomic():
        ApprovalMode.objects.all().delete()


def test_nothing_is_approved_in_a_mode_that_the_desk_has_left(waiting):
    vote_of(waiting, "bob").save()
    choose_mode(Mode.SOLO)
    with pytest.raises(DatabaseError, match="in this mode"), transaction.atomic():
        requests.move(waiting, requests.RequestState.APPROVED)


def test_a_designation_is_ended_once_and_never_deleted_passed_on_or_reopened(row):
    bobs = Designation.objects.filter(user__username="bob")
    cat = get_user_model().objects.get(username="cat")
    for changes in ({"user": cat}, {"role": "admin"}, {"designated_by": "cat"}):
        with pytest.raises(DatabaseError), transaction.atomic():
            bobs.update(**changes)
    bobs.update(valid_to=get_database_time())
    with pytest.raises(DatabaseError, match="stays ended"), transaction.atomic():
        bobs.update(valid_to=None)
    with pytest.raises(DatabaseError), transaction.atomic():
        bobs.delete()
