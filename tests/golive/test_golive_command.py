"""The way of an account to a profile by command, and how each verb refuses."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from controlplane.approvals import selectors
from controlplane.audit.models import AuditEvent
from golive.core.words import Phase
from golive.models import Activation, Programme
from tests.approvals.conftest import REASON, code_of, forget_codes
from tests.golive import walking
from tests.golive.test_handover import enter, observe
from tests.risk import desk as rows
from tests.risk.rearming import ask, trip
from trading import models as facts

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def account(db, settings, tmp_path):
    walking.write_manual(settings, tmp_path)
    return walking.make_desk()


def run(*words: object, by: str | None = None) -> str:
    out = StringIO()
    person = [] if by is None else ["--actor", by, "--reason", REASON]
    call_command("golive", *map(str, words), *person, stdout=out)
    return out.getvalue()


def run_json(*words: object, by: str | None = None) -> dict:
    return dict(json.loads(run(*words, "--json", by=by)))


def otp(name: str) -> list[str]:
    return ["--otp", code_of(selectors.get_user(name))]


def open_way(account: facts.Account) -> Programme:
    """Everything but the waiting is done by command."""
    run("open", "--account", account.name, by="ann")
    row = Programme.objects.get(state="open")
    walking.meet_checklist(row)
    run("advance", "--account", account.name, by="ann")
    row.refresh_from_db()
    return walking.wait(row)


def test_from_paper_to_confirmed_by_command(account):
    assert "main: PAPER MICRO" in run("status")
    open_way(account)
    request = run_json("request", "--account", "main", by="ann")
    assert (request["state"], request["subject"]["profile"]) == ("proposed", "MICRO")
    assert all(item["is_met"] for item in request["conditions"])
    assert "is approved" in run("approve", request["id"], *otp("bob"), by="bob")
    text = run("activate", request["id"], *otp("ann"), by="ann")
    assert "main is live at MICRO (another person)" in text

    done = Activation.objects.get()
    observe(done)
    rows.refresh(account)
    enter(account)
    assert "main: LIVE MICRO" in run("status", "--account", "main")
    assert run_json("confirm", "--account", "main", by="ann")["state"] == "confirmed"
    status = run_json("status", "--account", "main")["accounts"][0]
    assert (status["permit"], status["programme"], status["activation"]["state"]) == (
        "LIVE",
        None,
        "confirmed",
    )
    actions = list(AuditEvent.objects.filter(action__startswith="golive.").values_list("action", flat=True))
    for action in (
        "programme_open",
        "programme_phase",
        "freeze",
        "activation_request",
        "activate",
        "confirm",
    ):
        assert f"golive.{action}" in actions


def test_request_opens_the_programme_and_says_what_is_missing(account):
    with pytest.raises(CommandError, match="checklist_open") as caught:
        run("request", "--account", "main", by="ann")
    assert caught.value.returncode == 1
    row = Programme.objects.get()
    assert (row.phase, row.profile) == (Phase.VALIDATION, "MICRO")
    text = run("conditions", "--account", "main")
    assert "MISSING checklist" in text
    assert "met     preflight" in text
    with pytest.raises(CommandError, match="leads to MICRO"):
        run("request", "--account", "main", "--profile", "SMALL", by="ann")


def test_reject_and_withdraw(account):
    open_way(account)
    request = run_json("request", "--account", "main", by="ann")
    assert "is rejected" in run("reject", request["id"], *otp("bob"), by="bob")
    assert "is withdrawn" in run("withdraw", "--account", "main", by="ann")
    with pytest.raises(CommandError, match="programme_not_found"):
        run("conditions", "--account", "main")


@pytest.mark.parametrize("verb", ["approve", "reject", "activate"])
def test_a_request_of_another_kind_is_not_for_this(account, verb):
    other = ask(trip())
    with pytest.raises(CommandError, match="digest_mismatch"):
        run(verb, other.pk, *otp("bob"), by="bob")
    other.refresh_from_db()
    assert other.state == "proposed"


def test_what_is_refused_is_refused_by_command_too(account):
    open_way(account)
    request = run_json("request", "--account", "main", by="ann")
    with pytest.raises(CommandError, match="not_designated"):
        run("approve", request["id"], *otp("ann"), by="ann")
    with pytest.raises(CommandError, match="state_changed"):
        run("activate", request["id"], *otp("ann"), by="ann")
    run("approve", request["id"], *otp("bob"), by="bob")
    forget_codes()
    with pytest.raises(CommandError, match="step_up_wrong"):
        run("activate", request["id"], "--otp", "000000", by="ann")
    with pytest.raises(CommandError, match="typed: expected"):
        run("activate", request["id"], *otp("ann"), "--typed", "max_loss=3", by="ann")
    with pytest.raises(CommandError, match="nothing_to_confirm"):
        run("confirm", "--account", "main", by="ann")
    assert not Activation.objects.exists()
