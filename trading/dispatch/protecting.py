"""Stops and targets at the venue: every position has its stop there, or is closed (RISK.md 3.5).

The stop closes without a quantity at the mark price; the target is reduce-only for what is held.
Both count as protection only after they were read back. Without a position neither may rest.
"""

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models.functions import Coalesce, Now

from controlplane.alerts.services import raise_alert, resolve_alert
from trading import locks, models, selectors, trips
from trading.core.ids import make_client_order_id
from trading.core.values import OrderPurpose, OrderReport, OrderState, OrderType, Side
from trading.dispatch.messages import count_message
from trading.dispatch.orders import add_order, list_unsettled, open_venue
from trading.dispatch.sending import send
from trading.dispatch.settling import cancel, look_up, settle
from trading.locks import symbol_key
from trading.venues.gateway import Gateway

logger = logging.getLogger(__name__)

PROTECTIONS = (OrderPurpose.STOP_LOSS, OrderPurpose.TAKE_PROFIT)
# How long the stop's outcome is looked up before the position is closed instead.
UNPROTECTED_FOR = timedelta(seconds=5)
# How long after a refusal the same is not asked again.
BACK_OFF = timedelta(seconds=5)
ATTEMPTS = 2
WOULD_TRIGGER = "-2021"
ANOTHER_CLOSING_STOP = "-4130"
ALERT = "position_unprotected"
ZERO = Decimal(0)


class Protection(StrEnum):
    """What became of one protection: read back, refused for good, or not known yet."""

    VERIFIED = "verified"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A protection as it should rest at the venue."""

    purpose: OrderPurpose
    order_type: OrderType
    trigger_price: Decimal
    quantity: Decimal | None

    @property
    def closes(self) -> bool:
        return self.quantity is None

    def is_met_by(self, order: models.Order | OrderReport) -> bool:
        same_size = order.close_position if self.closes else order.quantity == self.quantity
        return (
            order.state == OrderState.OPEN and order.trigger_price == self.trigger_price and bool(same_size)
        )


def protect_position(*, position_id: int) -> models.Position:
    """Bring the position's protection into order now; raises VenueError and LockBusy."""
    position = models.Position.objects.select_related("venue_account__account").get(pk=position_id)
    restore_symbol(venue_account=position.venue_account, symbol=position.symbol)
    position.refresh_from_db()
    return position


def restore_symbol(*, venue_account: models.VenueAccount, symbol: str) -> None:
    """Protect what is held on the symbol, clear what rests without a position."""
    with locks.hold(symbol_key(venue_account, symbol), patience=locks.PATIENCE):
        restore(venue_account, symbol, open_venue(venue_account))


def has_orphan_protections(*, venue_account: models.VenueAccount, symbol: str) -> bool:
    """Whether a stop or target of a closed position is not known to be gone (there is no OCO)."""
    position = selectors.get_position(venue_account, symbol)
    if position is not None and position.quantity != 0:
        return False
    return bool(list_unsettled(venue_account, symbol, *PROTECTIONS))


def close_position(
    *, position_id: int, purpose: OrderPurpose = OrderPurpose.SAFETY_CLOSE, leave: Decimal = ZERO
) -> models.Position:
    """Close at market, reduce-only, whatever the states and the permit say, and clear the protections.

    `purpose` is SAFETY_CLOSE or FLATTEN. `leave` (base units, >= 0) is what is to stay: no more than
    the rest is closed, and what stays keeps its protections, the target made to fit. Raises VenueError
    and LockBusy; how much is left is told by the position.
    """
    position = models.Position.objects.select_related("venue_account__account").get(pk=position_id)
    place, gateway = position.venue_account, open_venue(position.venue_account)
    with locks.hold(symbol_key(place, position.symbol), patience=locks.PATIENCE):
        _close(position, gateway, purpose, leave)
        position.refresh_from_db()
        if position.quantity == 0:
            _clear(place, position.symbol, gateway)
            _resolve(place, position.symbol)
        elif leave:
            restore(place, position.symbol, gateway)
    return position


def verify_stop(*, position_id: int, reports: Sequence[OrderReport]) -> bool:
    """Whether the venue shows our stop for the position among `reports`, or says so when asked for it.

    Where it does not, the book forgets the stop that it knew, and the position counts as unprotected
    from now at the latest. Raises VenueError and LockBusy.
    """
    position = models.Position.objects.select_related("venue_account__account").get(pk=position_id)
    place, symbol = position.venue_account, position.symbol
    resting = {report.client_order_id for report in reports if not report.state.is_final}
    if any(_is_stop_there(order, resting) for order in list_unsettled(place, symbol, OrderPurpose.STOP_LOSS)):
        return True
    with locks.hold(symbol_key(place, symbol), patience=locks.PATIENCE):
        stops = list_unsettled(place, symbol, OrderPurpose.STOP_LOSS)
        for order in stops:
            settle(order, open_venue(place))
        # A look-up that found nothing has taken the stamp of having been read back.
        if any(_is_stop_there(order, {order.client_order_id}) for order in stops):
            return True
        trips.mark_unprotected(position)
    return False


def _is_stop_there(order: models.Order, resting: Set[str]) -> bool:
    is_verified = order.state == OrderState.OPEN and order.verified_at is not None
    return is_verified and order.client_order_id in resting


def look_again(order: models.Order, gateway: Gateway) -> None:
    """Where the venue refused to reduce, another order may have done it already: look them all up."""
    if order.state == OrderState.REJECTED and order.purpose != OrderPurpose.ENTRY:
        for other in list_unsettled(order.venue_account, order.symbol):
            settle(other, gateway)


def settle_leftovers(venue_account: models.VenueAccount, symbol: str, gateway: Gateway) -> None:
    """Settle what a dead worker left on the symbol: nobody else sends while its lock is ours."""
    rows = selectors.list_unsettled_orders(venue_account, symbol)
    leftovers = list(rows.filter(state__in=[OrderState.SENDING, OrderState.UNKNOWN]))
    for order in leftovers:
        settle(order, gateway)
    if leftovers:
        restore(venue_account, symbol, gateway)


def restore(venue_account: models.VenueAccount, symbol: str, gateway: Gateway) -> None:
    """As restore_symbol, for whoever holds the symbol's lock; raises VenueError."""
    position = _get_held(venue_account, symbol)
    if position is not None and _protect(position, gateway):
        position = _get_held(venue_account, symbol)
    if position is None:
        _clear(venue_account, symbol, gateway)
        _resolve(venue_account, symbol)


def _get_held(venue_account: models.VenueAccount, symbol: str) -> models.Position | None:
    rows = selectors.list_open_positions(venue_account).filter(symbol=symbol)
    return rows.select_related("entry_intent", "trade", "venue_account__account").first()


def _protect(position: models.Position, gateway: Gateway) -> bool:
    """Place and verify both protections or close; True if fills may have been booked on the way."""
    intent = position.entry_intent
    if intent is None or intent.stop_loss is None:
        # Not opened by us: a person's to judge, reported by every reconciliation (RISK.md 3.16).
        return False
    stop = Plan(
        purpose=OrderPurpose.STOP_LOSS,
        order_type=OrderType.STOP_MARKET,
        trigger_price=intent.stop_loss,
        quantity=None,
    )
    found = _ensure(position, stop, gateway)
    if found is Protection.VERIFIED:
        _note_stop(position)
    elif found is Protection.REFUSED or _is_overdue(position):
        _close(position, gateway, OrderPurpose.SAFETY_CLOSE)
        return True
    if intent.take_profit is not None:
        _ensure_target(position, intent.take_profit, gateway)
    return True


def _ensure_target(position: models.Position, price: Decimal, gateway: Gateway) -> None:
    """The target for what is held now; one that would trigger at once is taken at market."""
    position.refresh_from_db()
    if position.quantity == 0:
        return
    plan = Plan(
        purpose=OrderPurpose.TAKE_PROFIT,
        order_type=OrderType.TAKE_PROFIT_MARKET,
        trigger_price=price,
        quantity=abs(position.quantity),
    )
    if _is_backing_off(position, plan.purpose):
        return
    found = _ensure(position, plan, gateway)
    if found is Protection.VERIFIED:
        _stamp(position, "target_verified_at")
    elif found is Protection.REFUSED and _last_code(position, plan.purpose) == WOULD_TRIGGER:
        _close(position, gateway, OrderPurpose.SAFETY_CLOSE)


def _ensure(position: models.Position, plan: Plan, gateway: Gateway) -> Protection:
    """Find the planned order resting, else place it; one that does not fit is cancelled first."""
    resting = _find_resting(position, plan, gateway)
    if resting is not None:
        return _verify(resting, plan, gateway)
    for _ in range(ATTEMPTS):
        position.refresh_from_db()
        if position.quantity == 0:
            break
        order = _add(position, plan.purpose, _columns(plan))
        outcome = send(order, gateway)
        if order.state == OrderState.OPEN:
            return _verify(order, plan, gateway)
        if outcome.code == ANOTHER_CLOSING_STOP:
            _cancel_closing_stops(position, gateway)
        elif order.state == OrderState.REJECTED:
            look_again(order, gateway)
            return Protection.REFUSED
    return Protection.UNCERTAIN


def _find_resting(position: models.Position, plan: Plan, gateway: Gateway) -> models.Order | None:
    """The order that meets the plan; others of its purpose are looked up and cancelled."""
    found = None
    for order in list_unsettled(position.venue_account, position.symbol, plan.purpose):
        if order.verified_at is None:
            settle(order, gateway)
        if found is None and plan.is_met_by(order):
            found = order
        elif order.state == OrderState.OPEN:
            cancel(order, gateway)
    return found


def _columns(plan: Plan) -> dict[str, Any]:
    return {
        "order_type": plan.order_type,
        "trigger_price": plan.trigger_price,
        "quantity": plan.quantity,
        "reduce_only": not plan.closes,
        "close_position": plan.closes,
    }


def _add(position: models.Position, purpose: OrderPurpose, columns: dict[str, Any]) -> models.Order:
    """Commit the next attempt of an order that removes risk from the position."""
    intent = position.entry_intent
    if intent is None:
        raise RuntimeError(f"{position} was not opened by us and cannot be worked on")
    attempt = models.Order.objects.filter(intent=intent, purpose=purpose).count() + 1
    held = Side.BUY if position.quantity > 0 else Side.SELL
    order = add_order(
        intent=intent,
        venue_account=position.venue_account,
        symbol=position.symbol,
        client_order_id=make_client_order_id(intent_id=intent.id, purpose=purpose, attempt=attempt),
        purpose=purpose,
        side=held.opposite,
        **columns,
    )
    order.venue_account = position.venue_account
    return order


def _verify(order: models.Order, plan: Plan, gateway: Gateway) -> Protection:
    """Read the order back from the venue, once in its life."""
    if order.verified_at is not None:
        return Protection.VERIFIED
    report = look_up(order, gateway)
    if report is None or not report.is_conditional or not plan.is_met_by(report):
        return Protection.UNCERTAIN
    models.Order.objects.filter(pk=order.pk).update(verified_at=Now())
    return Protection.VERIFIED


def _cancel_closing_stops(position: models.Position, gateway: Gateway) -> None:
    """The venue has one closing stop already and it is not the one we want: make room."""
    for report in gateway.fetch_open_orders():
        if report.symbol == position.symbol and report.close_position and report.is_conditional:
            count_message(position.venue_account_id)
            gateway.cancel_order(report.symbol, report.client_order_id, conditional=True)


def _note_stop(position: models.Position) -> None:
    held = Side.BUY if position.quantity > 0 else Side.SELL
    with transaction.atomic():
        if trips.mark_protected(position, held):
            _stamp(position, "stop_verified_at")
            _resolve(position.venue_account, position.symbol)


def _stamp(position: models.Position, column: str) -> None:
    """Note on the round trip when its protection was first read back."""
    if position.trade_id is not None:
        models.Trade.objects.filter(pk=position.trade_id).update(**{column: Coalesce(column, Now())})


def _is_overdue(position: models.Position) -> bool:
    position.refresh_from_db()
    since = position.unprotected_since
    return since is not None and selectors.get_clocks().wall_at - since > UNPROTECTED_FOR


def _last(position: models.Position, purpose: OrderPurpose) -> models.Order | None:
    rows = models.Order.objects.filter(intent=position.entry_intent_id, purpose=purpose)
    return rows.order_by("-id").first()


def _last_code(position: models.Position, purpose: OrderPurpose) -> str:
    order = _last(position, purpose)
    return "" if order is None else order.venue_code


def _is_backing_off(position: models.Position, purpose: OrderPurpose) -> bool:
    order = _last(position, purpose)
    if order is None or order.state != OrderState.REJECTED:
        return False
    return selectors.get_clocks().wall_at - order.updated_at < BACK_OFF


def _close(position: models.Position, gateway: Gateway, purpose: OrderPurpose, leave: Decimal = ZERO) -> None:
    """Cancel the rest of the entry and close at market in slices; what stays open is told to people."""
    place, symbol = position.venue_account, position.symbol
    for order in list_unsettled(place, symbol, OrderPurpose.ENTRY):
        cancel(order, gateway)
    for order in list_unsettled(place, symbol, purpose):
        settle(order, gateway)
    if leave and list_unsettled(place, symbol, purpose):
        # What may still fill has closed a part already: to send the rest of it again could close too much.
        return
    position.refresh_from_db()
    if abs(position.quantity) > leave and position.entry_intent is not None:
        if not _is_backing_off(position, purpose):
            for quantity in _slice(position, leave):
                columns = {"order_type": OrderType.MARKET, "quantity": quantity, "reduce_only": True}
                order = _add(position, purpose, columns)
                send(order, gateway)
                look_again(order, gateway)
        position.refresh_from_db()
    if position.quantity != 0 and leave == 0:
        trips.mark_unprotected(position)
        _tell(position)


def _slice(position: models.Position, leave: Decimal = ZERO) -> list[Decimal]:
    """The held quantity above `leave` in parts that the venue takes as market orders."""
    left = abs(position.quantity) - leave
    instrument = selectors.get_instrument(position.venue_account.venue, position.symbol)
    largest = left if instrument is None else instrument.max_market_quantity
    parts = []
    while left > 0:
        parts.append(min(left, largest))
        left -= parts[-1]
    return parts


def _clear(venue_account: models.VenueAccount, symbol: str, gateway: Gateway) -> None:
    """Cancel the siblings of a closed position; each stays unsettled until the venue says it is gone."""
    for order in list_unsettled(venue_account, symbol, *PROTECTIONS):
        cancel(order, gateway)


def _tell(position: models.Position) -> None:
    scope = f"{position.venue_account}:{position.symbol}"
    logger.error("%s: neither protected nor closed", scope)
    with transaction.atomic():
        raise_alert(
            code=ALERT,
            severity="critical",
            scope=scope,
            text=f"{scope}: a position of {position.quantity} has no stop at the venue and could"
            " not be closed; it is tried again every second",
            wall_at=selectors.get_clocks().wall_at,
        )


def _resolve(venue_account: models.VenueAccount, symbol: str) -> None:
    resolve_alert(code=ALERT, scope=f"{venue_account}:{symbol}", wall_at=selectors.get_clocks().wall_at)
