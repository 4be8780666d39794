"""Fills become positions and round trips, once each."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from tests.factories import IntentFactory, OrderFactory, PriceFactory, VenueAccountFactory
from trading import ledger, models
from trading.core.values import BalanceReport, FillReport, IncomeReport, Side

AT = datetime(2025, 6, 10, 12, tzinfo=UTC)
NUMBERS = count(1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def place() -> models.VenueAccount:
    return VenueAccountFactory()


def fill(side: str, quantity: str, price: str, **changes: Any) -> FillReport:
    number = next(NUMBERS)
    facts: dict[str, Any] = {
        "symbol": "ETHUSDT",
        "venue_fill_id": str(number),
        "venue_order_id": "entry",
        "side": Side(side),
        "quantity": Decimal(quantity),
        "price": Decimal(price),
        "fee": Decimal("0.05"),
        "fee_asset": "USDT",
        "realised_pnl": Decimal(0),
        "is_maker": False,
        "at": AT + timedelta(seconds=number),
    }
    return FillReport(**(facts | changes))


def add_order(place: models.VenueAccount, venue_order_id: str = "entry", **changes: Any) -> models.Order:
    intent = changes.pop("intent", None) or IntentFactory(venue_account=place)
    facts: dict[str, Any] = {
        "intent": intent,
        "venue_order_id": venue_order_id,
        "state": "open",
        "filled_quantity": Decimal(0),
        "average_price": None,
    }
    return OrderFactory(**(facts | changes))


def test_a_round_trip_in_parts(place: models.VenueAccount) -> None:
    entry = add_order(place)
    stop = add_order(
        place,
        "algo",
        intent=entry.intent,
        purpose="stop_loss",
        side="sell",
        order_type="stop_market",
        quantity=None,
        close_position=True,
        executed_by="became",
    )
    first, second = fill("buy", "0.01", "2500"), fill("buy", "0.03", "2504")
    assert len(ledger.apply_fills(venue_account=place, fills=[second, first])) == 2
    position = models.Position.objects.get()
    assert (position.quantity, position.entry_price, position.strategy) == (
        Decimal("0.04"), 2503, "trend",
    )  # fmt: skip
    assert position.opened_at == first.at
    assert position.unprotected_since is not None
    entry.refresh_from_db()
    assert (entry.filled_quantity, entry.average_price) == (Decimal("0.04"), 2503)
    sold = [
        fill("sell", "0.03", "2450", venue_order_id="became", realised_pnl=Decimal("-1.59")),
        fill("sell", "0.01", "2446", venue_order_id="became", realised_pnl=Decimal("-0.57")),
    ]
    ledger.apply_fills(venue_account=place, fills=sold)
    trade = models.Trade.objects.get()
    assert (trade.entry_price, trade.exit_price, trade.entry_quantity, trade.max_quantity) == (
        2503, 2449, Decimal("0.04"), Decimal("0.04"),
    )  # fmt: skip
    assert (trade.gross_pnl, trade.fees, trade.net_pnl) == (
        Decimal("-2.16"), Decimal("0.2"), Decimal("-2.36"),
    )  # fmt: skip
    assert (trade.closed_by, trade.closed_at) == ("stop_loss", sold[1].at)
    assert trade.risk_amount == Decimal("0.04") * (
        73 + Decimal("0.0005") * (2503 + 2430) + Decimal("0.002") * 2430
    )
    stop.refresh_from_db()
    assert (stop.filled_quantity, stop.average_price) == (Decimal("0.04"), 2449)
    position.refresh_from_db()
    assert (position.quantity, position.entry_price, position.trade, position.strategy) == (0, None, None, "")
    assert position.unprotected_since is None


def test_the_same_fill_again_changes_nothing(place: models.VenueAccount) -> None:
    add_order(place)
    once = fill("buy", "0.01", "2500")
    assert len(ledger.apply_fills(venue_account=place, fills=[once, once])) == 1
    before = models.Position.objects.get()
    assert ledger.apply_fills(venue_account=place, fills=[once]) == []
    assert models.Position.objects.get().version == before.version
    assert models.Fill.objects.count() == 1


def test_a_fill_of_no_order_of_ours_is_booked_only_by_adoption(place: models.VenueAccount) -> None:
    foreign = fill("buy", "0.01", "2500", venue_order_id="unheard of")
    assert ledger.apply_fills(venue_account=place, fills=[foreign]) == []
    (row,) = ledger.apply_fills(venue_account=place, fills=[foreign], adopt=True)
    assert row.order is None
    position = models.Position.objects.get()
    assert (position.strategy, position.entry_intent) == ("foreign", None)


def test_a_conditional_orders_own_number_names_no_fill(place: models.VenueAccount) -> None:
    add_order(
        place, "77", purpose="stop_loss", side="sell", order_type="stop_market", quantity=None,
        close_position=True,
    )  # fmt: skip
    foreign = fill("buy", "0.01", "2500", venue_order_id="77")
    (row,) = ledger.apply_fills(venue_account=place, fills=[foreign], adopt=True)
    assert row.order is None


def test_a_fill_that_flips_ends_one_trip_and_starts_another(place: models.VenueAccount) -> None:
    add_order(place)
    ledger.apply_fills(venue_account=place, fills=[fill("buy", "0.02", "2500")])
    flip = fill(
        "sell", "0.05", "2510", venue_order_id="hand", realised_pnl=Decimal("0.2"), fee=Decimal("0.1")
    )
    ledger.apply_fills(venue_account=place, fills=[flip], adopt=True)
    ours, foreign = models.Trade.objects.order_by("id")
    assert (ours.net_pnl, ours.fees, ours.closed_by) == (Decimal("0.11"), Decimal("0.09"), "foreign")
    assert (foreign.strategy, foreign.side, foreign.entry_quantity, foreign.fees) == (
        "foreign", "sell", Decimal("0.03"), Decimal("0.06"),
    )  # fmt: skip
    position = models.Position.objects.get()
    assert (position.quantity, position.entry_price, position.trade) == (Decimal("-0.03"), 2510, foreign)


def test_a_fee_in_another_asset_stays_on_the_fill(place: models.VenueAccount) -> None:
    add_order(place)
    ledger.apply_fills(venue_account=place, fills=[fill("buy", "0.01", "2500", fee_asset="BNB")])
    assert models.Trade.objects.get().fees == 0
    assert models.Fill.objects.get().fee_asset == "BNB"


def income(kind: str, amount: str, at: datetime, symbol: str = "ETHUSDT") -> IncomeReport:
    return IncomeReport(
        venue_income_id=str(next(NUMBERS)), kind=kind, symbol=symbol, amount=Decimal(amount), at=at
    )


def test_funding_goes_to_the_trip_that_was_open_then_even_when_told_late(place: models.VenueAccount) -> None:
    add_order(place)
    opened, closed = fill("buy", "0.01", "2500"), fill("sell", "0.01", "2500", venue_order_id="entry")
    ledger.apply_fills(venue_account=place, fills=[opened])
    rows = [income("FUNDING_FEE", "-0.02", opened.at), income("FUNDING_FEE", "-1", opened.at - timedelta(1))]
    assert len(ledger.record_income(venue_account=place, rows=rows)) == 2
    assert ledger.record_income(venue_account=place, rows=rows) == []
    assert models.Trade.objects.get().funding == Decimal("-0.02")
    ledger.apply_fills(venue_account=place, fills=[closed])
    ledger.record_income(venue_account=place, rows=[income("FUNDING_FEE", "0.05", closed.at)])
    trade = models.Trade.objects.get()
    assert (trade.funding, trade.net_pnl) == (Decimal("0.03"), Decimal("-0.07"))
    assert models.Income.objects.count() == 3


BALANCE = BalanceReport(
    wallet=Decimal(1100),
    equity=Decimal(1101),
    available=Decimal(1000),
    initial_margin=Decimal(50),
    maintenance_margin=Decimal(1),
)


def test_equity_is_sampled_beside_our_own_figure(place: models.VenueAccount) -> None:
    add_order(place)
    ledger.apply_fills(venue_account=place, fills=[fill("buy", "0.02", "2500")])
    sample = ledger.record_equity(venue_account=place, balance=BALANCE, market_at=AT)
    assert (sample.own_equity, sample.net_flow) == (None, 0)
    PriceFactory(venue=place.venue, mark=Decimal(2550))
    sample = ledger.record_equity(venue_account=place, balance=BALANCE, market_at=AT)
    assert sample.own_equity == 1101


def test_transfers_between_samples_are_the_net_flow(place: models.VenueAccount) -> None:
    ledger.record_equity(venue_account=place, balance=BALANCE, market_at=AT)
    rows = [
        income("TRANSFER", "50", AT, ""),
        income("TRANSFER", "-20", AT, ""),
        income("COMMISSION", "-1", AT),
    ]
    ledger.record_income(venue_account=place, rows=rows)
    assert ledger.record_equity(venue_account=place, balance=BALANCE, market_at=AT).net_flow == 30
    assert ledger.record_equity(venue_account=place, balance=BALANCE, market_at=AT).net_flow == 0
    total, newest = ledger.sum_income(place)
    assert total == 29
    assert ledger.sum_income(place, after_id=newest) == (0, newest)
    ledger.record_income(venue_account=place, rows=[income("COMMISSION", "-2", AT)])
    assert ledger.sum_income(place, after_id=newest)[0] == -2


def test_a_fill_finds_the_order_that_a_conditional_became(place: models.VenueAccount) -> None:
    order = add_order(place)
    models.Order.objects.filter(pk=order.pk).update(
        order_type="stop_market", venue_order_id="700", executed_by="800"
    )
    by_its_own_number = fill("buy", "0.01", "2500", venue_order_id="700")
    assert ledger.apply_fills(venue_account=place, fills=[by_its_own_number]) == []
    (booked,) = ledger.apply_fills(
        venue_account=place, fills=[fill("buy", "0.01", "2500", venue_order_id="800")]
    )
    assert booked.order_id == order.pk
