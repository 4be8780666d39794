"""Drift suspends new risk and nothing else, until it is gone or another freeze was approved."""

import json
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from controlplane.alerts.models import Alert
from controlplane.approvals import selectors, voting
from controlplane.approvals.core import Role, VoteDecision
from controlplane.approvals.models import ApprovalRequest
from controlplane.audit.models import AuditEvent
from controlplane.code_version import get_code_version
from controlplane.dashboard.troubles import Seen, unloaded_files
from controlplane.errors import DomainError
from golive import drift, hotfix
from golive.config_file import read_config_file
from golive.freeze import SOURCES, take_freeze
from golive.holds import hold_account
from golive.models import Activation, PreflightRun
from golive.permits import end_permit
from golive.services import freeze_desk, request_adoption, watch_drift
from risk import judgement, models
from risk.judgement import judge_intent
from tests.approvals.conftest import choose_mode, code_of, forget_codes, make_person
from tests.golive.configuring import REASON, activate, hold_files_still, load, make_live, write
from tests.risk import desk as rows
from trading.core.values import OrderPurpose, Side
from trading.models import Permit, TradingState
from trading.selectors import get_account, get_clocks

pytestmark = pytest.mark.django_db(transaction=True)
HOTFIX = "f" * 64


@pytest.fixture(autouse=True)
def still_files(monkeypatch):
    hold_files_still(monkeypatch)


@pytest.fixture
def account(tmp_path):
    """Live, and as it was approved, beside another on paper."""
    choose_mode()
    make_person("ann", Role.REQUESTER)
    make_person("bob", Role.APPROVER)
    found, _ = rows.make_desk(), rows.make_desk(name="other")
    config = load(tmp_path)
    activate(found, config, take_freeze("ann"))
    return found


def start_code(monkeypatch, version=HOTFIX):
    """As if the desk's processes had been started with other code."""
    source = replace(SOURCES["code"], loaded=lambda: version, filed=lambda: version)
    monkeypatch.setitem(SOURCES, "code", source)
    monkeypatch.setattr(hotfix, "get_code_version", lambda: version)
    monkeypatch.setattr(judgement, "get_code_version", lambda: version)


def pass_preflight(version=HOTFIX, **changes):
    clocks = get_clocks()
    values = {
        "purpose": "golive",
        "actor": "ann",
        "environment": "paper",
        "code_version": version,
        "is_complete": True,
        "is_passed": True,
        "passed_count": 6,
        "finished_at": clocks.wall_at,
    }
    return PreflightRun.objects.create(**values | changes)


def watch():
    watch_drift(clocks=get_clocks())


def state():
    return TradingState.objects.get(scope="account:main").state


def may_enter(account):
    rows.refresh(account)
    return judge_intent(intent_id=rows.ask(account).pk, clocks=get_clocks()).allowed


def may_leave(account):
    rows.refresh(account)
    asked = rows.ask(
        account,
        side=Side.SELL,
        purpose=OrderPurpose.EXIT,
        reduce_only=True,
        quantity=rows.D("0.1"),
        stop_loss=None,
        take_profit=None,
    )
    return judge_intent(intent_id=asked.pk, clocks=get_clocks()).allowed


def approve(row, name="bob"):
    user = selectors.get_user(name)
    return voting.vote_on_request(
        request_id=row.pk,
        decision=VoteDecision.APPROVE,
        otp=code_of(user),
        reason=REASON,
        actor=selectors.actor_of_user(user),
    )


def ask(account, by="ann"):
    return request_adoption(account=account, reason=REASON, actor=selectors.get_actor(by))


def refused(code):
    return pytest.raises(DomainError, check=lambda error: error.code == code)


def test_as_approved_nothing_happens(account):
    watch()
    assert state() == "ACTIVE"
    assert may_enter(account)
    assert not models.Restriction.objects.exists()


def test_drift_suspends_new_risk_names_the_group_and_is_lifted_when_it_is_gone(account, monkeypatch):
    start_code(monkeypatch)
    watch()
    assert state() == "REDUCING"
    assert TradingState.objects.get(scope="account:other").state == "ACTIVE"
    row = models.Restriction.objects.get(cause="drift")
    assert row.reason.startswith(f"not as approved: code: all: {get_code_version()} -> {HOTFIX}")
    assert list(row.evidence["groups"]) == ["code"]
    assert not may_enter(account)
    watch()
    event = AuditEvent.objects.get(action="golive.drift")
    assert (event.subject_id, list(event.payload["detail"]["groups"])) == ("main", ["code"])
    start_code(monkeypatch, get_code_version())
    watch()
    assert state() == "REDUCING"
    # What the other code decided a minute ago says nothing of now.
    monkeypatch.setattr(drift, "DECIDED_WITHIN", timedelta(0))
    watch()
    assert (state(), may_enter(account)) == ("ACTIVE", True)


def test_a_worker_that_runs_other_code_than_the_guard_is_drift(account, monkeypatch):
    monkeypatch.setattr(judgement, "get_code_version", lambda: HOTFIX)
    assert may_enter(account)
    watch()
    assert models.Restriction.objects.get(cause="drift").reason.endswith(f"decides with {HOTFIX}")
    assert not may_enter(account)
    monkeypatch.setattr(drift, "DECIDED_WITHIN", timedelta(0))
    watch()
    assert state() == "ACTIVE"


def test_another_drift_meanwhile_is_told_anew(account, monkeypatch, tmp_path):
    start_code(monkeypatch)
    watch()
    load(tmp_path, ("max_leverage: 2", "max_leverage: 3"))
    watch()
    row = models.Restriction.objects.get(cause="drift")
    assert row.evidence["groups"].keys() == {"go_live", "code"}
    assert AuditEvent.objects.filter(action="golive.drift").count() == 2


def test_a_live_permit_that_nothing_was_frozen_for_adds_no_risk(account):
    make_live(get_account("other"))
    watch()
    assert TradingState.objects.get(scope="account:other").state == "REDUCING"
    assert state() == "ACTIVE"


def test_an_account_that_is_not_activated_any_more_has_no_drift(account, monkeypatch):
    start_code(monkeypatch)
    watch()
    Activation.objects.update(state="rolled_back", ended_at=get_clocks().wall_at)
    permit = Permit.objects.get(account=account, active=True)
    end_permit(permit=permit, actor="system:test", reason="rolled back", wall_at=get_clocks().wall_at)
    watch()
    assert state() == "ACTIVE"


def test_the_guard_suspends_what_a_configuration_of_another_environment_enabled(account, settings):
    settings.TRADING_ENVIRONMENT = "demo"
    drift.follow_enabled(config=drift.get_active_config(), clocks=get_clocks())
    assert models.Restriction.objects.get(cause="not_enabled").scope == "account:main"


def test_a_changed_file_is_shown_until_it_is_loaded(account, monkeypatch, tmp_path):
    path = write(tmp_path, ("max_leverage: 2", "max_leverage: 1"))
    reading = replace(SOURCES["go_live"], filed=lambda: read_config_file(path))
    monkeypatch.setitem(SOURCES, "go_live", reading)
    watch()
    watch()
    assert state() == "ACTIVE"
    alert = Alert.objects.get(code=drift.UNLOADED)
    assert (alert.scope, alert.severity) == ("go_live", "warning")
    seen = Seen(clocks=get_clocks(), states=(), accounts=(), places=())
    (trouble,) = unloaded_files(seen)
    assert "max_leverage: 2 -> 1" in trouble.detail
    load(tmp_path, ("max_leverage: 2", "max_leverage: 1"))
    watch()
    alert.refresh_from_db()
    assert alert.resolved_at is not None
    assert list(unloaded_files(seen)) == []


class TestHotfix:
    """The documented path: start it, reduce, freeze and ask, approve, go on. Exits never stop."""

    def test_the_whole_path(self, account, monkeypatch):
        rows.hold(account)
        limits = Permit.objects.get(account=account, active=True).limit_set_digest
        assert may_leave(account)
        start_code(monkeypatch)
        watch()
        assert (may_enter(account), may_leave(account)) == (False, True)
        pass_preflight()
        row = ask(account)
        assert (may_enter(account), may_leave(account)) == (False, True)
        assert list(row.subject["changes"]) == ["code"]
        approve(row)
        assert state() == "ACTIVE"
        assert may_leave(account)
        activation = Activation.objects.get(account=account)
        assert (activation.freeze.digest, activation.version) == (row.subject["freeze"], 2)
        assert Permit.objects.get(account=account, active=True).limit_set_digest == limits
        watch()
        assert state() == "ACTIVE"
        event = AuditEvent.objects.get(action="golive.adopt")
        assert (event.actor, event.payload["detail"]["requested_by"]) == ("bob", "ann")

    def test_without_drift_there_is_nothing_to_ask(self, account):
        with refused("nothing_drifted"):
            ask(account)

    def test_nothing_activated_has_nothing_to_stand_on(self, account):
        with refused("nothing_activated"):
            ask(get_account("other"))

    @pytest.mark.parametrize(
        "changes",
        [
            {"code_version": "0" * 64},
            {"is_passed": False},
            {"is_complete": False},
            {"purpose": "rearm"},
            {"finished_at": "2020-01-01T00:00Z"},
        ],
        ids=str,
    )
    def test_it_takes_a_pre_flight_of_this_code(self, account, monkeypatch, changes):
        start_code(monkeypatch)
        pass_preflight(**changes)
        with refused("not_ready"):
            ask(account)

    def test_files_must_be_what_is_loaded_and_activation_enabled(self, account, monkeypatch, tmp_path):
        start_code(monkeypatch)
        pass_preflight()
        monkeypatch.setitem(SOURCES, "alerts", replace(SOURCES["alerts"], filed=lambda: {"other": 1}))
        with refused("not_ready"):
            ask(account)
        load(tmp_path, ("activation_enabled: true", "activation_enabled: false"))
        with refused("activation_disabled"):
            ask(account)

    def test_what_changed_since_it_was_asked_voids_it(self, account, monkeypatch, tmp_path):
        start_code(monkeypatch)
        pass_preflight()
        row = ask(account)
        with refused("adoption_asked"):
            ask(account)
        start_code(monkeypatch, "e" * 64)
        with refused("changed_since"):
            approve(row)
        start_code(monkeypatch)
        load(tmp_path, ("max_leverage: 2", "max_leverage: 3"))
        forget_codes()
        with refused("changed_since"):
            approve(row)
        assert Activation.objects.get(account=account).version == 1

    def test_a_held_account_goes_on_being_held(self, account, monkeypatch):
        start_code(monkeypatch)
        pass_preflight()
        row = ask(account)
        hold_account(account=account, reason="a guard tripped", actor="guard:test", clocks=get_clocks())
        with refused("account_held"):
            approve(row)
        assert Activation.objects.get(account=account).version == 1

    def test_the_one_who_asked_cannot_approve(self, account, monkeypatch):
        make_person("eve", Role.REQUESTER, Role.APPROVER)
        start_code(monkeypatch)
        pass_preflight()
        row = ask(account, by="eve")
        with pytest.raises(DomainError):
            approve(row, "eve")
        assert Activation.objects.get(account=account).version == 1


def run(*words):
    out = StringIO()
    call_command("golive", "config", *words, stdout=out)
    return out.getvalue()


class TestCommand:
    def test_show_and_diff_say_what_differs(self, account, monkeypatch):
        assert "the files are what is loaded" in run("diff")
        start_code(monkeypatch)
        shown = json.loads(run("show", "--json"))
        assert shown["values"]["max_leverage"] == "2"
        assert shown["groups"].keys() == SOURCES.keys()
        assert (list(shown["drift"]["main"]), shown["unloaded"]) == (["code"], {})
        assert "main is not as approved: code: " in run("diff")
        assert "max_position_notional" in run("show")
        assert json.loads(run("diff", "--json"))["drift"] == shown["drift"]

    def test_load_and_freeze_take_a_designated_person_and_a_reason(self, account, tmp_path):
        path = write(tmp_path, ("max_leverage: 2", "max_leverage: 3"))
        who = ("--actor", "olga", "--reason", REASON)
        assert "is in force" in run("load", "--file", str(path), *who)
        assert json.loads(run("freeze", *who, "--json"))["groups"].keys() == SOURCES.keys()
        make_person("audrey", Role.AUDITOR)
        for part in (("load", "--file", str(path)), ("freeze",)):
            with pytest.raises(CommandError, match="not_designated"):
                run(*part, "--actor", "audrey", "--reason", REASON)
        denied = AuditEvent.objects.filter(action__endswith=".denied").values_list("action", flat=True)
        assert set(denied) == {"golive.config_load.denied", "golive.freeze.denied"}

    def test_adopt_asks(self, account, monkeypatch):
        start_code(monkeypatch)
        pass_preflight()
        text = run("adopt", "--account", "main", "--actor", "ann", "--reason", REASON)
        assert "code: all: " in text
        assert "another person approves it" in text
        row = ApprovalRequest.objects.get(kind=hotfix.ADOPTION)
        code = code_of(selectors.get_user("bob"))
        said = run("approve", str(row.pk), "--otp", code, "--actor", "bob", "--reason", REASON)
        assert said == f"request {row.pk} is executed\n"
        assert state() == "ACTIVE"

    def test_a_person_freezes_with_a_reason(self, account):
        row = freeze_desk(actor=selectors.get_actor("ann"), reason=REASON)
        assert row.taken_by == "ann"
        assert AuditEvent.objects.filter(action="golive.freeze", subject_id=row.digest).exists()
