"""What the selectors count and find."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from tests.factories import (
    AssignmentFactory,
    IntentFactory,
    OrderFactory,
    PositionFactory,
    TradingStateFactory,
    VenueAccountFactory,
    VenueSettingFactory,
)
from trading import models, selectors
from trading.core.values import OrderPurpose

MIDNIGHT = datetime(2025, 6, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NUMBERS = count(1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def place() -> models.VenueAccount:
    return VenueAccountFactory()


def fill(place: models.VenueAccount, order: models.Order | None, at: datetime) -> models.Fill:
    return models.Fill.objects.create(
        venue_account=place,
        order=order,
        symbol="ETHUSDT",
        venue_fill_id=str(next(NUMBERS)),
        venue_order_id="" if order is None else order.venue_order_id,
        side="buy",
        quantity="0.01",
        price=2500,
        fee=0,
        fee_asset="USDT",
        realised_pnl=0,
        is_maker=False,
        market_at=at,
    )


def enter(place: models.VenueAccount, *times: datetime, purpose: str = "entry") -> models.Order:
    """An order with one fill at each of the times."""
    is_entry = purpose == OrderPurpose.ENTRY
    order = OrderFactory(intent=IntentFactory(venue_account=place), purpose=purpose, reduce_only=not is_entry)
    for at in times:
        fill(place, order, at)
    return order


def entries(place: models.VenueAccount) -> int:
    return selectors.count_entries_since(place.account, MIDNIGHT)


def test_every_entry_order_counts_once_whether_it_opens_a_position_or_joins_one(
    place: models.VenueAccount,
) -> None:
    enter(place, MIDNIGHT, MIDNIGHT + MINUTE, MIDNIGHT + MINUTE)
    enter(place, MIDNIGHT + 2 * MINUTE)
    enter(place, MIDNIGHT + 3 * MINUTE)
    assert entries(place) == 3


def test_an_entry_first_filled_yesterday_is_not_one_of_today(place: models.VenueAccount) -> None:
    enter(place, MIDNIGHT + MINUTE, MIDNIGHT - MINUTE)
    assert entries(place) == 0


def test_what_has_no_fill_reduces_is_not_ours_or_another_accounts_is_not_counted(
    place: models.VenueAccount,
) -> None:
    enter(place)
    for purpose in ("exit", "stop_loss", "take_profit", "safety_close"):
        enter(place, MIDNIGHT + MINUTE, purpose=purpose)
    fill(place, None, MIDNIGHT + MINUTE)
    stranger = models.Account.objects.create(name="another", environment="paper")
    enter(
        models.VenueAccount.objects.create(account=stranger, venue=place.venue, priority=0), MIDNIGHT + MINUTE
    )
    assert entries(place) == 0


def test_entries_of_every_venue_of_the_account_count(place: models.VenueAccount) -> None:
    other = models.VenueAccount.objects.create(account=place.account, venue="bybit", priority=1)
    enter(place, MIDNIGHT)
    enter(other, MIDNIGHT)
    assert entries(place) == 2


def test_what_is_held_is_watched_when_nobody_is_assigned_to_it_any_more(place: models.VenueAccount) -> None:
    AssignmentFactory(account=place.account, symbols=["BTCUSDT"])
    AssignmentFactory(account=place.account, strategy="off", symbols=["SOLUSDT"], enabled=False)
    PositionFactory(venue_account=place, symbol="XRPUSDT")
    PositionFactory(venue_account=place, symbol="LINKUSDT", quantity=0, entry_price=None)
    assert selectors.list_symbols(place.account) == ("BTCUSDT", "XRPUSDT")


def test_a_place_is_halted_by_any_of_its_scopes_and_without_a_row(place: models.VenueAccount) -> None:
    assert selectors.is_halted(place)
    scopes = ("all", f"venue:{place.venue}", f"account:{place.account.name}")
    for scope in scopes:
        TradingStateFactory(scope=scope)
    TradingStateFactory(scope="venue:elsewhere", state="HALTED")
    assert not selectors.is_halted(place)
    for scope in scopes:
        models.TradingState.objects.filter(scope=scope).update(state="HALTED")
        assert selectors.is_halted(place)
        models.TradingState.objects.filter(scope=scope).update(state="REDUCING")
        assert not selectors.is_halted(place)


def test_unprepared_is_what_is_assigned_and_flat_and_not_read_back_lately(
    place: models.VenueAccount,
) -> None:
    AssignmentFactory(account=place.account, symbols=["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"])
    since = selectors.get_clocks().wall_at - MINUTE
    VenueSettingFactory(venue_account=place, symbol="BTCUSDT")
    VenueSettingFactory(venue_account=place, symbol="ETHUSDT", read_at=since - MINUTE)
    PositionFactory(venue_account=place, symbol="XRPUSDT")
    assert selectors.list_unprepared_symbols(place, since) == ["ETHUSDT", "SOLUSDT"]
