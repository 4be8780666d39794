"""The duty of consequences on a desk of rows: each event of RISK.md part 2, and what lifts it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from controlplane.alerts.models import Alert
from controlplane.approvals.core import Actor, ActorKind, Role, VoteDecision
from controlplane.approvals.voting import vote_on_request
from controlplane.audit.models import AuditEvent
from risk import models
from risk.core.consequences import RELEASE
from risk.judgement import judge_intent
from risk.limits import load_profiles
from risk.reducing import releases
from risk.reducing.consequences import apply_consequences
from risk.reducing.freshness import Freshness
from risk.reducing.restrictions import NotByOnePerson, acknowledge_restriction, list_restrictions
from risk.registration import store_limit_set
from tests import factories
from tests.approvals.conftest import choose_mode, code_of
from tests.risk.desk import SYMBOLS, ask, hold, make_desk, place_of, sample_equity, set_price
from trading.core.values import Clocks
from trading.models import (
    Account,
    EquitySample,
    Income,
    MarketPrice,
    OrderIntent,
    Permit,
    Position,
    ReconciliationRun,
    TradingState,
)
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
D = Decimal
SCOPE, SYMBOL = "account:main", "symbol:SOLUSDT"
OPERATOR = Actor(name="ann", kind=ActorKind.PERSON, roles=frozenset({Role.OPERATOR}))
WHY = "the losses were looked at"


@pytest.fixture
def account():
    return make_desk()


class Run:
    """The duty, with the clocks moved ahead as a test says."""

    def __init__(self, account: Any) -> None:
        self.account, self.freshness = account, Freshness()
        self.ahead = timedelta(0)

    def __call__(self, ahead: timedelta = timedelta(0)) -> None:
        self.ahead += ahead
        apply_consequences(account=self.account, clocks=self.clocks(), freshness=self.freshness)

    def clocks(self) -> Clocks:
        now = get_clocks()
        return Clocks(wall_at=now.wall_at + self.ahead, market_at=now.market_at + self.ahead)


@pytest.fixture
def run(account):
    return Run(account)


def standing(scope: str = SCOPE) -> set[str]:
    return set(list_restrictions(scope).values_list("cause", flat=True))


def state(scope: str = SCOPE) -> str:
    return TradingState.objects.get(scope=scope).state


def lose(account, equity: Any, *, at: Any = None) -> None:
    sample_equity(place_of(account), equity, market_at=at or get_clocks().market_at)


def reach_daily_limit(account) -> None:
    """From 1100 to 1094.5: 0.5 %, the limit of MICRO."""
    lose(account, "1094.5")


def test_a_desk_in_order_is_not_restricted_and_nothing_is_written(account, run):
    hold(account, quantity=D("0.3"))
    run()
    run()
    assert standing() | standing(SYMBOL) == set()
    assert not AuditEvent.objects.filter(action="risk.restrict").exists()


def test_the_daily_limit_restricts_and_lets_what_was_approved_lapse(account, run):
    intent = ask(account)
    assert judge_intent(intent_id=intent.pk, clocks=get_clocks()).allowed
    reach_daily_limit(account)
    run()

    assert standing() == {"daily_loss"}
    assert state() == "REDUCING"
    assert "lost 0.50 %" in TradingState.objects.get(scope=SCOPE).reason
    assert OrderIntent.objects.get(pk=intent.pk).state == "lapsed"
    row = list_restrictions(SCOPE).get()
    assert row.needs_acknowledgement
    assert row.evidence[RELEASE] == "person"
    assert AuditEvent.objects.get(action="risk.restrict").actor == "consequences"
    assert Alert.objects.get(code="reducing_daily_loss").resolved_at is None
    run()
    assert AuditEvent.objects.filter(action="risk.restrict").count() == 1


def test_a_loss_just_below_the_limit_does_not(account, run):
    lose(account, "1094.51")
    run()
    assert standing() == set()


def recover(account, run, *, days: int, equity: str = "1094.5") -> None:
    """Another day, and everything fresh again at the equity that is left."""
    run.ahead += timedelta(days=days)
    freshen(account, run, equity=equity)


def read_balance(account, clocks: Clocks, *, equity: Any = 1100, maintenance: Any = 0, age: int = 0) -> None:
    EquitySample.objects.create(
        venue_account=place_of(account),
        wallet=D(equity),
        equity=D(equity),
        available=D(equity),
        initial_margin=0,
        maintenance_margin=D(maintenance),
        market_at=clocks.market_at,
        at=clocks.wall_at - timedelta(seconds=age),
    )


def settle_yesterday(account, run) -> None:
    """A sample a day and an hour before, so that the last 24 h lost nothing."""
    at = run.clocks().market_at + timedelta(days=2) - timedelta(hours=25)
    lose(account, "1094.5", at=at)


def test_it_takes_the_next_day_a_smaller_loss_and_a_persons_word(account, run):
    reach_daily_limit(account)
    run()
    row = list_restrictions(SCOPE).get()
    settle_yesterday(account, run)

    recover(account, run, days=2)
    run()
    assert standing() == {"daily_loss"}

    acknowledge_restriction(restriction_id=row.pk, reason=WHY, actor=OPERATOR)
    run()
    assert standing() == set()
    assert state() == "ACTIVE"
    assert Alert.objects.get(code="reducing_daily_loss").resolved_at is not None


def test_an_acknowledgement_on_the_same_day_lifts_nothing(account, run):
    reach_daily_limit(account)
    run()
    acknowledge_restriction(restriction_id=list_restrictions(SCOPE).get().pk, reason=WHY, actor=OPERATOR)
    lose(account, "1100")
    run()
    assert standing() == {"daily_loss"}


def test_another_day_is_not_enough_while_24_hours_still_lose(account, run):
    reach_daily_limit(account)
    run()
    acknowledge_restriction(restriction_id=list_restrictions(SCOPE).get().pk, reason=WHY, actor=OPERATOR)
    # The day begins at 1094.5, but 24 h before there were 1100.
    tomorrow = (get_clocks().market_at + timedelta(days=1)).replace(hour=0, minute=0, second=1)
    lose(account, "1094.5", at=tomorrow - timedelta(seconds=2))
    clocks = Clocks(wall_at=get_clocks().wall_at, market_at=tomorrow)
    read_balance(account, clocks, equity="1094.5")
    apply_consequences(account=account, clocks=clocks, freshness=Freshness())
    assert standing() == {"daily_loss"}


def test_an_old_balance_lifts_nothing(account, run):
    reach_daily_limit(account)
    run()
    acknowledge_restriction(restriction_id=list_restrictions(SCOPE).get().pk, reason=WHY, actor=OPERATOR)
    settle_yesterday(account, run)
    run.ahead += timedelta(days=2)
    read_balance(account, run.clocks(), equity="1094.5", age=61)
    run()
    assert "daily_loss" in standing()
    read_balance(account, run.clocks(), equity="1094.5")
    run()
    assert "daily_loss" not in standing()


@pytest.fixture
def people(db):
    choose_mode()
    factories.UserFactory(username="ann", roles=(Role.OPERATOR,))
    approver = factories.UserFactory(username="bob", roles=(Role.APPROVER,))
    factories.SecondFactorFactory(user=approver)
    return approver


def lose_twice(account, run) -> models.Restriction:
    """One daily loss that was lifted in order, and a second one two days later."""
    reach_daily_limit(account)
    run()
    first = list_restrictions(SCOPE).get()
    acknowledge_restriction(restriction_id=first.pk, reason=WHY, actor=OPERATOR)
    settle_yesterday(account, run)
    recover(account, run, days=2)
    run()
    assert standing() == set()
    recover(account, run, days=0, equity="1080")
    run()
    return list_restrictions(SCOPE).get(cause="daily_loss")


def test_the_second_loss_within_a_week_takes_the_quorum(account, run, people):
    row = lose_twice(account, run)
    assert row.evidence[RELEASE] == "quorum"
    with pytest.raises(NotByOnePerson):
        acknowledge_restriction(restriction_id=row.pk, reason=WHY, actor=OPERATOR)
    assert AuditEvent.objects.filter(action="risk.acknowledge.denied").count() == 1

    asked = releases.request_release(restriction_id=row.pk, reason=WHY, actor=OPERATOR)
    with pytest.raises(releases.ReleaseAsked):
        releases.request_release(restriction_id=row.pk, reason=WHY, actor=OPERATOR)
    row.refresh_from_db()
    assert row.acknowledged_at is None
    vote_on_request(
        request_id=asked.pk,
        decision=VoteDecision.APPROVE,
        otp=code_of(people),
        reason=WHY,
        actor=Actor(name="bob", kind=ActorKind.PERSON, roles=frozenset({Role.APPROVER})),
    )
    row.refresh_from_db()
    assert row.acknowledged_by == "bob"
    assert AuditEvent.objects.filter(action="risk.acknowledge", actor="bob").count() == 1


def test_a_first_loss_is_not_released_by_a_request(account, run, people):
    reach_daily_limit(account)
    run()
    row = list_restrictions(SCOPE).get()
    with pytest.raises(releases.NotByQuorum):
        releases.request_release(restriction_id=row.pk, reason=WHY, actor=OPERATOR)


def test_a_second_loss_while_the_first_stands_voids_what_was_said_of_the_first(account, run):
    reach_daily_limit(account)
    run()
    row = list_restrictions(SCOPE).get()
    acknowledge_restriction(restriction_id=row.pk, reason=WHY, actor=OPERATOR)
    # The next day begins at 1094.5 and loses another percent of its own.
    next_day = (get_clocks().market_at + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    lose(account, "1094.5", at=next_day)
    recover(account, run, days=1, equity="1080")
    run()
    row.refresh_from_db()
    assert (row.acknowledged_at, row.acknowledged_by) == (None, "")
    assert row.evidence[RELEASE] == "quorum"
    assert row.lifted_at is None


def test_a_weekly_loss_ends_with_a_promotion_only(account, run):
    lose(account, "1078")
    run()
    assert standing() == {"daily_loss", "weekly_loss"}
    row = list_restrictions(SCOPE).get(cause="weekly_loss")
    with pytest.raises(NotByOnePerson):
        acknowledge_restriction(restriction_id=row.pk, reason=WHY, actor=OPERATOR)
    lose(account, "1100")
    run(timedelta(days=30))
    assert "weekly_loss" in standing()

    clocks = get_clocks()
    released = releases.release_weekly_loss(
        account=account, because="promoted again", actor="bob", clocks=clocks
    )
    assert released
    assert "weekly_loss" not in standing()
    assert not releases.release_weekly_loss(
        account=account, because="promoted again", actor="bob", clocks=clocks
    )


def hold_margin(account, maintenance: Any, run: Run) -> None:
    freshen(account, run, maintenance=maintenance)


def test_half_the_equity_as_maintenance_margin_reduces_until_a_minute_below(account, run):
    hold_margin(account, 550, run)
    run()
    assert standing() == {"maintenance_margin"}
    hold_margin(account, 100, run)
    run()
    for passed, maintenance, expected in ((50, 551, True), (5, 100, True), (59, 100, True), (2, 100, False)):
        run.ahead += timedelta(seconds=passed)
        hold_margin(account, maintenance, run)
        run()
        assert ("maintenance_margin" in standing()) is expected


def test_a_position_without_a_stop_reduces_its_symbol_until_a_clean_comparison(account, run):
    hold(account, unprotected_since=get_clocks().wall_at)
    run(timedelta(seconds=4))
    assert standing(SYMBOL) == set()
    run(timedelta(seconds=2))
    assert standing(SYMBOL) == {"unprotected"}
    assert state(SYMBOL) == "REDUCING"
    assert state() == "ACTIVE"

    Position.objects.update(unprotected_since=None)
    run()
    assert standing(SYMBOL) == {"unprotected"}
    compare(account, at=run.clocks().wall_at)
    run()
    assert standing(SYMBOL) == set()
    assert state(SYMBOL) == "ACTIVE"


def compare(account, *, at: Any, differences: Any = ()) -> None:
    ReconciliationRun.objects.create(
        venue_account=place_of(account),
        is_clean=not differences,
        differences=list(differences),
        market_at=at,
        started_at=at,
        finished_at=at,
    )


def difference(kind: str, symbol: str = "SOLUSDT") -> dict[str, str]:
    return {"kind": kind, "symbol": symbol, "ours": "0", "theirs": "1"}


@pytest.mark.parametrize(
    ("kind", "symbol", "scope", "cause"),
    [
        ("position", "SOLUSDT", SYMBOL, "mismatch"),
        ("foreign_position", "SOLUSDT", SYMBOL, "mismatch"),
        ("foreign_fill", "SOLUSDT", SYMBOL, "mismatch"),
        ("unprotected", "SOLUSDT", SYMBOL, "unprotected"),
        ("balance", "", SCOPE, "mismatch"),
    ],
)
def test_what_a_comparison_finds_reduces_until_the_next_clean_one(account, run, kind, symbol, scope, cause):
    compare(account, at=get_clocks().wall_at, differences=[difference(kind, symbol)])
    run()
    assert standing(scope) == {cause}
    run(timedelta(seconds=5))
    assert standing(scope) == {cause}
    compare(account, at=run.clocks().wall_at)
    run()
    assert standing(scope) == set()


def test_one_account_in_order_does_not_lift_what_another_has(account, run):
    other = make_desk(name="other")
    compare(account, at=get_clocks().wall_at, differences=[difference("position")])
    compare(other, at=get_clocks().wall_at, differences=[difference("position")])
    run()
    run_other = Run(other)
    run_other()
    compare(account, at=run.clocks().wall_at)
    run()
    assert standing(SYMBOL) == {"mismatch"}
    compare(other, at=run_other.clocks().wall_at)
    run_other()
    assert standing(SYMBOL) == set()


def lower_limits(account, notional: Any) -> None:
    limits = replace(load_profiles()["MICRO"], max_position_notional=D(notional), digest="9" * 64)
    store_limit_set(limits=limits, actor="system:test", reason="a demotion")
    Permit.objects.filter(account=account).update(limit_set_digest=limits.digest)


def test_a_position_that_lower_limits_do_not_allow_reduces_its_symbol_until_inside(account, run):
    hold(account, quantity=D("0.6"))
    run()
    assert standing(SYMBOL) == set()
    lower_limits(account, 50)
    run()
    assert standing(SYMBOL) == {"oversize"}
    set_price("SOLUSDT", 160, at=get_clocks().market_at)
    run()
    assert standing(SYMBOL) == {"oversize"}
    MarketPrice.objects.filter(symbol="SOLUSDT").delete()
    run()
    assert standing(SYMBOL) == {"oversize"}
    set_price("SOLUSDT", 150, at=get_clocks().market_at)
    Position.objects.update(quantity=D("0.3"))
    run()
    assert standing(SYMBOL) == set()
    assert not list_restrictions(SYMBOL).exists()


def test_a_price_that_rises_makes_nothing_oversize(account, run):
    hold(account, quantity=D("0.66"))
    set_price("SOLUSDT", 170, at=get_clocks().market_at)
    run()
    assert standing(SYMBOL) == set()


def stale_balance(now: Clocks) -> None:
    read_balance(Account.objects.get(), now, age=61)


def stale_book(now: Clocks) -> None:
    ReconciliationRun.objects.update(finished_at=now.wall_at - timedelta(seconds=61))


def stale_lease(now: Clocks) -> None:
    Permit.objects.update(lease_expires_at=now.wall_at)


def unread_price(now: Clocks) -> None:
    MarketPrice.objects.filter(symbol=SYMBOLS[0]).update(read_at=now.wall_at - timedelta(seconds=61))


def frozen_price(now: Clocks) -> None:
    MarketPrice.objects.filter(symbol=SYMBOLS[0]).update(at=now.market_at - timedelta(seconds=61))


def lost_price(now: Clocks) -> None:
    MarketPrice.objects.filter(symbol=SYMBOLS[0]).delete()


SPOILS = [stale_balance, stale_book, stale_lease, unread_price, frozen_price, lost_price]


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
def test_what_was_fresh_and_is_not_any_more_reduces_the_account(account, run, spoil):
    run()
    spoil(get_clocks())
    run()
    assert standing() == {"stale_data"}


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
def test_a_desk_that_starts_with_old_facts_is_not_restricted(account, run, spoil):
    spoil(get_clocks())
    run()
    run()
    assert standing() == set()


def test_it_is_lifted_when_all_was_fresh_for_a_minute(account, run):
    run()
    stale_book(get_clocks())
    run()
    for passed, expected in ((0, True), (59, True), (2, False)):
        run.ahead += timedelta(seconds=passed)
        freshen(account, run)
        run()
        assert ("stale_data" in standing()) is expected


def freshen(account, run: Run, **balance: Any) -> None:
    clocks = run.clocks()
    read_balance(account, clocks, **balance)
    compare(account, at=clocks.wall_at)
    MarketPrice.objects.update(read_at=clocks.wall_at, at=clocks.market_at)
    Permit.objects.update(lease_expires_at=clocks.wall_at + timedelta(seconds=30))


def test_a_lapse_in_between_begins_the_minute_anew(account, run):
    run()
    stale_book(get_clocks())
    run()
    freshen(account, run)
    run()
    run.ahead += timedelta(seconds=50)
    # The book is older than the limit by now, everything else is too.
    run(timedelta(seconds=20))
    freshen(account, run)
    run()
    run.ahead += timedelta(seconds=30)
    freshen(account, run)
    run()
    assert standing() == {"stale_data"}


def test_a_restriction_outlives_the_process_that_made_it(account, run):
    run()
    stale_book(get_clocks())
    run()
    Run(account)()
    assert standing() == {"stale_data"}


def test_an_account_without_a_permit_is_left_to_the_gate(account, run):
    reach_daily_limit(account)
    Permit.objects.update(active=False)
    run()
    assert standing() == set()


def test_what_came_from_outside_is_no_loss(account, run):
    place = place_of(account)
    Income.objects.create(
        venue_account=place,
        venue_income_id="1",
        kind="TRANSFER",
        amount=D(-100),
        market_at=get_clocks().market_at,
    )
    lose(account, 1000)
    run()
    assert standing() == set()


def test_the_cause_that_is_left_is_the_one_that_is_told(account, run):
    reach_daily_limit(account)
    run()
    run.ahead += timedelta(days=1)
    settle_yesterday(account, run)
    run.ahead += timedelta(days=1)
    hold_margin(account, 600, run)
    run()
    assert TradingState.objects.get(scope=SCOPE).source == "daily_loss"
    row = list_restrictions(SCOPE).get(cause="daily_loss")
    acknowledge_restriction(restriction_id=row.pk, reason=WHY, actor=OPERATOR)
    run()
    now = TradingState.objects.get(scope=SCOPE)
    assert (now.state, now.source) == ("REDUCING", "maintenance_margin")
    assert "maintenance margin 600.00" in now.reason
