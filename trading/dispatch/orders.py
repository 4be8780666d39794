"""Orders move by compare-and-swap, each move with its event; a report moves one with its fills."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from trading import ledger, models, selectors
from trading.core.lifecycle import can_move, state_after_report
from trading.core.values import FillReport, IntentState, OrderReport, OrderState, OrderType
from trading.metrics import ORDERS_TOTAL
from trading.venues import open_gateway
from trading.venues.gateway import Gateway, VenueError

MAX_DETAIL = 300


def open_venue(venue_account: models.VenueAccount) -> Gateway:
    """The gateway of a venue account; raises VenueError."""
    account = venue_account.account
    return open_gateway(venue=venue_account.venue, account=account.name, environment=account.environment)


def is_conditional(order: models.Order) -> bool:
    return OrderType(order.order_type).is_conditional


def list_unsettled(venue_account: models.VenueAccount, symbol: str, *purposes: str) -> list[models.Order]:
    rows = selectors.list_unsettled_orders(venue_account, symbol)
    return list(rows.filter(purpose__in=purposes) if purposes else rows)


def add_order(**columns: Any) -> models.Order:
    """Commit an order as SENDING with its first event, before its request leaves."""
    market_at = selectors.get_clocks().market_at
    with transaction.atomic(durable=True):
        order = models.Order.objects.create(market_at=market_at, state=OrderState.SENDING, **columns)
        models.OrderEvent.objects.create(order=order, state=OrderState.SENDING, market_at=market_at)
    order.refresh_from_db()
    return order


def move_order(
    order: models.Order,
    state: OrderState,
    *,
    venue_code: str = "",
    detail: str = "",
    columns: Mapping[str, Any] | None = None,
) -> bool:
    """Move the order if it still is where we saw it; False where another worker moved it first.

    The order is read again in both cases.
    """
    if not can_move(OrderState(order.state), state):
        return False
    changes = dict(columns or {}) | ({"venue_code": venue_code} if venue_code else {})
    with transaction.atomic():
        moved = models.Order.objects.filter(pk=order.pk, state=order.state, version=order.version).update(
            state=state, version=F("version") + 1, updated_at=Now(), **changes
        )
        if moved == 1:
            _note(order, state, venue_code, detail)
    order.refresh_from_db()
    return moved == 1


def _note(order: models.Order, state: OrderState, venue_code: str, detail: str) -> None:
    models.OrderEvent.objects.create(
        order=order,
        state=state,
        venue_code=venue_code,
        detail=detail[:MAX_DETAIL],
        market_at=selectors.get_clocks().market_at,
    )
    if not state.is_final:
        return
    models.OrderIntent.objects.filter(
        pk=order.intent_id, purpose=order.purpose, state=IntentState.DISPATCHED
    ).update(state=IntentState.DONE, version=F("version") + 1, updated_at=Now())
    place = order.venue_account
    count = ORDERS_TOTAL.labels(account=place.account.name, venue=place.venue, outcome=state.value)
    transaction.on_commit(count.inc)


def book_report(order: models.Order, report: OrderReport, gateway: Gateway) -> None:
    """Take over what the venue says of the order: its ids, its fills and, with all of them, its state."""
    fills = _fetch_fills(order, report, gateway)
    with transaction.atomic():
        models.Order.objects.filter(pk=order.pk).update(lookups=0, **_venue_ids(order, report))
        ledger.apply_fills(venue_account=order.venue_account, fills=fills)
        order.refresh_from_db()
        state = state_after_report(OrderState(order.state), report, order.filled_quantity)
        if state is not None:
            move_order(order, state)


def _venue_ids(order: models.Order, report: OrderReport) -> dict[str, str]:
    """Ids as columns; a conditional order found among the ordinary ones has been triggered."""
    if report.is_conditional == is_conditional(order):
        return {"venue_order_id": report.venue_order_id, "executed_by": report.executed_by or ""}
    return {"executed_by": report.venue_order_id}


def _fetch_fills(order: models.Order, report: OrderReport, gateway: Gateway) -> tuple[FillReport, ...]:
    """The symbol's fills from the last booked one on; none if the venue cannot say (asked again later)."""
    if report.filled_quantity <= order.filled_quantity:
        return ()
    # This order's own newest: a later fill of another order may have been booked before its first.
    newest = models.Fill.objects.filter(order=order).order_by("-id").first()
    try:
        if newest is not None:
            return gateway.fetch_fills(order.symbol, from_id=newest.venue_fill_id)
        return gateway.fetch_fills(order.symbol, since=order.market_at - ledger.FILL_OVERLAP)
    except VenueError:
        return ()
