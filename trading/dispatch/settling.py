"""Looking orders up at the venue by our own id until they are settled; cancelling them."""

from decimal import Decimal

from django.db.models import F

from trading import locks, models, selectors
from trading.core.lifecycle import is_never_placed
from trading.core.values import OrderReport, OrderState, Outcome, OutcomeKind
from trading.dispatch.messages import count_message
from trading.dispatch.orders import book_report, is_conditional, move_order, open_venue
from trading.locks import symbol_key
from trading.venues.gateway import Gateway, VenueError

NOT_FOUND = "not found at the venue"


def settle_order(*, order_id: int) -> models.Order:
    """Look the order up and book what the venue says; raises VenueError and LockBusy."""
    order = _get(order_id)
    with locks.hold(symbol_key(order.venue_account, order.symbol), patience=locks.PATIENCE):
        order.refresh_from_db()
        if not OrderState(order.state).is_final:
            settle(order, open_venue(order.venue_account))
    return order


def _get(order_id: int) -> models.Order:
    return models.Order.objects.select_related("venue_account__account").get(pk=order_id)


def settle(order: models.Order, gateway: Gateway) -> None:
    """As settle_order, for whoever holds the symbol's lock."""
    report = look_up(order, gateway)
    if report is not None:
        book_report(order, report, gateway)
    elif not OrderState(order.state).is_final:
        _note_absence(order, gateway)


def look_up(order: models.Order, gateway: Gateway) -> OrderReport | None:
    """Ask both endpoints, the order's own kind first; None if neither knows our id."""
    first = is_conditional(order)
    report = gateway.fetch_order(order.symbol, order.client_order_id, first)
    if report is None:
        report = gateway.fetch_order(order.symbol, order.client_order_id, not first)
    return report


def _note_absence(order: models.Order, gateway: Gateway) -> None:
    """Count a look-up that found nothing; after enough of them the order was never placed."""
    # What the venue does not know protects nothing, whatever was read back of it before.
    models.Order.objects.filter(pk=order.pk).update(
        lookups=F("lookups") + 1, verified_at=None, version=F("version") + 1
    )
    order.refresh_from_db()
    wall_at = selectors.get_clocks().wall_at
    if not is_never_placed(
        sent_at=order.sent_at, wall_at=wall_at, lookups=order.lookups, is_position_unchanged=True
    ):
        move_order(order, OrderState.UNKNOWN, detail=NOT_FOUND)
        return
    if is_never_placed(
        sent_at=order.sent_at,
        wall_at=wall_at,
        lookups=order.lookups,
        is_position_unchanged=_is_position_unchanged(order, gateway),
    ):
        # What once rested was placed; that it is gone without a trace is its end all the same.
        gone = OrderState.EXPIRED if order.state == OrderState.OPEN else OrderState.NEVER_PLACED
        move_order(order, gone, detail=f"{NOT_FOUND}, {order.lookups} look-ups")


def _is_position_unchanged(order: models.Order, gateway: Gateway) -> bool | None:
    """Whether the venue holds what we have booked; None if it cannot say."""
    try:
        held = {report.symbol: report.quantity for report in gateway.fetch_positions()}
    except VenueError:
        return None
    ours = selectors.get_position(order.venue_account, order.symbol)
    return held.get(order.symbol, 0) == (0 if ours is None else ours.quantity)


def cancel_order(*, order_id: int) -> models.Order:
    """Cancel our order at the venue and book what became of it; raises VenueError and LockBusy.

    Where the venue does not confirm, the order stays unsettled and recovery goes on asking.
    """
    order = _get(order_id)
    with locks.hold(symbol_key(order.venue_account, order.symbol), patience=locks.PATIENCE):
        order.refresh_from_db()
        cancel(order, open_venue(order.venue_account))
    return order


def cancel(order: models.Order, gateway: Gateway) -> None:
    """As cancel_order, for whoever holds the symbol's lock; nothing is done to a settled order."""
    if OrderState(order.state).is_final:
        return
    count_message(order.venue_account_id)
    outcome = gateway.cancel_order(order.symbol, order.client_order_id, is_conditional(order))
    if outcome.kind is OutcomeKind.ACCEPTED and outcome.report is not None:
        book_report(order, outcome.report, gateway)
    if not OrderState(order.state).is_final:
        settle(order, gateway)


def cancel_stray(order: models.Order, report: OrderReport, gateway: Gateway) -> None:
    """Cancel at the venue an order that is over in our book, and keep its ids so that its fills are ours."""
    is_same_kind = report.is_conditional == is_conditional(order)
    column = "venue_order_id" if is_same_kind else "executed_by"
    models.Order.objects.filter(pk=order.pk).update(
        version=F("version") + 1, **{column: report.venue_order_id}
    )
    count_message(order.venue_account_id)
    gateway.cancel_order(report.symbol, report.client_order_id, report.is_conditional)


def read_open_orders(
    *, venue_account: models.VenueAccount, symbol: str | None = None
) -> tuple[OrderReport, ...]:
    """Every order resting at the venue, ours or not, regular and conditional; raises VenueError."""
    return open_venue(venue_account).fetch_open_orders(symbol)


def read_positions(*, venue_account: models.VenueAccount) -> dict[str, Decimal]:
    """What the venue says is held, ours or not: signed base units by symbol, none flat; raises VenueError."""
    reports = open_venue(venue_account).fetch_positions()
    return {report.symbol: report.quantity for report in reports if report.quantity}


def cancel_foreign_order(*, venue_account: models.VenueAccount, report: OrderReport) -> Outcome:
    """Cancel an order at the venue that is not ours, for a stop (RISK.md 3.16); raises VenueError."""
    gateway = open_venue(venue_account)
    count_message(venue_account.pk)
    return gateway.cancel_order(report.symbol, report.client_order_id, report.is_conditional)
