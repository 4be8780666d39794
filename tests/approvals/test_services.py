"""Designations grant, nothing else does; tokens end at once; every change has its event."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import ProtectedError
from django.db.models.functions import Now

from controlplane.approvals import selectors, services
from controlplane.approvals.core import BOOTSTRAP, Role, TokenScope
from controlplane.approvals.models import ApiToken, Designation, IdempotentAnswer
from controlplane.audit.models import AuditEvent
from controlplane.errors import Conflict, InvalidInput, NotFound, NotPermitted
from tests import factories

REASON = "a reason of some length"
BY = {"actor": BOOTSTRAP, "reason": REASON}

pytestmark = pytest.mark.django_db


def last_event():
    return AuditEvent.objects.order_by("-seq").first()


def test_a_designation_grants_its_role_and_is_audited():
    user = factories.UserFactory(username="ann")
    services.designate(user=user, role=Role.APPROVER, **BY)
    services.require_role(selectors.get_actor("ann"), Role.APPROVER)
    event = last_event()
    assert (event.action, event.subject_id) == ("approvals.designate", "ann")


def test_designating_twice_changes_nothing():
    user = factories.UserFactory()
    first = services.designate(user=user, role=Role.APPROVER, **BY)
    seq = last_event().seq
    assert services.designate(user=user, role=Role.APPROVER, **BY) == first
    assert last_event().seq == seq


def test_another_role_is_refused():
    factories.UserFactory(username="ann", roles=(Role.AUDITOR,))
    with pytest.raises(services.NotDesignated, match="approver"):
        services.require_role(selectors.get_actor("ann"), Role.APPROVER)


def test_an_ended_designation_grants_nothing():
    user = factories.UserFactory(username="ann", roles=(Role.APPROVER,))
    Designation.objects.filter(user=user).update(valid_to=Now())
    assert selectors.get_actor("ann").roles == frozenset()


def test_a_designation_of_the_future_grants_nothing_yet():
    user = factories.UserFactory(username="ann", roles=(Role.APPROVER,))
    Designation.objects.filter(user=user).update(valid_from=Now() + timedelta(hours=1))
    assert selectors.get_actor("ann").roles == frozenset()


def test_a_superuser_is_granted_nothing():
    get_user_model().objects.create_superuser("root", password="x")
    with pytest.raises(NotPermitted):
        services.require_any_role(selectors.get_actor("root"), frozenset(Role))


def test_a_deactivated_person_is_no_actor_and_holds_no_role():
    user = factories.UserFactory(username="ann", roles=(Role.APPROVER,))
    user.is_active = False
    user.save()
    with pytest.raises(NotFound):
        selectors.get_actor("ann")
    assert selectors.actor_of_user(user).roles == frozenset()


def test_the_database_knows_only_the_closed_set_of_roles():
    with pytest.raises(IntegrityError), transaction.atomic():
        factories.DesignationFactory(role="emperor")


def test_a_designated_person_cannot_be_deleted():
    user = factories.UserFactory(roles=(Role.OPERATOR,))
    with pytest.raises(ProtectedError):
        user.delete()


def test_a_token_acts_for_its_user_within_its_scopes():
    user = factories.UserFactory(roles=(Role.OPERATOR,))
    _, raw = services.create_token(name="bot", user=user, scopes=[TokenScope.READ], **BY)
    actor = services.check_token(raw, TokenScope.READ)
    assert (actor.audit_name, actor.roles) == ("token:bot", frozenset({Role.OPERATOR}))
    with pytest.raises(services.ScopeMissing):
        services.check_token(raw, TokenScope.STOP)


def test_a_token_is_kept_as_its_hash_only_and_its_event_does_not_hold_it():
    _, raw = services.create_token(name="bot", user=factories.UserFactory(), scopes=[TokenScope.READ], **BY)
    row = ApiToken.objects.get(name="bot")
    assert raw not in str(row.__dict__)
    assert raw not in last_event().body


def test_a_revoked_token_ends_at_once_and_frees_its_name():
    user = factories.UserFactory()
    _, raw = services.create_token(name="bot", user=user, scopes=[TokenScope.READ], **BY)
    services.revoke_token(name="bot", **BY)
    assert last_event().action == "approvals.token_revoke"
    with pytest.raises(services.TokenInvalid):
        services.check_token(raw)
    services.create_token(name="bot", user=user, scopes=[TokenScope.READ], **BY)


def test_a_living_name_and_an_unknown_name_are_refused():
    user = factories.UserFactory()
    services.create_token(name="bot", user=user, scopes=[TokenScope.READ], **BY)
    with pytest.raises(Conflict):
        services.create_token(name="bot", user=user, scopes=[TokenScope.READ], **BY)
    with pytest.raises(NotFound):
        services.revoke_token(name="nobody", **BY)


def test_a_use_is_noted_once_a_minute():
    factories.ApiTokenFactory(name="bot", raw="raw")
    services.check_token("raw")
    first = ApiToken.objects.get(name="bot").last_used_at
    services.check_token("raw")
    assert ApiToken.objects.get(name="bot").last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    services.check_token("raw")
    assert ApiToken.objects.get(name="bot").last_used_at >= first


def test_a_scope_that_no_longer_exists_grants_nothing():
    factories.ApiTokenFactory(name="bot", raw="raw", scopes=["read", "approve"])
    assert services.check_token("raw").scopes == frozenset({TokenScope.READ})


def test_a_second_factor_is_stored_and_its_event_does_not_hold_the_secret():
    user = factories.UserFactory()
    secret = services.generate_totp_secret()
    services.enrol_second_factor(user=user, totp_secret=secret, **BY)
    assert user.second_factor.totp_secret == secret
    assert secret not in last_event().body


def test_a_second_factor_that_is_not_base32_is_refused():
    with pytest.raises(InvalidInput, match="totp_secret"):
        services.enrol_second_factor(user=factories.UserFactory(), totp_secret="!", **BY)


def test_a_created_user_may_view_and_change_nothing():
    user = services.create_user(name="ann", password=factories.PASSWORD, **BY)
    assert user.is_staff
    assert not user.is_superuser
    permissions = user.get_all_permissions()
    assert "trading.view_order" in permissions
    assert all(".view_" in name for name in permissions)
    with pytest.raises(Conflict):
        services.create_user(name="ann", password=factories.PASSWORD, **BY)


def claim(key="k", digest="d"):
    return services.claim_answer(owner="o", key=key, request_digest=digest)


def test_an_answer_is_given_again_to_the_same_request():
    services.store_answer(claim_id=claim().pk, status=200, content_type="application/json", body="{}")
    assert (claim().status, claim().body) == (200, "{}")


def test_a_key_serves_one_request_only():
    claim()
    with pytest.raises(services.KeyReused):
        claim(digest="another")


def test_a_request_still_in_progress_is_told_so_and_taken_over_after_a_minute():
    row = claim()
    with pytest.raises(services.AnswerInProgress):
        claim()
    IdempotentAnswer.objects.update(claimed_at=row.claimed_at - timedelta(minutes=2))
    assert claim().pk == row.pk
    with pytest.raises(services.AnswerInProgress):
        claim()


def test_a_released_claim_may_be_claimed_again():
    services.release_answer(claim_id=claim().pk)
    assert claim(digest="another").status is None


def test_answers_are_forgotten_after_a_day():
    row = claim(key="old")
    IdempotentAnswer.objects.update(claimed_at=row.claimed_at - timedelta(days=2))
    claim(key="new")
    assert list(IdempotentAnswer.objects.values_list("key", flat=True)) == ["new"]


def test_one_person_holds_a_role_once():
    row = factories.DesignationFactory()
    with pytest.raises(DatabaseError), transaction.atomic():
        factories.DesignationFactory(user=row.user, role=row.role)
