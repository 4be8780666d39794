"""Fills folded into positions and round trips; income and equity as the venue states them.

The only writer of Fill, Position, Trade, Income, EquitySample and of what an order has filled.
Everything here is idempotent: a fill or an income row that is known already changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import F, Max, Sum
from django.db.models.functions import Now

from trading import models, selectors, trips
from trading.core import accounting
from trading.core.values import BalanceReport, FillReport, IncomeReport, OrderType

ZERO = Decimal(0)
# Conditional orders are numbered apart, so that their own id names no fill.
ORDINARY = (OrderType.MARKET, OrderType.LIMIT)
TRANSFER = "TRANSFER"
FUNDING = "FUNDING_FEE"
# How far before an order its fills are looked for: the venue's clock is not ours.
FILL_OVERLAP = timedelta(minutes=10)


@transaction.atomic
def apply_fills(
    *, venue_account: models.VenueAccount, fills: Sequence[FillReport], adopt: bool = False
) -> list[models.Fill]:
    """Book the fills that are new, in the venue's order; returns them.

    A fill of an order that is not ours is left for a reconciliation, which calls with `adopt`: while
    one of our own orders is still unknown the fill may turn out to be its.
    """
    if not fills:
        return []
    _lock(venue_account)
    booked = []
    for fill in _list_new(venue_account, fills):
        order = _find_order(venue_account, fill)
        if order is None and not adopt:
            continue
        booked.append(_book(venue_account, order, fill))
    return booked


def _lock(venue_account: models.VenueAccount) -> None:
    """One writer of the book of a venue account at a time; foreign keys to it stay free."""
    models.VenueAccount.objects.select_for_update(no_key=True).get(pk=venue_account.pk)


def _list_new(venue_account: models.VenueAccount, fills: Sequence[FillReport]) -> list[FillReport]:
    known = set(
        models.Fill.objects.filter(
            venue_account=venue_account,
            symbol__in={fill.symbol for fill in fills},
            venue_fill_id__in={fill.venue_fill_id for fill in fills},
        ).values_list("symbol", "venue_fill_id")
    )
    new = {
        (fill.symbol, fill.venue_fill_id): fill
        for fill in fills
        if (fill.symbol, fill.venue_fill_id) not in known
    }
    return sorted(new.values(), key=lambda fill: (fill.at, len(fill.venue_fill_id), fill.venue_fill_id))


def _find_order(venue_account: models.VenueAccount, fill: FillReport) -> models.Order | None:
    """Our order of the fill: by its own venue id, or by that of the order a conditional became."""
    rows = models.Order.objects.filter(venue_account=venue_account, symbol=fill.symbol)
    rows = rows.select_related("intent").order_by("id")
    # Two look-ups, each by its index.
    own = rows.filter(venue_order_id=fill.venue_order_id, order_type__in=ORDINARY).first()
    return own or rows.filter(executed_by=fill.venue_order_id).filter(executed_by__gt="").first()


def _book(venue_account: models.VenueAccount, order: models.Order | None, fill: FillReport) -> models.Fill:
    row = models.Fill.objects.create(
        venue_account=venue_account,
        order=order,
        symbol=fill.symbol,
        venue_fill_id=fill.venue_fill_id,
        venue_order_id=fill.venue_order_id,
        side=fill.side,
        quantity=fill.quantity,
        price=fill.price,
        fee=fill.fee,
        fee_asset=fill.fee_asset,
        realised_pnl=fill.realised_pnl,
        is_maker=fill.is_maker,
        market_at=fill.at,
    )
    if order is not None:
        _add_to_order(order, fill)
    trips.fold_fill(venue_account=venue_account, order=order, fill=fill)
    return row


def _add_to_order(order: models.Order, fill: FillReport) -> None:
    filled, mean = order.filled_quantity, order.average_price or ZERO
    models.Order.objects.filter(pk=order.pk).update(
        filled_quantity=filled + fill.quantity,
        average_price=accounting.average(mean, filled, fill.price, fill.quantity),
        version=F("version") + 1,
        updated_at=Now(),
    )


@transaction.atomic
def record_income(*, venue_account: models.VenueAccount, rows: Sequence[IncomeReport]) -> list[models.Income]:
    """Store the rows that are new and give funding to the round trips it belongs to; returns them."""
    if not rows:
        return []
    _lock(venue_account)
    known = set(
        models.Income.objects.filter(
            venue_account=venue_account, venue_income_id__in={row.venue_income_id for row in rows}
        ).values_list("kind", "venue_income_id")
    )
    new = {
        (row.kind, row.venue_income_id): row for row in rows if (row.kind, row.venue_income_id) not in known
    }
    stored = models.Income.objects.bulk_create(
        [
            models.Income(
                venue_account=venue_account,
                venue_income_id=row.venue_income_id,
                kind=row.kind,
                symbol=row.symbol,
                amount=row.amount,
                market_at=row.at,
            )
            for row in new.values()
        ]
    )
    for row in new.values():
        if row.kind == FUNDING:
            trips.add_funding(venue_account=venue_account, symbol=row.symbol, amount=row.amount, at=row.at)
    return stored


@transaction.atomic
def record_equity(
    *, venue_account: models.VenueAccount, balance: BalanceReport, market_at: datetime
) -> models.EquitySample:
    """Store what the venue says the account is worth, beside our own mark-to-market.

    `net_flow` is what came from (or, negative, went) outside since the sample before (USDT).
    """
    before = selectors.latest_equity(venue_account)
    return models.EquitySample.objects.create(
        venue_account=venue_account,
        wallet=balance.wallet,
        equity=balance.equity,
        available=balance.available,
        initial_margin=balance.initial_margin,
        maintenance_margin=balance.maintenance_margin,
        own_equity=_mark_to_market(venue_account, balance.wallet),
        net_flow=ZERO if before is None else _flow_since(venue_account, before.at),
        market_at=market_at,
    )


def _mark_to_market(venue_account: models.VenueAccount, wallet: Decimal) -> Decimal | None:
    """Wallet + our own positions at the stored mark prices; None where a price is unknown."""
    positions = list(selectors.list_open_positions(venue_account))
    prices = selectors.list_prices(venue_account.venue, [position.symbol for position in positions])
    total = wallet
    for position in positions:
        if position.symbol not in prices or position.entry_price is None:
            return None
        total += accounting.unrealised_pnl(
            quantity=position.quantity,
            entry=position.entry_price,
            mark=prices[position.symbol].mark,
        )
    return total.quantize(accounting.PRICE_PLACES)


def _flow_since(venue_account: models.VenueAccount, at: datetime) -> Decimal:
    """Sum of the transfers that became known after a (database) time, USDT, signed."""
    rows = models.Income.objects.filter(venue_account=venue_account, kind=TRANSFER, at__gt=at)
    return rows.aggregate(total=Sum("amount"))["total"] or ZERO


def sum_income(
    venue_account: models.VenueAccount, *, after: datetime | None = None, after_id: int = 0
) -> tuple[Decimal, int]:
    """By how much the wallet changed (USDT), and the id of the last income row that is known.

    Of the rows behind `after_id` those that became known after a (database) time. The rows of a venue
    account are written by one at a time, so that none comes up later with a smaller id.
    """
    rows = models.Income.objects.filter(venue_account=venue_account, id__gt=after_id)
    newest = rows.aggregate(newest=Max("id"))["newest"] or after_id
    rows = rows.filter(id__lte=newest)
    if after is not None:
        rows = rows.filter(at__gt=after)
    return rows.aggregate(total=Sum("amount"))["total"] or ZERO, newest
