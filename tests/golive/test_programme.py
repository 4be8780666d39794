"""The programme's moves: by evidence alone, one at a time, audited; drift begins the freeze again."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction
from django.db.models.functions import Now

from controlplane.approvals.core import Actor, ActorKind, Role
from controlplane.audit.models import AuditEvent
from controlplane.errors import DomainError
from golive import programme, programme_facts
from golive.core.words import Phase, ProgrammeState
from golive.models import Activation, Evaluation, Freeze, Programme
from golive.permits import replace_permit
from golive.programme_rules import get_programme_rules
from golive.services import advance_programme, open_programme, withdraw_programme
from risk.limits import load_profiles, with_digest
from risk.registration import store_limit_set
from tests.approvals.conftest import REASON, make_person
from tests.golive import configuring, walking
from tests.risk import desk as rows
from trading import models as facts
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db(transaction=True)


def refused(code: str):
    return pytest.raises(DomainError, check=lambda error: error.code == code)


@pytest.fixture
def account(db, settings, tmp_path):
    walking.write_manual(settings, tmp_path)
    return walking.make_desk()


def advance(row: Programme, by: str = "ann") -> Programme:
    return advance_programme(programme=row, actor=walking.actor(by))


def test_from_validation_to_activation(account):
    row = walking.begin(account)
    assert (row.phase, row.freeze) == (Phase.VALIDATION, None)
    row = advance(row)
    assert (row.phase, row.freeze) == (Phase.FREEZE, Freeze.objects.get())
    with refused("phase_too_short"):
        advance(row)
    row = advance(walking.wait(row))
    assert row.phase == Phase.ACTIVATION
    with refused("programme_changed"):
        advance(row)
    told = AuditEvent.objects.filter(action="golive.programme_phase").order_by("seq")
    assert [(event.payload["detail"]["from"], event.payload["detail"]["to"]) for event in told] == [
        ("validation", "freeze"),
        ("freeze", "activation"),
    ]
    denied = AuditEvent.objects.filter(action="golive.programme_phase.denied").order_by("seq")
    assert [event.payload["detail"]["code"] for event in denied] == ["phase_too_short", "programme_changed"]


def test_nothing_shortens_a_phase(account):
    row = walking.wait(advance(walking.begin(account)), timedelta(minutes=9, seconds=30))
    with refused("phase_too_short"):
        advance(row)
    row.refresh_from_db()
    assert row.phase == Phase.FREEZE


def test_drift_freezes_anew_and_begins_that_phase_again(account):
    row = walking.make_ready(account)
    request = walking.ask(row)
    row.refresh_from_db()
    first = row.freeze
    facts.StrategyAssignment.objects.filter(account=account, strategy="trend").update(symbols=["SOLUSDT"])
    row = advance(row)
    assert (row.phase, row.request_id) == (Phase.FREEZE, None)
    assert row.freeze.digest != first.digest
    with refused("phase_too_short"):
        advance(row)
    walking.approve(request)
    with refused("programme_changed"):
        walking.activate(request)


@pytest.mark.parametrize("kept", [1, 2])
def test_validation_is_left_with_everything_met_only(account, kept):
    row = walking.begin(account)
    for trade in list(facts.Trade.objects.order_by("id"))[kept:]:
        trade.delete()
    with refused("too_few_trades"):
        advance(row)
    assert not Freeze.objects.exists()
    unmet = [item.name for item in programme.list_conditions(row) if not item.is_met]
    assert "trades" in unmet


@pytest.mark.parametrize(
    "change",
    [
        {"stop_verified_at": None},
        {"target_verified_at": None},
        {"closed_at": None, "net_pnl": None, "exit_price": None},
        {"strategy": "another"},
        {"entry_intent": None},
    ],
)
def test_a_round_trip_counts_whole_or_not_at_all(account, change):
    facts.Trade.objects.filter(symbol="DOGEUSDT").update(**change)
    found = programme_facts.read_facts(account, "MICRO", get_programme_rules()).trades
    assert (found.count, found.symbols, found.targets) == (2, 1, 0)


def test_trades_of_the_demo_count_for_paper_and_paper_does_not_for_demo(account):
    rules = get_programme_rules()
    demo = facts.Account.objects.create(name="demo", environment="demo")
    place = facts.VenueAccount.objects.create(account=demo, venue="binanceusdm", priority=0)
    facts.Trade.objects.filter(symbol="DOGEUSDT").update(venue_account=place)
    assert programme_facts.read_facts(account, "MICRO", rules).trades.count == 3
    facts.Account.objects.filter(pk=account.pk).update(environment="live")
    account.refresh_from_db()
    assert programme_facts.read_facts(account, "MICRO", rules).trades.count == 1
    other = facts.Account.objects.create(name="other", environment="paper")
    assert programme_facts.read_facts(other, "MICRO", rules).trades.count == 0


def test_one_programme_at_a_time(account):
    walking.begin(account)
    with refused("programme_open"):
        walking.begin(account)
    assert Programme.objects.count() == 1


@pytest.mark.parametrize(
    ("profile", "code"), [("SMALL", "rung_skipped"), ("LARGE", "rung_skipped"), ("HUGE", "profile_unknown")]
)
def test_one_rung_at_a_time(account, profile, code):
    with refused(code):
        walking.begin(account, profile)
    assert not Programme.objects.exists()


def test_withdrawn_before_activation_and_not_after(account):
    row = walking.begin(account)
    row = withdraw_programme(programme=row, actor=walking.actor("ann"), reason=REASON)
    assert (row.state, row.outcome) == (ProgrammeState.WITHDRAWN, REASON)
    with refused("programme_changed"):
        advance(row)
    done = walking.go_live(account)
    with refused("programme_changed"):
        withdraw_programme(programme=done.programme, actor=walking.actor("ann"), reason=REASON)


@pytest.mark.parametrize("roles", [(Role.AUDITOR,), (Role.ADMIN,), (Role.APPROVER,), ()])
def test_opening_takes_a_requester_or_an_operator(account, roles):
    make_person("eve", *roles, is_superuser=True)
    with refused("not_designated"):
        walking.begin(account, by="eve")
    assert walking.begin(account, by="olga").state == ProgrammeState.OPEN


def test_the_guard_may_carry_a_programme_on_and_a_token_without_a_role_not(account):
    row = walking.begin(account)
    token = Actor(name="bot", kind=ActorKind.TOKEN)
    with refused("not_designated"):
        advance_programme(programme=row, actor=token)
    guard = Actor(name="programme", kind=ActorKind.GUARD)
    assert advance_programme(programme=row, actor=guard).phase == Phase.FREEZE


def test_of_two_who_move_it_one_is_told(account):
    row = walking.begin(account)
    stale = Programme.objects.get(pk=row.pk)
    advance(row)
    with transaction.atomic(), refused("programme_changed"):
        programme.enter_phase(stale, Phase.FREEZE, walking.actor("ann"), get_clocks())


def test_the_database_knows_that_nothing_is_activated_without_a_freeze(account):
    row = walking.begin(account)
    with pytest.raises(DatabaseError):
        Programme.objects.filter(pk=row.pk).update(phase="activation")


# Judged against what was confirmed -------------------------------------------------------------------


def confirm_at(account: facts.Account, days: int, notional: int) -> Activation:
    """An activation that was confirmed so many days ago, with this limit."""
    limits = with_digest(replace(load_profiles()["MICRO"], max_position_notional=Decimal(notional)))
    stored = store_limit_set(limits=limits, actor="system:test", reason=REASON)
    replace_permit(
        account=account,
        kind="LIVE",
        profile="MICRO",
        limit_set_digest=stored.digest,
        actor="system:test",
        reason=REASON,
        wall_at=get_clocks().wall_at,
    )
    Activation.objects.filter(ended_at=None).update(state="superseded", ended_at=Now())
    config = programme_facts.get_active_config()
    done = configuring.activate(account, config)
    at = get_clocks().wall_at - timedelta(days=days)
    Programme.objects.filter(state="open").update(state="confirmed", closed_at=Now())
    Activation.objects.filter(pk=done.pk).update(state="confirmed", confirmed_at=at)
    return done


def test_small_steps_are_judged_as_the_one_large_one_that_they_are(account):
    """Each is within a tenth of the one before; together they are not."""
    confirm_at(account, 40, 84)
    confirm_at(account, 10, 92)
    found = programme_facts.read_facts(account, "MICRO", get_programme_rules())
    assert found.growth_limit == "max_position_notional"
    assert round(found.growth, 3) == round(Decimal(100) / 84 - 1, 3)
    row = walking.begin(account)
    with refused("cumulative_increase"):
        advance(row)
    Evaluation.objects.create(
        account=account,
        profile="MICRO",
        recommendation="promote",
        criteria=[],
        code_version=found.code_version,
        market_at=get_clocks().market_at,
    )
    rows.refresh(account)
    assert advance(row).phase == Phase.FREEZE


def test_a_small_step_from_what_was_confirmed_long_ago_is_one(account):
    confirm_at(account, 40, 92)
    found = programme_facts.read_facts(account, "MICRO", get_programme_rules())
    assert round(found.growth, 3) == round(Decimal(100) / 92 - 1, 3)
    rows.refresh(account)
    assert advance(walking.begin(account)).phase == Phase.FREEZE


def test_opening_needs_a_reason(account):
    with refused("reason_too_short"):
        open_programme(account=account, profile="MICRO", actor=walking.actor("ann"), reason="because")
