"""The preview judges the account's recorded decisions again, under the limits that are asked for."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from golive.impact import preview_impact
from golive.proposal import find_difference
from risk.judgement import judge_intent
from risk.limits import load_profiles, with_digest
from tests import factories
from tests.risk import desk as rows
from trading import models as facts
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db
WINDOW = timedelta(hours=1)
MICRO = load_profiles()["MICRO"]


@pytest.fixture
def account(db):
    return rows.make_desk()


def decide(account: facts.Account, pnl: str | None = None, **changes) -> facts.OrderIntent:
    intent = rows.ask(account, **changes)
    judge_intent(intent_id=intent.pk, clocks=get_clocks())
    facts.OrderIntent.objects.filter(pk=intent.pk).update(state="done")
    if pnl is not None:
        factories.TradeFactory(
            venue_account=rows.place_of(account),
            symbol="SOLUSDT",
            entry_intent=intent,
            net_pnl=Decimal(pnl),
        )
    return intent


def preview(account: facts.Account, limits=MICRO, newest: int = 100):
    now = get_clocks().wall_at
    return preview_impact(account, limits, now=now, window=WINDOW, newest=newest)


def test_the_same_limits_change_nothing(account):
    decide(account, pnl="3")
    decide(account, quantity=Decimal(5))
    found = preview(account)
    assert (found["judged"], found["same"], found["unreadable"]) == (2, 2, 0)
    assert (found["allowed_then"], found["allowed_now"]) == (1, 1)
    assert found["denied_then"] == found["denied_now"]
    assert found["recorded_pnl"] == Decimal(3)
    assert found["lost"] == 0
    assert found["peak_exposure_then"] == found["peak_exposure_now"] == Decimal(90)


def test_tighter_limits_deny_and_what_they_brought_is_lost(account):
    decide(account, pnl="3")
    decide(account, pnl="-5", quantity=Decimal("0.2"))
    found = preview(account, with_digest(replace(MICRO, max_position_notional=Decimal(50))))
    assert (found["allowed_then"], found["allowed_now"], found["newly_denied"]) == (2, 1, 1)
    assert found["denied_now"]
    assert (found["recorded_pnl"], found["lost"]) == (Decimal(-2), Decimal(3))
    assert (found["peak_exposure_then"], found["peak_exposure_now"]) == (Decimal(90), Decimal(30))


def test_a_higher_rung_lets_more_through_and_shows_the_peak(account):
    decide(account, quantity=Decimal(1))
    found = preview(account, load_profiles()["SMALL"])
    assert (found["allowed_then"], found["allowed_now"], found["newly_allowed"]) == (0, 1, 1)
    assert (found["peak_exposure_then"], found["peak_exposure_now"]) == (Decimal(0), Decimal(150))


def test_only_the_accounts_newest_are_judged(account):
    for _ in range(3):
        decide(account)
    other = facts.Account.objects.create(name="other", environment="paper")
    assert preview(account, newest=2)["judged"] == 2
    nothing = preview(other)
    assert (nothing["judged"], nothing["since"], nothing["peak_exposure_now"]) == (0, None, 0)


def test_the_digest_names_the_figures(account):
    decide(account)
    first = preview(account)
    assert first["digest"] == preview(account)["digest"]
    decide(account)
    assert preview(account)["digest"] != first["digest"]


def test_the_first_difference_is_named_with_its_code():
    asked = {"base": 1, "config": 2, "direction": "neutral"}
    assert find_difference(asked, asked) == ("", "")
    assert find_difference(asked, asked | {"config": 3}) == ("config", "config_changed")
    assert find_difference(asked, asked | {"config": 3, "base": 0}) == ("base", "base_changed")
    assert find_difference(asked, asked | {"direction": "increase"}) == ("direction", "subject_changed")
    assert find_difference(asked, asked | {"new": 1}) == ("new", "subject_changed")
