"""Closing a position by hand: a reduce-only exit of the whole, judged by the gate, through the door.

It works while the desk only reduces and while it is halted. The web process asks and leaves the sending
to the guard or a worker; the command sends by itself, with Redis, workers and web down. What is held
only at the venue is not in the book, and is not closed here: a reconciliation books it first.
"""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

import risk.services
from controlplane.approvals.core import STOPPING_ROLES, Actor
from controlplane.approvals.eligibility import require_person
from controlplane.approvals.services import require_any_role
from controlplane.audit.services import audited_attempt, record
from controlplane.errors import DomainError, InvalidInput, NotFound
from controlplane.intake import hand_over
from controlplane.wire import money_text
from risk.models import Decision
from trading import models, selectors, services
from trading.core.values import IntentState, OrderPurpose, OrderState, OrderType, Side

ACTION = "desk.position_close"
# A venue takes market orders up to a size: so many of them in one go of the command.
MAX_SLICES = 20


class NothingHeld(NotFound):
    """Our book holds nothing there."""

    code = "nothing_held"


class VenueNeeded(InvalidInput):
    """The symbol is held at more than one venue."""

    code = "venue_needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What was asked and what became of it so far; `left` is what is still held (base units, signed)."""

    intent: models.OrderIntent
    decision: Decision
    order: models.Order | None
    left: Decimal
    refusal: str = ""

    @property
    def is_flat(self) -> bool:
        return self.left == 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing more becomes of it by itself."""
        if self.order is not None:
            return OrderState(self.order.state).is_final
        return self.intent.state in {IntentState.DENIED, IntentState.LAPSED, IntentState.DONE}


def find_position(*, account: str, symbol: str, venue: str | None = None) -> models.Position:
    """The open position of that name; raises NotFound, NothingHeld and VenueNeeded."""
    held = models.Position.objects.select_related("venue_account__account").exclude(quantity=0)
    held = held.filter(venue_account__account=selectors.get_account(account), symbol=symbol)
    rows = list(held.filter(venue_account__venue=venue) if venue else held)
    if not rows:
        raise NothingHeld(
            f"{account} holds no {symbol} by our book; what only the venue shows is booked by"
            f" `manage.py reconcile --account {account}` first"
        )
    if len(rows) > 1:
        names = ", ".join(row.venue_account.venue for row in rows)
        raise VenueNeeded(f"venue: {account} holds {symbol} at {names}; name one of them")
    return rows[0]


def request_close(*, position: models.Position, reason: str, actor: Actor) -> Closing:
    """Ask the gate, in one commit with the audit event; sends nothing.

    One market order as large as the venue takes. Asking again while the same one is under way gets
    that one. Raises NoPerson, NotDesignated and NothingHeld; a refusal is audited.
    """
    place = position.venue_account
    subject = f"{place} {position.symbol}"
    reason = reason.strip()
    with audited_attempt(
        action=ACTION,
        actor=actor.audit_name,
        subject_type="position",
        subject_id=subject,
        reason=reason,
    ):
        require_person(actor)
        require_any_role(actor, STOPPING_ROLES)
        if not reason:
            raise InvalidInput("reason: say why", code="reason_needed")
        with transaction.atomic():
            return _request(position, reason, actor, subject)


def _request(position: models.Position, reason: str, actor: Actor, subject: str) -> Closing:
    held = models.Position.objects.select_for_update(of=("self",)).get(pk=position.pk)
    if held.quantity == 0:
        raise NothingHeld(f"{subject}: nothing is held any more")
    asked = _find_under_way(held)
    if asked is not None:
        return get_closing(asked.pk)
    intent = _register(position, held)
    decision = risk.services.judge_intent(intent_id=intent.pk, clocks=selectors.get_clocks())
    intent.refresh_from_db()
    record(
        action=ACTION,
        actor=actor.audit_name,
        subject_type="position",
        subject_id=subject,
        reason=reason,
        detail={
            "intent_id": intent.pk,
            "quantity": intent.quantity,
            "held": held.quantity,
            "strategy": held.strategy,
            "decision": "allowed" if decision.allowed else decision.reason,
        },
        correlation_id=str(intent.pk),
    )
    return Closing(intent=intent, decision=decision, order=None, left=held.quantity)


def _find_under_way(position: models.Position) -> models.OrderIntent | None:
    """An exit by hand of this position, as it is now, that may still be sent or has not ended."""
    rows = list_closings().filter(venue_account_id=position.venue_account_id, symbol=position.symbol)
    last = rows.filter(client_ref__startswith=_name(position)).first()
    if last is None or last.state not in selectors.OPEN_INTENTS:
        return None
    is_late = last.valid_until is not None and last.valid_until < selectors.get_clocks().wall_at
    return None if last.state == IntentState.APPROVED and is_late else last


def _name(position: models.Position) -> str:
    """The version changes with every fill, so that what is left can be closed again."""
    return f"close-{position.pk}-{position.version}-"


def _register(position: models.Position, held: models.Position) -> models.OrderIntent:
    place = position.venue_account
    instrument = selectors.get_instrument(place.venue, held.symbol)
    size = abs(held.quantity)
    market_at = selectors.get_clocks().market_at
    number = models.OrderIntent.objects.filter(
        account=place.account, client_ref__startswith=_name(held)
    ).count()
    return services.register_intent(
        account=place.account,
        venue_account=place,
        client_ref=f"{_name(held)}{number + 1}",
        signal_at=market_at,
        market_at=market_at,
        strategy=held.strategy,
        symbol=held.symbol,
        side=Side.SELL if held.quantity > 0 else Side.BUY,
        order_type=OrderType.MARKET,
        purpose=OrderPurpose.EXIT,
        quantity=size if instrument is None else min(size, instrument.max_market_quantity),
        price=None,
        stop_loss=None,
        take_profit=None,
        reduce_only=True,
        source=selectors.OPERATOR,
    )


def queue_close(*, position: models.Position, reason: str, actor: Actor) -> Closing:
    """Ask, and leave the sending to the guard or a worker: whoever comes first sends it, once."""
    closing = request_close(position=position, reason=reason, actor=actor)
    if closing.intent.state == IntentState.APPROVED:
        hand_over(closing.intent)
    return closing


def close_now(*, position: models.Position, reason: str, actor: Actor) -> list[Closing]:
    """Ask and send, slice by slice, until flat or until one does not fill; the last one says how it is."""
    done: list[Closing] = []
    while len(done) < MAX_SLICES:
        asked = request_close(position=position, reason=reason, actor=actor)
        done.append(_send(asked))
        last = done[-1]
        if last.is_flat or last.order is None or last.order.filled_quantity == 0:
            break
    return done


def _send(asked: Closing) -> Closing:
    if not asked.decision.allowed:
        return asked
    refusal = ""
    try:
        sent = risk.services.execute_intent(intent_id=asked.intent.pk, clocks=selectors.get_clocks())
        refusal = "" if sent.refusal is None else f"{sent.refusal.code}: {sent.refusal.text}"
    except DomainError as error:
        refusal = f"{error.code}: {error.message}"
    now = get_closing(asked.intent.pk)
    return Closing(intent=now.intent, decision=now.decision, order=now.order, left=now.left, refusal=refusal)


def get_closing(intent_id: UUID) -> Closing:
    """One closing by hand as it is now; raises NotFound."""
    intent = list_closings().filter(pk=intent_id).first()
    decision = Decision.objects.filter(intent_id=intent_id).first()
    if intent is None or decision is None:
        raise NotFound(f"closing: none has the number {intent_id}", code="closing_not_found")
    held = selectors.get_position(intent.venue_account, intent.symbol)
    return Closing(
        intent=intent,
        decision=decision,
        order=models.Order.objects.filter(intent=intent, purpose=intent.purpose).order_by("id").first(),
        left=Decimal(0) if held is None else held.quantity,
    )


def list_closings() -> QuerySet[models.OrderIntent]:
    """Exits that people asked for by hand, the newest first."""
    rows = models.OrderIntent.objects.filter(source=selectors.OPERATOR, purpose=OrderPurpose.EXIT)
    return rows.select_related("venue_account__account").order_by("-created_at")


def describe_closing(closing: Closing) -> dict[str, object]:
    """A closing as plain JSON."""
    intent, order = closing.intent, closing.order
    return {
        "account": intent.venue_account.account.name,
        "venue": intent.venue_account.venue,
        "symbol": intent.symbol,
        "side": intent.side,
        "quantity": money_text(intent.quantity),
        "intent_id": str(intent.pk),
        "decision": "allowed" if closing.decision.allowed else "blocked",
        "reason": closing.decision.reason,
        "refusal": closing.refusal,
        "order": None if order is None else order.state,
        "filled": money_text(order.filled_quantity if order else Decimal(0)),
        "average_price": None
        if order is None or order.average_price is None
        else money_text(order.average_price),
        "left": money_text(closing.left),
        "is_flat": closing.is_flat,
    }
