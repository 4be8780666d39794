"""Drawdown of the day by RISK.md's index: what came from outside is neither won nor lost."""

from datetime import timedelta

import pytest

from risk.global_risk.drawdown import measure_drawdown
from risk.snapshot import FLOW_KINDS
from tests.risk import desk
from tests.risk.desk import D
from trading import models as facts
from trading.selectors import get_clocks

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> facts.Account:
    return desk.make_desk()


@pytest.fixture
def noon(account):
    """Noon of the next day, of which there is no sample yet."""
    return get_clocks().market_at.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)


def curve(account, noon, *steps):
    """From 1,000 at midnight: (minute, equity) is a sample, (minute, amount, kind) a flow.

    Returns the drawdown at the end.
    """
    place = desk.place_of(account)
    desk.sample_equity(place, 1000, market_at=noon - timedelta(hours=12))
    for minute, amount, *kind in steps:
        at = noon + timedelta(minutes=minute)
        if kind:
            facts.Income.objects.create(
                venue_account=place,
                venue_income_id=str(next(desk.NUMBERS)),
                kind=kind[0],
                amount=amount,
                market_at=at,
            )
        else:
            desk.sample_equity(place, amount, market_at=at)
    return float(measure_drawdown(place, noon + timedelta(hours=1)))


def test_drawdown_is_from_the_days_peak(account, noon):
    assert curve(account, noon, (0, 1000), (10, 1200), (20, 1100)) == pytest.approx(100 / 1200)


def test_a_gain_is_no_drawdown(account, noon):
    assert curve(account, noon, (0, 1000), (10, 1200)) == 0


def test_the_day_begins_with_what_there_was_at_midnight(account, noon):
    assert curve(account, noon, (0, 950)) == pytest.approx(0.05)
    # Yesterday's peak is yesterday's: the day after begins with the last sample of this one.
    assert measure_drawdown(desk.place_of(account), noon + timedelta(days=1)) == 0


@pytest.mark.parametrize("kind", FLOW_KINDS)
def test_a_deposit_is_no_gain_and_a_withdrawal_no_loss(account, noon, kind):
    assert curve(account, noon, (0, 1000), (5, 500, kind), (10, 1500), (20, 1500)) == 0
    assert curve(account, noon + timedelta(days=3), (0, 1000), (5, -400, kind), (10, 600)) == 0


def test_a_deposit_during_a_loss_neither_hides_nor_dilutes_what_was_lost_before(account, noon):
    # 1,000 -> 900 (10 % lost), then 900 come in: the index knows 10 %, a net of sums would say the same
    # of a peak of 1,000; then 1,800 -> 1,710 is 5 % more of what is there now.
    found = curve(account, noon, (10, 900), (15, 900, "TRANSFER"), (20, 1800), (30, 1710))
    assert found == pytest.approx(1 - 0.9 * 0.95)


def test_a_deposit_in_the_very_step_of_a_loss(account, noon):
    assert curve(account, noon, (5, 500, "TRANSFER"), (10, 1400)) == pytest.approx(0.1)


def test_a_withdrawal_during_a_loss_does_not_shrink_it(account, noon):
    # 1,000 -> 900, 450 go out, 450 -> 405 is another tenth.
    found = curve(account, noon, (10, 900), (15, -450, "TRANSFER"), (20, 450), (30, 405))
    assert found == pytest.approx(1 - 0.9 * 0.9)


def test_a_flow_before_the_days_first_sample_is_in_it_already(account, noon):
    assert curve(account, noon, (-13 * 60, 5000, "TRANSFER"), (0, 1000)) == 0


def test_two_flows_in_one_step_and_other_income_beside_them(account, noon):
    steps = [(5, 300, "TRANSFER"), (6, -100, "TRANSFER"), (7, -50, "FUNDING_FEE"), (10, 1150)]
    assert curve(account, noon, *steps) == pytest.approx(50 / 1000)


def test_samples_of_one_moment_follow_in_the_order_they_came(account, noon):
    assert curve(account, noon, (10, 1100), (10, 990), (10, 1045)) == pytest.approx(1 - 1045 / 1100)


def test_money_in_the_middle_of_a_comparison_is_neither_a_peak_nor_a_fall(account, noon):
    # The sample is dated by the start of its comparison, the flow by the venue a second later.
    steps = [(0, 1000), (10, 1500), (10.02, 500, "TRANSFER"), (20, 1500), (30, 1470)]
    assert curve(account, noon, *steps) == pytest.approx(0.02)
    later = noon + timedelta(days=3)
    assert curve(account, later, (10, 600), (10.02, -400, "TRANSFER"), (20, 600)) == 0


def test_a_reading_is_one_more_sample(account, noon):
    assert curve(account, noon, (0, 1000), (10, 1200)) == 0
    place, now = desk.place_of(account), noon + timedelta(hours=1)
    assert float(measure_drawdown(place, now, equity=D(1080))) == pytest.approx(0.1)
    assert measure_drawdown(place, now, equity=D(1300)) == 0
    # 300 went out and are not booked yet: 780 is then what 1,080 would have been.
    out = measure_drawdown(place, now, equity=D(780), net_flow=D(-300))
    assert float(out) == pytest.approx(0.1)
    assert measure_drawdown(place, now, equity=D(0)) == 1


def test_a_reading_speaks_for_itself_where_a_sample_had_no_equity(account, noon):
    assert curve(account, noon, (0, 1000), (10, 0)) == pytest.approx(1)
    place, now = desk.place_of(account), noon + timedelta(hours=1)
    assert float(measure_drawdown(place, now, equity=D(950))) == pytest.approx(0.05)


def test_a_reading_alone_begins_the_day():
    account = facts.Account.objects.create(name="new", environment="paper")
    place = facts.VenueAccount.objects.create(account=account, venue="binanceusdm", priority=0)
    assert measure_drawdown(place, get_clocks().market_at, equity=D(100)) == 0


def test_what_is_lost_entirely_is_all_of_it(account, noon):
    assert curve(account, noon, (10, 0)) == pytest.approx(1)


def test_after_equity_was_gone_there_is_no_index_and_none_begins_without_equity(account, noon):
    place = desk.place_of(account)
    desk.sample_equity(place, 0, market_at=noon)
    desk.sample_equity(place, 500, market_at=noon + timedelta(minutes=1))
    assert measure_drawdown(place, noon + timedelta(hours=1)) is None
    other = desk.make_desk(name="other")
    desk.sample_equity(desk.place_of(other), 0, market_at=noon)
    assert measure_drawdown(desk.place_of(other), noon + timedelta(days=1)) is None


def test_without_a_sample_there_is_no_drawdown():
    account = facts.Account.objects.create(name="new", environment="paper")
    place = facts.VenueAccount.objects.create(account=account, venue="binanceusdm", priority=0)
    assert measure_drawdown(place, get_clocks().market_at) is None
