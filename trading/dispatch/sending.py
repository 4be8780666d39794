"""One request for one committed order: send, classify, record; unknown is looked up."""

import logging
from collections.abc import Callable

from django.db import transaction

from controlplane.alerts.services import raise_alert
from trading import models, selectors
from trading.core.lifecycle import state_after_sending
from trading.core.values import (
    OrderRequest,
    OrderState,
    OrderType,
    Outcome,
    OutcomeKind,
    Side,
    TimeInForce,
)
from trading.dispatch.messages import count_message
from trading.dispatch.orders import book_report, move_order
from trading.dispatch.settling import settle
from trading.venues.gateway import FENCED, Fence, Gateway, VenueError

logger = logging.getLogger(__name__)

MAX_SENDS = 2


def send(
    order: models.Order,
    gateway: Gateway,
    *,
    fence: Fence | None = None,
    may_leave: Callable[[], bool] | None = None,
    is_counted: bool = False,
) -> Outcome:
    """Send a SENDING order and record what the answer means; the symbol's lock is held.

    `fence` is held while each request starts; `may_leave` is only asked right before. Both over the
    connection that holds our lock: where they say no, nothing has left and the order is NEVER_PLACED.
    `is_counted` says that the first request is among the messages already.
    """
    outcome = Outcome(kind=OutcomeKind.RETRY_SAFE, code=FENCED, text="not permitted any more when it left")
    for attempt in range(MAX_SENDS):
        if may_leave is not None and not may_leave():
            break
        if attempt > 0 or not is_counted:
            count_message(order.venue_account_id)
        outcome = gateway.submit_order(to_request(order), fence=fence)
        if outcome.kind is not OutcomeKind.RETRY_SAFE or outcome.code == FENCED:
            break
    _record(order, outcome, gateway)
    return outcome


def to_request(order: models.Order) -> OrderRequest:
    return OrderRequest(
        venue=order.venue_account.venue,
        account=order.venue_account.account.name,
        symbol=order.symbol,
        client_order_id=order.client_order_id,
        side=Side(order.side),
        order_type=OrderType(order.order_type),
        quantity=order.quantity,
        price=order.price,
        trigger_price=order.trigger_price,
        time_in_force=TimeInForce(order.time_in_force),
        reduce_only=order.reduce_only,
        close_position=order.close_position,
    )


def _record(order: models.Order, outcome: Outcome, gateway: Gateway) -> None:
    if outcome.kind is OutcomeKind.ACCEPTED and outcome.report is not None:
        book_report(order, outcome.report, gateway)
        return
    move_order(order, state_after_sending(outcome), venue_code=outcome.code[:20], detail=outcome.text)
    if outcome.kind is OutcomeKind.STOP_TRADING:
        _tell_stopped(order, outcome)
    if order.state == OrderState.UNKNOWN:
        try:
            settle(order, gateway)
        except VenueError as error:
            logger.warning("%s: the outcome stays unknown: %s", order.client_order_id, error)


def _tell_stopped(order: models.Order, outcome: Outcome) -> None:
    """The key or the account is unusable: a person must act."""
    place = order.venue_account
    with transaction.atomic():
        raise_alert(
            code="venue_refuses_account",
            severity="critical",
            scope=str(place),
            text=f"{place}: the venue refuses the account or its key: {outcome.code} {outcome.text}",
            wall_at=selectors.get_clocks().wall_at,
        )
