"""Claim, send, book, protect: the way of one approved intent to the venue."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Now

from controlplane.errors import NotFound
from trading import locks, models
from trading.core.values import IntentState, OrderPurpose
from trading.dispatch.claim import CLAIMED, claim_intent, hold_fence, may_still_leave
from trading.dispatch.orders import open_venue
from trading.dispatch.protecting import look_again, restore, settle_leftovers
from trading.dispatch.sending import send
from trading.locks import LockBusy, symbol_key
from trading.venues.gateway import VenueError

logger = logging.getLogger(__name__)

# A decision lives five seconds; waiting longer for the symbol would only find it stale.
PATIENCE = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the door stayed shut: a stable code and a line for people. Nothing was sent."""

    code: str
    text: str


def send_intent(*, intent_id: UUID, reference_price: Decimal | None = None) -> models.Order | Refusal:
    """Send an approved intent once, record the outcome, book its fills and protect the position.

    `reference_price` is the mark that the decision stood on; an entry is refused where mark has
    left the collar around it. Refused intents lapse: they are judged again, never just sent again.
    Raises NotFound; a venue's failure is an outcome of the order and is not raised.
    """
    intent = (
        models.OrderIntent.objects.select_related("account", "venue_account__account")
        .filter(pk=intent_id)
        .first()
    )
    if intent is None:
        raise NotFound(f"intent: no order intent {intent_id}", code="intent_not_found")
    try:
        # Missing keys or an unknown venue are found before anything is claimed.
        open_venue(intent.venue_account)
    except VenueError as error:
        return _refuse(intent, error.code.upper(), str(error))
    try:
        with locks.hold(symbol_key(intent.venue_account, intent.symbol), patience=PATIENCE):
            return _send_locked(intent, reference_price)
    except LockBusy as busy:
        return _refuse(intent, "SYMBOL_BUSY", str(busy))


def _send_locked(intent: models.OrderIntent, reference_price: Decimal | None) -> models.Order | Refusal:
    if OrderPurpose(intent.purpose).adds_risk:
        # A way out does not wait for look-ups: its decision would be stale behind a slow venue.
        _settle_leftovers(intent)
    claim = claim_intent(intent, reference_price)
    if claim.code != CLAIMED or claim.order_id is None:
        return _refuse(intent, claim.code, f"{intent}: the door stays shut: {claim.code}")
    order = models.Order.objects.select_related("venue_account__account").get(pk=claim.order_id)
    gateway = open_venue(order.venue_account)
    purpose = OrderPurpose(order.purpose)
    fence = partial(hold_fence, intent, order) if purpose.adds_risk else None
    may_leave = partial(may_still_leave, intent) if purpose is OrderPurpose.EXIT else None
    send(order, gateway, fence=fence, may_leave=may_leave, is_counted=True)
    try:
        look_again(order, gateway)
        restore(order.venue_account, order.symbol, gateway)
    except VenueError as error:
        # The order is recorded; what is missing at the venue is recovery's to bring, from now on.
        logger.warning("%s: protection is not settled: %s", order.client_order_id, error)
    order.refresh_from_db()
    return order


def _settle_leftovers(intent: models.OrderIntent) -> None:
    """Before anything new: what is still unknown then keeps the door shut for entries."""
    place = intent.venue_account
    try:
        settle_leftovers(place, intent.symbol, open_venue(place))
    except VenueError as error:
        logger.warning("%s %s: what was left is not settled: %s", place, intent.symbol, error)


def _refuse(intent: models.OrderIntent, code: str, text: str) -> Refusal:
    models.OrderIntent.objects.filter(pk=intent.pk, state=IntentState.APPROVED).update(
        state=IntentState.LAPSED, version=F("version") + 1, updated_at=Now()
    )
    logger.info("refused at the door: %s", text)
    return Refusal(code=code, text=text)
