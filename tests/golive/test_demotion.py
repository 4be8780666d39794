"""A weekly loss takes one rung by itself, once, and what it takes is not given back by a machine."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from controlplane import guard
from controlplane.alerts.models import Alert
from controlplane.audit.models import AuditEvent
from golive.core.programme import judge_rung
from golive.demotion import demote_account, demote_losers, get_barred_until
from golive.models import Activation, Demotion, Hold, Programme
from golive.programme_facts import read_facts
from golive.programme_rules import get_programme_rules
from risk.limits import get_limits, load_profiles
from risk.models import Restriction
from risk.reducing.consequences import apply_consequences
from risk.reducing.releases import release_weekly_loss
from risk.registration import ensure_limit_set, ensure_scopes_for_account
from risk.services import cancel_resting_entries
from tests.approvals.conftest import grant_override
from tests.golive import configuring
from tests.golive.live import go_live
from tests.golive.recording import become, make_live, place_of, restrict
from tests.risk import desk
from tests.risk.conftest import venue_desk  # noqa: F401
from tests.risk.test_sweep import rest
from trading import dispatch
from trading.models import Order, Permit, VenueAccount
from trading.selectors import get_active_permit, get_clocks
from trading.services import assign_strategy, open_account


def lose(permit: Permit) -> Restriction:
    return restrict(permit.account, "weekly_loss", timezone.now())


def demote() -> list[Demotion]:
    return demote_losers(clocks=get_clocks())


@pytest.mark.django_db
@pytest.mark.parametrize(("profile", "lower"), [("LARGE", "MEDIUM"), ("MEDIUM", "SMALL"), ("SMALL", "MICRO")])
def test_one_rung_down_at_once_held_told_and_audited(profile, lower):
    permit = make_live(profile=profile)
    lose(permit)
    (row,) = demote()
    now = get_active_permit(permit.account)
    assert (now.kind, now.profile, now.fencing_token > permit.fencing_token) == ("LIVE", lower, True)
    assert now.limit_set_digest == load_profiles()[lower].digest
    assert (row.from_profile, row.to_profile, row.permit, row.barred_until) == (profile, lower, now, None)
    assert get_barred_until(permit.account) is None
    assert Hold.objects.get().reason.startswith(f"demoted from {profile} to {lower}: ")
    assert Alert.objects.filter(code="demoted", severity="critical").count() == 1
    event = AuditEvent.objects.get(action="golive.demote")
    assert (event.payload["detail"]["from"], event.payload["detail"]["to"]) == (
        permit.limit_set_digest,
        now.limit_set_digest,
    )


@pytest.mark.django_db
def test_micro_goes_to_paper_for_fourteen_days_of_market_time():
    permit = make_live()
    lose(permit)
    clocks = get_clocks()
    (row,) = demote_losers(clocks=clocks)
    now = get_active_permit(permit.account)
    assert (now.kind, now.profile, row.to_profile) == ("PAPER", "MICRO", "")
    assert get_barred_until(permit.account) == clocks.market_at + timedelta(days=14)


@pytest.mark.django_db
def test_the_way_back_to_micro_is_barred_until_then():
    permit = make_live()
    lose(permit)
    demote()
    facts = read_facts(permit.account, "MICRO", get_programme_rules())
    found = judge_rung(facts, get_programme_rules())
    assert (found.is_met, found.code) == (False, "demoted")
    later = replace(facts, market_now=facts.market_now + timedelta(days=14))
    assert judge_rung(later, get_programme_rules()).is_met is True


@pytest.mark.django_db
def test_where_there_is_no_paper_micro_loses_its_permit(settings):
    settings.TRADING_ENVIRONMENT = "demo"
    account = open_account(name="demo-main", environment="demo", venues=["binanceusdm"])
    assign_strategy(account=account, strategy="trend", symbols=["SOLUSDT"])
    limit_set = ensure_limit_set(profile="MICRO", actor="system:test")
    ensure_scopes_for_account(account=account, actor="system:test")
    desk.make_permit(account, limit_set, get_clocks())
    lose(become(account, kind="LIVE", environment="demo"))
    (row,) = demote()
    assert (row.permit, get_active_permit(account)) == (None, None)
    assert get_barred_until(account) is not None


@pytest.mark.django_db(transaction=True)
def test_what_was_raised_for_a_while_ends_with_the_rung():
    permit = make_live(profile="SMALL")
    row = grant_override(
        permit.account, limit="max_positions", value=Decimal(4), max_uses=None, window=timedelta(minutes=10)
    )
    lose(permit)
    assert len(demote()) == 1
    row.refresh_from_db()
    assert row.ended_by == "guard:demotion"


@pytest.mark.django_db
def test_one_loss_takes_one_rung_however_often_it_is_looked_at():
    permit = make_live(profile="LARGE")
    cause = lose(permit)
    assert len(demote()) == 1
    assert demote() == []
    assert demote_account(account=permit.account, cause=cause, clocks=get_clocks()) is None
    assert get_active_permit(permit.account).profile == "MEDIUM"
    row = Demotion.objects.get()
    for attempt in (row.delete, lambda: Demotion.objects.update(to_profile="LARGE")):
        with pytest.raises(DatabaseError), transaction.atomic():
            attempt()


@pytest.mark.django_db
def test_paper_other_environments_and_other_causes_are_left_alone(settings):
    permit = make_live()
    restrict(permit.account, "daily_loss", timezone.now())
    assert demote() == []
    become(permit.account, kind="PAPER")
    lose(permit)
    assert demote() == []
    become(permit.account, kind="LIVE")
    settings.TRADING_ENVIRONMENT = "demo"
    assert demote() == []


@pytest.mark.django_db
def test_the_lower_rung_never_allows_more_than_now(tmp_path):
    permit = make_live(profile="SMALL")
    config = configuring.load(tmp_path, ("max_position_size_usd: 100", "max_position_size_usd: 40"))
    assert config.max_position_notional == 40
    lose(permit)
    demote()
    limits = get_limits(get_active_permit(permit.account).limit_set_digest)
    assert (limits.profile, limits.max_position_notional) == ("MICRO", Decimal(40))


@pytest.mark.django_db
def test_what_was_activated_and_observed_is_over():
    account = desk.make_desk()
    activation = go_live(account)
    lose(activation.permit)
    demote()
    activation = Activation.objects.get(pk=activation.pk)
    assert (activation.state, activation.ended_at is not None) == ("superseded", True)
    programme = Programme.objects.get(pk=activation.programme_id)
    assert programme.state == "rolled_back"
    assert AuditEvent.objects.filter(action="golive.programme_close").count() == 1


@pytest.mark.django_db
def test_only_a_promotion_ends_the_weekly_loss():
    permit = make_live(profile="SMALL")
    lose(permit)
    demote()
    apply_consequences(account=permit.account, clocks=get_clocks())
    assert Restriction.objects.filter(cause="weekly_loss", lifted_at__isnull=True).exists()
    assert release_weekly_loss(
        account=permit.account, because="promoted anew", actor="ann", clocks=get_clocks()
    )
    assert demote() == []


def test_the_guard_does_it():
    assert {"demotion", "uptime"} <= {duty.name for duty in guard.DUTIES}


@pytest.fixture
def live(venue_desk):  # noqa: F811
    """The desk of the simulated venue, live at SMALL, with an entry that rests and a position of 300 USDT."""
    account = venue_desk.place.account
    limit_set = ensure_limit_set(profile="SMALL", actor="system:test")
    venue_desk.permit = become(account, kind="LIVE", profile="SMALL", limit_set_digest=limit_set.digest)
    assign_strategy(account=account, strategy="trend", symbols=["ETHUSDT", "SOLUSDT"])
    return venue_desk


def test_end_to_end_entries_go_oversize_reduces_and_nothing_is_closed(live):
    account = live.place.account
    mark = live.refresh_price()
    held = live.approve(quantity=(Decimal(200) / mark).quantize(Decimal("0.001")))
    dispatch.send_intent(intent_id=held.pk)
    before = live.held()
    order = rest(live, "SOLUSDT")
    assert (before > 0, Order.objects.get(pk=order.pk).state) == (True, "open")
    desk.sample_equity(place_of(account), 1100, market_at=get_clocks().market_at)
    lose(live.permit)
    (row,) = demote()
    assert row.to_profile == "MICRO"
    assert cancel_resting_entries(account=account) == 1
    assert Order.objects.get(pk=order.pk).state == "cancelled"
    apply_consequences(account=account, clocks=get_clocks())
    # 200 USDT was inside SMALL and is outside MICRO.
    over = Restriction.objects.get(cause="oversize", lifted_at__isnull=True)
    assert over.scope == "symbol:ETHUSDT"
    assert (live.held(), live.resting()) == (before, ["STOP_MARKET", "TAKE_PROFIT_MARKET"])
    assert VenueAccount.objects.get(pk=live.place.pk).positions.get(symbol="ETHUSDT").quantity == before
