"""The page on which people decide about going live: all that is bound, what is missing, and the press."""

import pytest
from django.urls import reverse

from controlplane.approvals import selectors
from controlplane.approvals.core import Role
from controlplane.approvals.models import ApprovalRequest
from controlplane.dashboard.golive_diff import compare_limits
from controlplane.dashboard.golive_request import (
    add_typed_limits,
    describe_permission,
    draw_impact,
    list_typed_fields,
)
from controlplane.dashboard.requests import DecisionForm
from golive import models
from golive.core.direction import LIMITS
from risk.limits import load_profiles
from tests.approvals.conftest import REASON, choose_mode, code_of, make_person
from tests.faces.crawl import digest_of_database
from tests.faces.test_golive_pages import read, sign_in
from tests.golive import live, walking


@pytest.fixture
def asked(transactional_db, settings, tmp_path):
    """Ann asked that the account go live, with everything in order."""
    walking.write_manual(settings, tmp_path)
    account = walking.make_desk()
    return walking.ask(walking.make_ready(account))


def decide(row, verb: str = "approve") -> str:
    return reverse("request_decide", args=[row.pk, verb])


def test_the_request_shows_all_that_it_binds(asked):
    client, before = sign_in("bob"), digest_of_database()
    text = read(client, decide(asked))
    for part in ("Go live", "asked by ann", "limits: same", "46 limits stay", "3 recorded decisions", "left"):
        assert part in text
    for name in ("config", "freeze", "limit_set", "rules", "guards", "code_version"):
        assert asked.subject[name] in text
    assert "Impact on 3 recorded decisions. Allowed: 3 then, 3 now" in text
    assert digest_of_database() == before


def test_the_poll_of_a_request_brings_what_changes_and_no_form(asked):
    text = read(sign_in("bob"), decide(asked), **{"HX-Request": "true"})
    assert "Nothing is missing." in text
    assert "0 so far" in text
    assert "<form" not in text
    assert "<html" not in text


def test_what_went_missing_is_said_where_it_is_decided(asked):
    models.Hold.objects.create(account=models.Programme.objects.get().account, reason="held")
    text = read(sign_in("bob"), decide(asked))
    missing = text.split("What it takes besides")[1].split("<details")[0]
    assert "the account is held" in missing
    assert "Nothing is missing." not in text


def test_it_is_approved_by_one_and_activated_by_a_press_of_another(asked):
    bob, ann = sign_in("bob"), sign_in("ann")
    said = {"reason": REASON, "digest": asked.digest}
    early = ann.post(decide(asked, "activate"), said | {"otp": code_of(selectors.get_user("ann"))})
    assert (early.status_code, "state_changed" in early.content.decode()) == (409, True)
    otp = code_of(selectors.get_user("bob"))
    assert bob.post(decide(asked), said | {"otp": otp}).status_code == 302
    assert decide(asked, "activate") in read(ann, reverse("golive"))
    assert "Activate…" in read(ann, decide(asked, "reject"))
    otp = code_of(selectors.get_user("ann"))
    other = ann.post(decide(asked, "activate"), said | {"otp": otp, "digest": "0" * 64})
    assert (other.status_code, "digest_mismatch" in other.content.decode()) == (409, True)
    assert not models.Activation.objects.exists()
    answer = ann.post(decide(asked, "activate"), said | {"otp": otp})
    assert answer.url == reverse("golive_account", args=[asked.subject["account"]])
    done = models.Activation.objects.get()
    assert (done.approved_by, done.activated_by) == (["bob"], "ann")


def test_only_a_request_to_go_live_can_be_activated(desk):
    choose_mode()
    make_person("ann", Role.REQUESTER)
    make_person("bob", Role.APPROVER)
    models.Hold.objects.create(account=desk.account, reason="held by the test")
    client = sign_in("ann")
    answer = client.post(reverse("golive_press", args=[desk.account.name, "release"]), {"reason": REASON})
    row = ApprovalRequest.objects.get()
    assert answer.url == decide(row)
    assert client.get(decide(row, "activate")).status_code == 404
    shown = read(client, reverse("admin:approvals_approvalrequest_change", args=[row.pk]))
    assert decide(row, "activate") not in shown


# Figures ---------------------------------------------------------------------------------------------


def test_limits_are_compared_three_ways():
    micro, small = load_profiles()["MICRO"], load_profiles()["SMALL"]
    diff = compare_limits(micro, small, micro)
    found = {row.name: row for row in diff.changed}
    size = found["max position notional"]
    assert (size.base, size.proposed, size.active) == ("100 USDT", "500 USDT", "100 USDT")
    assert (size.sign, diff.direction.value, diff.moved) == ("▲ more", "increase", False)
    assert len(diff.changed) + len(diff.same) == len(LIMITS)
    down = {row.name: row.sign for row in compare_limits(small, micro, small).changed}
    assert down["max position notional"] == "▼ less"


def test_what_moved_since_it_was_asked_is_marked():
    micro, small = load_profiles()["MICRO"], load_profiles()["SMALL"]
    diff = compare_limits(micro, small, small)
    assert diff.moved
    assert all(row.is_moved for row in diff.changed)
    fresh = compare_limits(None, micro, None)
    assert {row.base for row in fresh.changed} == {"none"}
    assert fresh.direction.value == "increase"


def test_the_impact_is_drawn_only_where_something_was_judged():
    assert draw_impact({}) is None
    assert draw_impact({"judged": 0}) is None
    drawn = draw_impact(
        {
            "judged": 10,
            "allowed_then": 8,
            "allowed_now": 5,
            "recorded_pnl": "12.5",
            "lost": "20",
            "peak_exposure_then": "300",
            "peak_exposure_now": "150",
        }
    )
    for part in ("Allowed: 8 then, 5 now", "Denied: 2 then, 5 now", "12.50 then, -7.50 now", "svg-bad"):
        assert part in drawn


@pytest.mark.django_db(transaction=True)
def test_every_limit_that_changes_stands_beside_what_is_active(settings, tmp_path):
    walking.write_manual(settings, tmp_path)
    account = walking.make_desk()
    live.go_live(account, live.make_limits(max_positions=3, max_trades_per_day=30), is_confirmed=True)
    row = walking.ask(walking.make_ready(account))
    text = read(sign_in("bob"), decide(row))
    changed = text.split('id="diff"')[1].split("<details")[0]
    assert changed.count("▼ less") == 2
    for part in ("max positions", "<b>2</b>", "max trades per day", "<b>20</b>"):
        assert part in changed
    assert "moved" not in changed
    assert "44 limits stay as they are" in text


def test_a_desk_of_one_person_types_the_new_limits_without_seeing_them(asked):
    asked.mode = "solo"
    shown = describe_permission(asked, "activate")
    assert (shown["diff"], shown["hides_limits"]) == (None, True)
    assert describe_permission(asked, "approve")["diff"] is not None
    form = DecisionForm({"reason": REASON, "otp": "123456", "digest": asked.digest})
    add_typed_limits(form, asked)
    assert [field.label for field in list_typed_fields(form)] == [
        "New max position notional",
        "New max leverage",
    ]
    assert not form.is_valid()
    assert set(form.errors) == {"typed_max_position_notional", "typed_max_leverage"}
