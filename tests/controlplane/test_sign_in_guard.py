"""Guessing passwords is slow and leaves a bounded trace; one's own password is changed as an audited act."""

import pytest
from django.core.cache import caches
from django.test import Client

from controlplane.audit.models import AuditEvent
from controlplane.rate_limits import CACHE
from tests import factories

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/"
CHANGE = "/admin/password_change/"
NEW = "another long pass phrase"
DENIED = "approvals.sign_in.denied"


@pytest.fixture(autouse=True)
def unused_allowances():
    caches[CACHE].clear()
    yield
    caches[CACHE].clear()


@pytest.fixture
def ann():
    return factories.UserFactory(username="ann")


def sign_in(name="ann", password="wrong", address="10.0.0.1"):
    client = Client(REMOTE_ADDR=address)
    return client, client.post(LOGIN, {"username": name, "password": password})


def is_signed_in(answer):
    return answer.status_code == 302


def must_wait(answer):
    return answer.status_code == 200 and "Too many failed attempts" in answer.content.decode()


def denials(code):
    return [row for row in AuditEvent.objects.filter(action=DENIED) if f'"code":"{code}"' in row.body]


def test_after_five_failures_the_password_is_not_looked_at(ann):
    for _ in range(5):
        assert not must_wait(sign_in()[1])
    answer = sign_in(password=factories.PASSWORD)[1]
    assert must_wait(answer)
    assert "emergency stop by command" in answer.content.decode()
    assert len(denials("wrong_credentials")) == 5


def test_waiting_is_one_event_however_often_somebody_knocks(ann):
    for _ in range(12):
        sign_in()
    (event,) = denials("too_many_attempts")
    assert "10.0.0.1" in event.body


def test_a_stranger_elsewhere_locks_nobody_out(ann):
    for _ in range(10):
        sign_in(address="10.6.6.6")
    assert is_signed_in(sign_in(password=factories.PASSWORD)[1])


def test_another_person_at_the_same_address_may_still_sign_in(ann):
    factories.UserFactory(username="bob")
    for _ in range(8):
        sign_in()
    assert is_signed_in(sign_in("bob", factories.PASSWORD)[1])


def test_the_name_in_other_letters_is_the_same_name(ann):
    for name in ("ann", "ANN", "Ann", "aNN", "anN"):
        sign_in(name)
    assert must_wait(sign_in("ann")[1])


def test_trying_one_password_on_many_names_is_slowed_too(ann):
    # A slow machine forgives one every ten seconds meanwhile.
    waited = [must_wait(sign_in(f"name{number}")[1]) for number in range(40)]
    assert not any(waited[:30])
    assert any(waited)
    assert len(denials("wrong_credentials")) == waited.count(False)


def test_a_good_sign_in_uses_nothing_up(ann):
    for _ in range(12):
        assert is_signed_in(sign_in(password=factories.PASSWORD)[1])


def change(client, old, new=NEW):
    return client.post(CHANGE, {"old_password": old, "new_password1": new, "new_password2": new})


def test_ones_own_password_is_changed_with_its_event_and_ends_other_sessions(ann):
    here, _ = sign_in(password=factories.PASSWORD)
    there, _ = sign_in(password=factories.PASSWORD)
    assert here.get(CHANGE).status_code == 200
    assert is_signed_in(change(here, factories.PASSWORD))
    event = AuditEvent.objects.get(action="approvals.password_set")
    assert (event.actor, event.subject_id) == ("ann", "ann")
    assert NEW not in event.body
    assert here.get("/admin/").status_code == 200
    assert there.get("/admin/").status_code == 302
    assert not is_signed_in(sign_in(password=factories.PASSWORD)[1])
    assert is_signed_in(sign_in(password=NEW)[1])


@pytest.mark.parametrize(("old", "new"), [("wrong", NEW), (factories.PASSWORD, "short")])
def test_a_refused_change_changes_nothing(ann, old, new):
    client, _ = sign_in(password=factories.PASSWORD)
    assert change(client, old, new).status_code == 200
    assert not AuditEvent.objects.filter(action="approvals.password_set").exists()
    assert is_signed_in(sign_in(password=factories.PASSWORD)[1])


def test_a_borrowed_session_guesses_the_old_password_no_faster(ann):
    client, _ = sign_in(password=factories.PASSWORD)
    for _ in range(5):
        change(client, "wrong")
    assert must_wait(change(client, factories.PASSWORD))
    assert is_signed_in(sign_in(password=factories.PASSWORD)[1])


def test_nobody_changes_a_password_without_a_session():
    answer = change(Client(), factories.PASSWORD)
    assert answer.status_code == 302
    assert LOGIN in answer.url
