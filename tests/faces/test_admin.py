"""Every fact can be read in the admin; nothing that is evidence can be added, edited or deleted there."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from controlplane.approvals.core import Role
from controlplane.audit.models import AuditHead
from tests import factories
from tests.faces.crawl import digest_of_database, follow_links

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
OWN_APPS = {"approvals", "alerts", "audit", "trading", "risk", "golive"}


def url(model, view, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{view}", args=args)


@pytest.fixture
def full_desk(desk):
    """A desk with at least one row of everything that trading has to show."""
    factories.TradeFactory(venue_account=desk)
    factories.EquityFactory(venue_account=desk)
    return desk


def sign_in(role: Role | None = None, **values) -> Client:
    user = factories.UserFactory(roles=() if role is None else (role,), **values)
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_nothing_can_be_added_changed_or_deleted_even_by_a_superuser(rf, admin_user, model):
    request = rf.get("/")
    request.user = admin_user
    page = admin.site._registry[model]
    assert not page.has_add_permission(request)
    assert not page.has_change_permission(request)
    assert not page.has_delete_permission(request)
    assert page.get_actions(request) == {}
    assert page.has_view_permission(request)
    for inline in page.get_inline_instances(request):
        assert not inline.has_add_permission(request, None)
        assert not inline.can_delete


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_list_and_its_filters_and_its_search_can_be_read(full_desk, model):
    client = sign_in()
    page = client.get(url(model, "changelist"))
    assert page.status_code == 200
    if admin.site._registry[model].search_fields:
        assert client.get(url(model, "changelist"), {"q": "17"}).status_code == 200
    row = model._default_manager.first()
    if row is not None:
        assert client.get(url(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_post_changes_nothing(full_desk, model):
    client = sign_in(is_superuser=True)
    before = digest_of_database()
    row = model._default_manager.first()
    pk = 1 if row is None else row.pk
    selected = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
    answers = [
        client.post(url(model, "add"), {}),
        client.post(url(model, "changelist"), selected),
    ]
    if row is not None:
        answers += [
            client.post(url(model, "change", pk), {}),
            client.post(url(model, "delete", pk), selected),
        ]
    assert {answer.status_code for answer in answers} <= {200, 302, 403}
    assert digest_of_database() == before


def test_every_model_of_the_desk_can_be_read():
    from django.apps import apps

    secret = {"approvals.IdempotentAnswer"}
    missing = {
        model._meta.label
        for model in apps.get_models()
        if model._meta.app_label in OWN_APPS and model not in admin.site._registry
    }
    assert missing == secret


def test_no_secret_is_shown(full_desk):
    user = factories.UserFactory(username="ann")
    factories.SecondFactorFactory(user=user, totp_secret="JBSWY3DPEHPK3PXP")
    token = factories.ApiTokenFactory(name="bot", user=user)
    client = sign_in()
    pages = [
        client.get(reverse("admin:auth_user_change", args=[user.pk])),
        client.get(reverse("admin:approvals_secondfactor_change", args=[user.second_factor.pk])),
        client.get(reverse("admin:approvals_apitoken_change", args=[token.pk])),
    ]
    for page in pages:
        assert page.status_code == 200
        for secret in (user.password, "JBSWY3DPEHPK3PXP", token.token_sha256):
            assert secret not in page.content.decode()


@pytest.mark.parametrize("role", Role)
def test_reading_every_page_changes_nothing(full_desk, role):
    client = sign_in(role)
    before, seq = digest_of_database(), AuditHead.objects.get().seq
    visited = follow_links(client, reverse("admin:index"))
    assert len(visited) > 40
    assert digest_of_database() == before
    assert AuditHead.objects.get().seq == seq
