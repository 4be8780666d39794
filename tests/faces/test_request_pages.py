"""Deciding in the admin: what a GET does, what a forged POST does, what a refusal says; and the banner."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from controlplane.approvals import selectors
from controlplane.approvals.core import Role
from controlplane.approvals.models import ApprovalRequest, Vote
from controlplane.audit.models import AuditEvent
from controlplane.dashboard.page import gather_page
from risk.models import Activity, Override
from risk.overrides import request_override
from risk.selectors import get_active_limits
from tests.approvals.conftest import REASON, choose_mode, code_of, make_person
from tests.faces.crawl import digest_of_database


@pytest.fixture
def row(desk):
    choose_mode()
    make_person("ann", Role.REQUESTER, Role.OPERATOR)
    make_person("bob", Role.APPROVER)
    limits = get_active_limits(desk.account)
    return request_override(
        account=desk.account,
        limit="max_positions",
        value=Decimal(limits.max_positions + 1),
        reason=REASON,
        actor=selectors.get_actor("ann"),
    )


def sign_in(name: str, **values) -> Client:
    client = Client(**values)
    client.force_login(selectors.get_user(name))
    return client


def page(row, verb="approve") -> str:
    return reverse("request_decide", args=[row.pk, verb])


def filled(row, name="bob", **changes):
    otp = code_of(selectors.get_user(name))
    return {"reason": REASON, "otp": otp, "digest": row.digest} | changes


def test_the_page_shows_the_whole_subject_and_changes_nothing(row):
    client, before = sign_in("bob"), digest_of_database()
    for verb in ("approve", "reject", "revoke", "withdraw"):
        text = client.get(page(row, verb), filled(row)).content.decode()
        for part in ("max_positions", row.digest, REASON, "another person", "paper-main", "ann"):
            assert part in text
        assert client.head(page(row, verb)).status_code == 200
    assert digest_of_database() == before


def test_approving_carries_it_out_and_every_page_says_so(row):
    client = sign_in("bob")
    answer = client.post(page(row), filled(row))
    assert answer.url == reverse("admin:approvals_approvalrequest_change", args=[row.pk])
    raised = Override.objects.get()
    shown = client.get(answer.url).content.decode()
    assert "nothing: it is closed" in shown
    assert "1 limit raised" in shown
    texts = [trouble.text for trouble in gather_page().troubles]
    assert f"max_positions of paper-main is raised to {raised.value.normalize():f}" in texts


@pytest.mark.parametrize(
    ("name", "changes", "status", "text"),
    [
        ("ann", {}, 403, "not_designated"),
        ("bob", {"otp": "12345x"}, 403, "step_up_wrong"),
        ("bob", {"otp": ""}, 403, "step_up_required"),
        ("bob", {"digest": "0" * 64}, 409, "digest_mismatch"),
        ("bob", {"reason": "short"}, 409, "reason_too_short"),
        ("bob", {"reason": "  "}, 422, "Say why"),
    ],
)
def test_a_refusal_is_shown_and_remembered(row, name, changes, status, text):
    answer = sign_in(name).post(page(row), filled(row, name, **changes))
    assert answer.status_code == status
    assert text in answer.content.decode()
    assert not Vote.objects.exists()
    if status != 422:
        assert AuditEvent.objects.get(action="approvals.vote.denied").actor == name


def test_rejecting_and_withdrawing(row):
    assert sign_in("bob").post(page(row, "withdraw"), {"reason": REASON}).status_code == 403
    assert sign_in("ann").post(page(row, "withdraw"), {"reason": REASON}).status_code == 302
    assert ApprovalRequest.objects.get().state == "withdrawn"
    assert sign_in("bob").post(page(row, "reject"), filled(row)).status_code == 409


def test_what_is_closed_offers_nothing_and_what_is_void_says_so(row, settings):
    client = sign_in("bob")
    settings.TRADING_ENVIRONMENT = "demo"
    assert "It cannot be approved." in client.get(page(row)).content.decode()
    settings.TRADING_ENVIRONMENT = "paper"
    text = client.get(page(row)).content.decode()
    for part in ("0 so far", "at once, with the last approval", "<textarea"):
        assert part in text
    assert "It cannot be approved." not in text
    assert client.post(page(row), filled(row)).status_code == 302
    answer = client.post(page(row), filled(row))
    text = answer.content.decode()
    assert answer.status_code == 409
    assert "It is executed: nothing can be decided any more." in text
    assert "<textarea" not in text


def test_a_forged_post_decides_nothing(row):
    client = sign_in("bob", enforce_csrf_checks=True)
    assert client.post(page(row), filled(row)).status_code == 403
    assert not Vote.objects.exists()
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', client.get(page(row)).content.decode())[1]
    assert client.post(page(row), filled(row, csrfmiddlewaretoken=token)).status_code == 302


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_no_other_method_and_no_other_verb(row, method):
    client = sign_in("bob")
    assert getattr(client, method)(page(row)).status_code == 405
    assert client.post(page(row, "execute"), filled(row)).status_code == 404
    assert client.get(page(ApprovalRequest())).status_code == 404


def test_somebody_who_is_not_signed_in_is_sent_to_sign_in(row):
    assert "/admin/login/" in Client().post(page(row), filled(row)).url


def throttle(desk) -> Activity:
    activity, _ = Activity.objects.update_or_create(
        account=desk.account,
        strategy="trend",
        symbol="ETHUSDT",
        defaults={"entries": 20, "throttled_at": timezone.now() - timedelta(minutes=1)},
    )
    return activity


def test_what_waits_and_what_is_throttled_is_on_the_first_page(row, desk):
    activity = throttle(desk)
    links = {trouble.link: trouble.text for trouble in gather_page().troubles}
    assert links[reverse("admin:approvals_approvalrequest_change", args=[row.pk])].startswith("ann asks")
    address = reverse("throttle_reenable", args=[activity.pk])
    assert "throttled in ETHUSDT" in links[address]


def test_a_throttled_strategy_is_let_enter_again_by_post_only(row, desk):
    activity = throttle(desk)
    address = reverse("throttle_reenable", args=[activity.pk])
    client, before = sign_in("ann"), digest_of_database()
    text = client.get(address).content.decode()
    assert "entered ETHUSDT on paper-main 20 times" in text
    assert digest_of_database() == before
    digest = re.search(r'name="digest" value="([0-9a-f]{64})"', text)[1]
    said = {"reason": REASON, "otp": code_of(selectors.get_user("ann")), "digest": digest}
    assert client.post(address, said | {"digest": "0" * 64}).status_code == 409
    assert client.post(address, said | {"reason": ""}).status_code == 422
    assert client.post(address, said).status_code == 302
    activity.refresh_from_db()
    assert (activity.entries, activity.throttled_at) == (0, None)
    assert client.get(address).status_code == 404
    late = client.post(address, said)
    assert late.status_code == 409
    assert "is not throttled any more" in late.content.decode()
