"""Asked, approved by another, activated once; whatever changed meanwhile refuses under its own code."""

import shutil
import time
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from controlplane.approvals import core, selectors
from controlplane.approvals.core import Actor, ActorKind, Mode, Role
from controlplane.approvals.models import Designation, SecondFactorUse
from controlplane.approvals.requests import withdraw_request
from controlplane.audit.canonical import canonical_text
from controlplane.audit.models import AuditEvent, Checkpoint
from controlplane.errors import DomainError
from golive import proposal
from golive.core.words import ActivationState, Phase, ProgrammeState
from golive.holds import hold_account
from golive.models import Activation, Freeze, GoLiveConfig, Programme
from golive.permits import replace_permit
from risk.judgement import judge_intent
from risk.limits import load_profiles, with_digest
from risk.models import CapitalBase, Override
from risk.registration import store_limit_set
from tests.approvals.conftest import (
    REASON,
    choose_mode,
    code_of,
    forget,
    forget_codes,
    grant_override,
    let_time_pass,
    make_person,
    run_out,
    unguarded,
)
from tests.golive import configuring, walking
from tests.risk import desk as rows
from tests.risk.rearming import trip
from trading import models as facts
from trading.selectors import get_active_permit, get_clocks

pytestmark = pytest.mark.django_db(transaction=True)


def refused(code: str):
    return pytest.raises(DomainError, check=lambda error: error.code == code)


@pytest.fixture
def account(db, settings, tmp_path):
    walking.write_manual(settings, tmp_path)
    return walking.make_desk()


@pytest.fixture
def approved(account):
    request = walking.ask(walking.make_ready(account))
    assert walking.approve(request).state == "approved"
    request.refresh_from_db()
    return request


def is_untouched(account: facts.Account) -> bool:
    permit = get_active_permit(account)
    return (
        permit is not None
        and permit.kind == "PAPER"
        and not Activation.objects.exists()
        and not CapitalBase.objects.exists()
        and Programme.objects.get().phase == Phase.ACTIVATION
    )


def denials(action: str = "golive.activate.denied") -> list[str]:
    found = AuditEvent.objects.filter(action=action).order_by("seq")
    return [event.payload["detail"]["code"] for event in found]


def test_an_account_goes_live_by_another_persons_word(account, approved):
    before = get_active_permit(account)
    grant_override(account, limit="max_positions", value=Decimal(3), max_uses=1, window=timedelta(hours=1))
    version = account.book.version
    done = walking.activate(approved)

    permit = get_active_permit(account)
    assert (permit.kind, permit.profile, permit.limit_set_digest) == ("LIVE", "MICRO", done.limit_set_digest)
    assert permit.fencing_token > before.fencing_token
    before.refresh_from_db()
    assert (before.active, before.end_reason) == (False, REASON)
    assert (done.state, done.approved_by, done.requested_by) == ("observing", ["bob"], "ann")
    assert (done.approval_words, done.request_digest) == ("another person", approved.digest)
    assert CapitalBase.objects.get(ended_at=None).equity == Decimal(1100)
    assert not Override.objects.filter(ended_at=None).exists()
    account.book.refresh_from_db()
    assert account.book.version > version
    row = Programme.objects.get()
    assert (row.phase, row.state) == (Phase.OBSERVATION, ProgrammeState.OPEN)
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"golive.activate", "golive.permit_begin", "golive.permit_end", "risk.capital_base"} <= actions
    told = AuditEvent.objects.get(action="golive.activate").payload["detail"]
    assert (told["digest"], told["approved_by"]) == (approved.digest, ["bob"])
    rows.refresh(account)
    assert judge_intent(intent_id=rows.ask(account).pk, clocks=get_clocks()).reason == "none"


def test_it_is_activated_once(account, approved):
    walking.activate(approved)
    forget_codes()
    with refused("state_changed"):
        walking.activate(approved)
    assert Activation.objects.count() == 1


def test_what_is_asked_is_shown_whole(account):
    request = walking.ask(walking.make_ready(account))
    subject = request.subject
    assert (subject["account"], subject["profile"], subject["base"]["kind"]) == ("main", "MICRO", "PAPER")
    assert subject["config"] == GoLiveConfig.objects.get().digest
    assert subject["freeze"] == Freeze.objects.get().digest
    assert (subject["direction"], subject["changes"]) == ("neutral", [])
    assert subject["impact"]["judged"] == 3
    assert subject["impact"]["allowed_now"] == subject["impact"]["allowed_then"] == 3
    assert Decimal(subject["impact"]["peak_exposure_now"]) == Decimal("90")
    told = AuditEvent.objects.get(action="golive.activation_request").payload["detail"]
    assert told["digest"] == request.digest


def test_one_request_at_a_time(account):
    row = walking.make_ready(account)
    request = walking.ask(row)
    with refused("request_open"):
        walking.ask(row)
    withdraw_request(request_id=request.pk, reason=REASON, actor=walking.actor("ann"))
    again = walking.ask(row)
    with refused("state_changed"):
        walking.approve(request)
    walking.approve(again)
    assert walking.activate(again).request_id == again.pk


def test_a_request_out_of_time_stands_in_nobodys_way(account):
    row = walking.make_ready(account)
    walking.ask(row)
    run_out("execute_by")
    row.refresh_from_db()
    assert walking.ask(row).state == "proposed"


# Time of check, time of use ---------------------------------------------------------------------


def change_base(account):
    limits = with_digest(replace(load_profiles()["MICRO"], max_positions=1))
    stored = store_limit_set(limits=limits, actor="system:test", reason=REASON)
    replace_permit(
        account=account,
        kind="PAPER",
        profile="MICRO",
        limit_set_digest=stored.digest,
        actor="system:test",
        reason=REASON,
        wall_at=get_clocks().wall_at,
    )


def change_freeze(account):
    row = Programme.objects.get()
    other = Freeze.objects.create(
        digest="f" * 64, groups={}, body=row.freeze.body, code_version="0" * 64, taken_by="ann"
    )
    Programme.objects.update(freeze=other)


def drift(account):
    rows_of = facts.StrategyAssignment.objects.filter(account=account, strategy="trend")
    rows_of.update(symbols=["SOLUSDT"])


def change_designation(account):
    Designation.objects.filter(user__username="bob").update(valid_to=Now())


def hold(account):
    hold_account(account=account, reason="after a test", actor="guard:test", clocks=get_clocks())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (change_base, "base_changed"),
        (change_freeze, "freeze_changed"),
        (drift, "freeze_drifted"),
        (change_designation, "quorum_lost"),
        (hold, "account_held"),
        (lambda account: trip("account:main"), "stop_stands"),
        (lambda account: trip("symbol:SOLUSDT"), "stop_stands"),
        (lambda account: walking.pass_preflight(is_passed=False, passed_count=5), "preflight_failed"),
        (
            lambda account: walking.pass_preflight(checks={"check_exchange_connectivity": "inconclusive"}),
            "venue_unverified",
        ),
        (lambda account: facts.TradingState.objects.filter(scope="all").delete(), "stop_stands"),
        (lambda account: facts.Trade.objects.filter(symbol="DOGEUSDT").delete(), "too_few_trades"),
        (lambda account: facts.Trade.objects.update(closed_by="exit"), "protection_never_triggered"),
        (
            lambda account: facts.Trade.objects.update(
                opened_at=F("opened_at") - timedelta(days=8), closed_at=F("closed_at") - timedelta(days=8)
            ),
            "too_few_trades",
        ),
        (lambda account: Programme.objects.update(request_id=None), "programme_changed"),
        (lambda account: forget("trading_equitysample"), "equity_unknown"),
    ],
)
def test_what_changed_since_refuses_and_changes_nothing(account, approved, change, code):
    change(account)
    before = get_active_permit(account).pk
    with refused(code):
        walking.activate(approved)
    assert denials() == [code]
    assert get_active_permit(account).pk == before
    assert not Activation.objects.exists()
    assert not CapitalBase.objects.exists()
    approved.refresh_from_db()
    assert approved.state == "approved"


def test_another_configuration_refuses(account, approved, tmp_path):
    configuring.load(tmp_path, ("min_testnet_trades: 3", "min_testnet_trades: 4"))
    with refused("config_changed"):
        walking.activate(approved)
    assert denials() == ["config_changed"]
    assert is_untouched(account)


def test_other_rules_refuse(account, approved, tmp_path, settings):
    folder = tmp_path / "config"
    shutil.copytree(settings.CONFIG_DIR, folder)
    file = folder / "programme.yaml"
    file.write_text(file.read_text().replace("min_symbols: 2", "min_symbols: 1"))
    settings.CONFIG_DIR = folder
    with refused("rules_changed"):
        walking.activate(approved)
    assert denials() == ["rules_changed"]
    assert is_untouched(account)


def test_a_second_factor_is_asked_and_bound(account, approved):
    with refused("step_up_required"):
        walking.activate(approved, otp=None)
    with refused("step_up_wrong"):
        walking.activate(approved, otp="000000")
    with refused("step_up_used"):
        walking.activate(approved, by="bob", otp=used_code("bob"))
    assert is_untouched(account)
    assert walking.activate(approved).state == ActivationState.OBSERVING


def test_a_code_of_a_refused_activation_stays_spent_and_the_request_open(account, approved):
    hold_account(account=account, reason="held by a test", actor="guard:test", clocks=get_clocks())
    code = code_of(selectors.get_user("bob"))
    with refused("account_held"):
        walking.activate(approved, by="bob", otp=code)
    assert is_untouched(account)
    approved.refresh_from_db()
    assert approved.state == "approved"
    with refused("step_up_used"):
        walking.activate(approved, by="bob", otp=code)


def used_code(name: str) -> str:
    step = SecondFactorUse.objects.filter(user__username=name).latest("id").step
    return core.totp_code(selectors.get_user(name).second_factor.totp_secret, step)


@pytest.mark.parametrize("roles", [(Role.AUDITOR,), (Role.ADMIN,), ()])
def test_activating_takes_a_role_and_a_person(account, approved, roles):
    make_person("eve", *roles, is_superuser=True)
    with refused("not_designated"):
        walking.activate(approved, by="eve")
    with refused("not_a_person"):
        walking.activate(approved, actor=Actor(name="bot", kind=ActorKind.TOKEN))
    assert is_untouched(account)


def test_whoever_wrote_what_is_proposed_does_not_approve_it(account):
    make_person("dan", Role.REQUESTER, Role.APPROVER)
    row = walking.freeze(walking.begin(account, by="dan"))
    request = walking.ask(row, by="ann")
    walking.approve(request, "dan")
    with refused("author_approved"):
        walking.activate(request)
    assert is_untouched(account)


# Time ----------------------------------------------------------------------------------------------


def test_what_expired_is_refused_with_the_sweeper_off(account, approved):
    run_out("execute_by")
    with refused("request_expired"):
        walking.activate(approved)
    approved.refresh_from_db()
    assert approved.state == "approved"
    assert denials() == ["request_expired"]
    assert is_untouched(account)


def test_an_expired_request_is_not_approved(account):
    request = walking.ask(walking.make_ready(account))
    run_out("approve_by")
    with refused("request_expired"):
        walking.approve(request)


@pytest.mark.parametrize(
    ("zone", "web_now"),
    [
        ("Europe/London", (2026, 3, 29, 1, 30)),
        ("Europe/London", (2026, 10, 25, 1, 30)),
        ("America/New_York", (2026, 11, 1, 1, 30)),
        ("America/New_York", (2027, 3, 14, 2, 30)),
        ("Australia/Sydney", None),
        ("Asia/Kolkata", None),
    ],
)
def test_no_rule_of_time_asks_the_clock_of_the_web(account, approved, zone, web_now, monkeypatch):
    """The web's clock an hour ahead, or at a time that does not exist or exists twice where it stands."""
    wrong = datetime(*web_now, tzinfo=ZoneInfo(zone)) if web_now else timezone.now() + timedelta(hours=1)
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    monkeypatch.setattr(timezone, "now", lambda: wrong)
    with timezone.override(ZoneInfo(zone)):
        done = walking.activate(approved)
        now = selectors.get_database_time()
    monkeypatch.undo()
    time.tzset()
    done.refresh_from_db()
    assert now.utcoffset() == timedelta(0)
    assert timedelta(0) <= now - done.activated_at < timedelta(minutes=1)
    assert now < get_active_permit(account).lease_expires_at <= now + timedelta(seconds=31)


# Bound to every field ------------------------------------------------------------------------------


def list_places(value, path=()):
    if isinstance(value, dict) and value:
        return [place for key in value for place in list_places(value[key], (*path, key))]
    return [path]


def test_an_approval_dies_with_any_field_of_its_subject(account, approved):
    """Written past every service, as its owner: the digest is made anew from what is stored."""
    subject = approved.subject
    places = list_places(subject)
    assert len(places) > 30
    for place in places:
        changed = approved.subject
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = "another" if inner[place[-1]] != "another" else "other"
        with unguarded("approvals_approvalrequest") as owner:
            owner.execute("UPDATE approvals_approvalrequest SET subject_text = %s", [canonical_text(changed)])
        with refused("digest_mismatch"):
            walking.activate(approved, otp="123456")
    assert is_untouched(account)
    with unguarded("approvals_approvalrequest") as owner:
        owner.execute("UPDATE approvals_approvalrequest SET subject_text = %s", [canonical_text(subject)])
    assert walking.activate(approved).state == "observing"


def test_every_bound_field_is_compared_at_activation(account, approved):
    now = proposal.bind(Programme.objects.get(), get_clocks())
    assert proposal.find_difference(approved.subject, now) == ("", "")
    for name in now:
        assert proposal.find_difference(approved.subject | {name: "another"}, now)[0] == name
    assert set(approved.subject) - set(now) == {"report", "impact"}


# One person alone ----------------------------------------------------------------------------------


def test_one_person_alone_waits_a_day_and_types_the_limits_in(account):
    choose_mode(Mode.SOLO)
    make_person("ida", Role.REQUESTER, Role.APPROVER)
    row = walking.freeze(walking.begin(account, by="ida"), by="ida")
    with refused("step_up_required"):
        walking.ask(row, by="ida")
    request = walking.ask(row, by="ida", otp=code_of(selectors.get_user("ida")))
    forget_codes()
    with refused("solo_delay"):
        walking.approve(request, "ida")
    let_time_pass(timedelta(hours=24))
    forget_codes()
    walking.approve(request, "ida")
    forget_codes()
    with refused("limits_not_typed"):
        walking.activate(request, "ida")
    with refused("limits_not_typed"):
        walking.activate(request, "ida", typed={"max_position_notional": "200", "max_leverage": "2"})
    done = walking.activate(request, "ida", typed={"max_position_notional": "100", "max_leverage": "2"})
    assert done.approval_words == "same person, delayed"


@pytest.mark.parametrize("is_kept_outside", [True, False])
def test_an_activation_is_anchored_outside_and_never_held_up_by_it(
    account, approved, settings, tmp_path, django_capture_on_commit_callbacks, is_kept_outside
):
    settings.AUDIT_SIGNING_KEY = "07" * 32
    settings.AUDIT_CHECKPOINT_DIR = str(tmp_path / "outside")
    if not is_kept_outside:
        (tmp_path / "outside").write_text("a file where the folder should be")
    with django_capture_on_commit_callbacks(execute=True):
        assert walking.activate(approved).state == ActivationState.OBSERVING
    checkpoint = Checkpoint.objects.get()
    assert (checkpoint.reason, checkpoint.seq) == ("golive.activate", AuditEvent.objects.latest("seq").seq)
    assert len(list(tmp_path.glob("outside/*.jsonl"))) == int(is_kept_outside)
