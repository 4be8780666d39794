"""The guard's duties of consequences: every account of the desk by itself, and no other desk's."""

import pytest

from controlplane import guard
from risk.judgement import judge_intent
from risk.reducing.restrictions import list_restrictions
from tests.risk.desk import D, ask, make_desk, place_of, sample_equity
from trading.models import Account, ReconciliationRun
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db


def reach_limit(account: Account) -> None:
    sample_equity(place_of(account), D("1080"), market_at=get_clocks().market_at)


def restricted() -> set[str]:
    return set(list_restrictions().filter(cause="daily_loss").values_list("scope", flat=True))


def test_each_account_is_followed_by_itself_and_a_broken_one_holds_up_no_other() -> None:
    first, broken, last = (make_desk(name=name) for name in ("a", "b", "c"))
    for account in (first, last):
        reach_limit(account)
    # What no reconciliation writes: a bug somewhere.
    ReconciliationRun.objects.filter(venue_account__account=broken).update(is_clean=False, differences=[17])
    with pytest.raises(AttributeError):
        guard.apply_consequences()
    assert restricted() == {"account:a", "account:c"}


def test_accounts_of_another_environment_are_left_alone() -> None:
    account = make_desk(name="a")
    reach_limit(account)
    Account.objects.update(environment="demo")
    guard.apply_consequences()
    guard.cancel_resting_entries()
    assert restricted() == set()


def test_both_are_duties_and_an_entry_is_denied_from_then_on() -> None:
    assert {"consequences", "entries"} <= {duty.name for duty in guard.DUTIES}
    account = make_desk(name="a")
    reach_limit(account)
    guard.apply_consequences()
    guard.cancel_resting_entries()
    decision = judge_intent(intent_id=ask(account).pk, clocks=get_clocks())
    assert decision.reason == "STATE_REDUCING"
