"""An account goes from paper to MICRO live and back: two people in two browsers, by command, and over HTTP.

Whichever way it is done, the same is done: the audit log says the same, in the same order.
"""

import json
import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from controlplane.approvals import selectors
from controlplane.approvals.core import Role
from controlplane.approvals.models import ApprovalRequest
from controlplane.audit.models import AuditEvent
from golive.models import Activation, ChecklistSignature, Hold, Programme, Rollback
from golive.rollback_steps import resume_rollbacks
from tests import factories
from tests.approvals.conftest import REASON, choose_mode, code_of, forget_codes, make_person
from tests.faces import test_browser as base
from tests.faces.test_browser_safety import CONTRAST, WIDTHS
from tests.golive import live, walking
from tests.risk import desk as rows
from trading import models as facts

pytestmark = base.pytestmark
browser = base.browser

GONE = "rolled back by hand from the admin"
# The story from the opening to the end of the rollback, as the audit log tells it.
STORY = (
    "golive.programme_open",
    "golive.freeze",
    "golive.programme_phase",
    "approvals.request_open",
    "golive.activation_request",
    "approvals.vote",
    "approvals.request_execute",
    "golive.permit_end",
    "golive.permit_begin",
    "golive.programme_phase",
    "golive.activate",
    "golive.permit_end",
    "golive.programme_close",
    "golive.hold",
    "golive.rollback",
    "golive.rollback_step",
)
# What people may look at or sign meanwhile, and what the desk does by itself, is no part of it.
TOLD = re.compile(r"^(golive|approvals)\.")
LEFT_OUT = {"golive.checklist_sign", "golive.preflight", "approvals.sign_in", "approvals.sign_out"}


@pytest.fixture
def account(transactional_db, settings, tmp_path):
    """A desk in good order on the simulated venue's book, with every evidence for MICRO."""
    walking.write_manual(settings, tmp_path)
    choose_mode()
    make_person("ann", Role.REQUESTER)
    make_person("bob", Role.APPROVER)
    make_person("olga", Role.OPERATOR)
    account = rows.make_desk(name="paper-main")
    walking.make_evidence(account)
    # A guard that lives: nobody needs to start a process in its place.
    for name in ("guard:sweep", "guard:triggers", "guard:risk", "guard:rollbacks"):
        factories.HeartbeatFactory(name=name, beat_at=timezone.now() + timedelta(hours=1))
    return account


def told_since(seq: int) -> list[str]:
    """What happened, each run of one action once: how many a run has is no matter of the way."""
    actions = AuditEvent.objects.filter(seq__gt=seq).order_by("seq").values_list("action", flat=True)
    told: list[str] = []
    for action in actions:
        if TOLD.match(action) and action not in LEFT_OUT and told[-1:] != [action]:
            told.append(action)
    return told


def head() -> int:
    newest = AuditEvent.objects.order_by("-seq").values_list("seq", flat=True).first()
    return 0 if newest is None else newest


def finish_rollback() -> Rollback:
    """What the guard does after the press."""
    resume_rollbacks()
    return Rollback.objects.get()


def is_back(account: facts.Account) -> bool:
    """Halted and held, with no permit: nothing had been confirmed before."""
    return (
        not facts.Permit.objects.filter(account=account, active=True).exists()
        and Hold.objects.filter(account=account, released_at__isnull=True).exists()
        and facts.TradingState.objects.get(scope=f"account:{account.name}").state == "HALTED"
        and Activation.objects.get().state == "rolled_back"
    )


# In two browsers --------------------------------------------------------------------------------------


@pytest.fixture
def seat(browser, live_server):
    """Opens a browser of its own for a person; what went wrong in any of them fails the test."""
    taken = []

    def sit(name: str, size: str = "wide", theme: str = "light") -> base.Screen:
        width, height = WIDTHS[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, timezone_id="UTC", color_scheme=theme
        )
        screen = base.Screen(context.new_page(), live_server.url)
        taken.append((context, screen))
        screen.sign_in(name)
        return screen

    yield sit
    for context, screen in taken:
        screen.page.goto("about:blank")
        context.close()
        assert (screen.errors, screen.outside, screen.missing) == ([], [], [])


def go(screen: base.Screen, path: str) -> None:
    screen.open(path)
    width = screen.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0, f"{path} scrolls sideways"


def press(screen: base.Screen, title: str, button: str, said: str | None = REASON) -> None:
    """Open the press, say why, confirm."""
    screen.page.click(f".golive-press >> text={title}…")
    screen.wait_for("What happens")
    if said is not None:
        screen.page.fill("textarea[name=reason]", said)
    screen.page.click(f"form.desk-form button:has-text('{button}')")


def decide(screen: base.Screen, name: str, button: str) -> None:
    """Say why, give a code of this moment, and press."""
    screen.page.fill("textarea[name=reason]", REASON)
    screen.page.fill("input[name=otp]", code_of(selectors.get_user(name)))
    screen.page.click(f"form.desk-form button:has-text('{button}')")


def test_two_people_in_two_browsers_go_live_and_one_press_goes_back(seat, account):
    seq, own = head(), reverse("golive_account", args=[account.name])
    ann, bob = seat("ann"), seat("bob")

    go(ann, reverse("golive"))
    ann.wait_for("Paper, under MICRO limits")
    ann.shoot("golive-list-paper")
    press(ann, "Open programme", "Open programme")
    ann.wait_for("Programme to MICRO")
    ann.page.locator("#checklist a:has-text('Sign…')").first.click()
    ann.page.check("input[name=is_met][value=yes]")
    ann.page.fill("textarea[name=reason]", "read the manual and tried every command")
    ann.shoot("golive-sign")
    ann.page.click("form.desk-form button:has-text('Sign')")
    ann.wait_for("read the manual and tried every command")
    assert ChecklistSignature.objects.get().signed_by == "ann"
    walking.meet_checklist(Programme.objects.get())
    go(ann, own)
    ann.shoot("golive-validation")
    press(ann, "Go on", "Go on to the next phase", None)
    ann.wait_for("minimum time")
    walking.wait(Programme.objects.get())
    press(ann, "Request activation", "Request activation")
    ann.wait_for("Go live, asked by ann")
    row = ApprovalRequest.objects.get()

    go(bob, reverse("golive"))
    bob.wait_for("1 waiting for people")
    bob.shoot("golive-list-asked")
    bob.page.click("text=asked by ann")
    for part in ("another person", "What it is bound to", "recorded decisions", row.digest):
        bob.wait_for(part)
    bob.shoot("golive-request")
    decide(bob, "bob", "Approve")
    bob.wait_for("what can be done")

    go(ann, reverse("request_decide", args=[row.pk, "activate"]))
    ann.shoot("golive-activate")
    decide(ann, "ann", "Activate")
    ann.wait_for("LIVE at MICRO")
    ann.shoot("golive-live")
    assert facts.Permit.objects.get(account=account, active=True).kind == "LIVE"
    go(ann, "/admin/")
    ann.page.locator("#desk-live >> text=LIVE").first.wait_for()
    ann.shoot("golive-first-page")

    go(bob, own)
    bob.page.click(".golive-press >> text=Roll back…")
    bob.wait_for("What happens")
    bob.shoot("golive-rollback")
    assert bob.page.input_value("textarea[name=reason]") == GONE
    bob.page.click("form.desk-form button:has-text('Roll back now')")
    bob.wait_for("May not trade")
    assert finish_rollback().state == "done"
    go(bob, own)
    bob.wait_for("HELD")
    bob.shoot("golive-rolled-back")
    assert is_back(account)
    assert told_since(seq) == list(STORY)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", WIDTHS)
def test_the_pages_can_be_read_and_pressed_at_night(seat, account, size, theme):
    live.go_live(account, live.make_limits(max_positions=3, max_trades_per_day=30), is_confirmed=True)
    request = walking.ask(walking.make_ready(account))
    screen = seat("olga", size, theme)
    addresses = {
        "list": reverse("golive"),
        "account": reverse("golive_account", args=[account.name]),
        "request": reverse("request_decide", args=[request.pk, "approve"]),
        "press": reverse("golive_press", args=[account.name, "rollback"]),
    }
    words = ".desk-pill, .desk-stop, .desk-button, .desk td, .desk dt, .desk dd, .desk p, .golive-phases *"
    for name, address in addresses.items():
        go(screen, address)
        screen.shoot(f"golive-{name}-{size}-{theme}")
        low = [
            f"{found.inner_text()!r} {ratio:.2f}"
            for found in screen.page.locator(words).all()
            if found.is_visible() and (ratio := found.evaluate(CONTRAST)) < 4.5
        ]
        assert low == [], f"{name}: too faint"
    # By keyboard alone: the way back without pressing, and the press itself.
    screen.page.focus("form.desk-form textarea")
    screen.page.keyboard.press("Tab")
    assert screen.page.evaluate("document.activeElement.innerText") == "Roll back now"
    screen.page.keyboard.press("Tab")
    assert "change nothing" in screen.page.evaluate("document.activeElement.innerText")


# By command and over HTTP ---------------------------------------------------------------------------


def command(verb: str, *words: str, by: str, otp: bool = False) -> dict[str, Any]:
    out = StringIO()
    code = ["--otp", code_of(selectors.get_user(by))] if otp else []
    said = [*words, *code, "--actor", by, "--reason", REASON, "--json"]
    call_command("golive", verb, *said, stdout=out)
    return dict(json.loads(out.getvalue()))


def walk_to_freeze(account: facts.Account) -> None:
    command("open", "--account", account.name, "--profile", "MICRO", by="ann")
    walking.meet_checklist(Programme.objects.get())
    command("advance", "--account", account.name, by="ann")
    walking.wait(Programme.objects.get())


def test_the_same_by_command_leaves_the_same_trail(account):
    seq = head()
    walk_to_freeze(account)
    asked = command("request", "--account", account.name, by="ann")
    command("approve", asked["id"], by="bob", otp=True)
    command("activate", asked["id"], by="ann", otp=True)
    command("rollback", "--account", account.name, by="olga")
    assert finish_rollback().state == "done"
    assert is_back(account)
    assert told_since(seq) == list(STORY)


def test_its_request_and_rollback_over_http_leave_the_same_trail(account):
    person = selectors.get_user("olga")
    factories.ApiTokenFactory(name="bot", raw="bot", user=person)
    client = Client(headers={"Authorization": "Bearer bot"})

    def post(path: str, body: dict[str, str]) -> dict[str, Any]:
        answer = client.post(f"/api/v1{path}", json.dumps(body), content_type="application/json")
        assert answer.status_code in {200, 201, 202}, answer.content
        return dict(answer.json())

    seq = head()
    walk_to_freeze(account)
    post("/golive/requests", {"account": account.name, "profile": "MICRO", "reason": REASON})
    row = ApprovalRequest.objects.get()
    command("approve", str(row.pk), by="bob", otp=True)
    forget_codes()
    command("activate", str(row.pk), by="ann", otp=True)
    post(f"/golive/{account.name}/rollback", {"reason": GONE})
    assert finish_rollback().state == "done"
    assert Rollback.objects.get().actor == "token:bot"
    assert is_back(account)
    assert told_since(seq) == list(STORY)
