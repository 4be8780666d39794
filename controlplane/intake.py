"""Orders that outside programs ask for: registered, judged, and left to a worker to send.

The web process never talks to a venue. Where the broker cannot be reached the guard finds the
approved intent in the database.
"""

import logging
from dataclasses import dataclass

from django.db import transaction
from kombu.exceptions import OperationalError

import risk.services
from controlplane.approvals.core import Actor, Role
from controlplane.approvals.services import require_any_role
from controlplane.errors import InvalidInput
from risk.models import Decision
from risk.schemas import OrderIntentIn
from risk.snapshot import load_primary
from trading import models, selectors, services
from trading.core.values import Clocks, IntentState, OrderPurpose, OrderType, Side

logger = logging.getLogger(__name__)

SOURCE = "api"
ASKING_ROLES = frozenset({Role.REQUESTER, Role.OPERATOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The intent, the first decision about it, and the order it became, if it did."""

    intent: models.OrderIntent
    decision: Decision
    order: models.Order | None


def request_order(*, wish: OrderIntentIn, actor: Actor, clocks: Clocks) -> Answer:
    """Register and judge once per client_ref; where allowed and wanted, hand it to a worker.

    The same request again gets the first decision. Raises NotDesignated, NotFound, InvalidInput,
    ClientRefReused and Unavailable.
    """
    require_any_role(actor, ASKING_ROLES)
    _require_price(wish)
    answer = _judge_at_once(wish, clocks) or _judge_in_turn(wish, clocks)
    if answer.decision.allowed and answer.intent.state == IntentState.APPROVED and answer.intent.execute:
        transaction.on_commit(lambda: hand_over(answer.intent))
    return answer


def _require_price(wish: OrderIntentIn) -> None:
    if (wish.type == "limit") != (wish.price is not None):
        raise InvalidInput(
            "price: a limit order needs one" if wish.price is None else "price: a market order has none"
        )


def _judge_at_once(wish: OrderIntentIn, clocks: Clocks) -> Answer | None:
    """Read the facts, then register and judge in one statement; None if that cannot be."""
    found = load_primary(account=wish.account, strategy=wish.strategy, symbol=wish.symbol, clocks=clocks)
    if found is None:
        return None
    place, snapshot = found
    intent = services.make_intent(
        account=place.account,
        client_ref=wish.client_ref,
        signal_at=wish.signal_at or clocks.market_at,
        market_at=clocks.market_at,
        **_body(wish, place),
    )
    decision = risk.services.judge_new_intent(intent=intent, snapshot=snapshot)
    # What was only just registered cannot have become an order.
    return None if decision is None else Answer(intent=intent, decision=decision, order=None)


def _judge_in_turn(wish: OrderIntentIn, clocks: Clocks) -> Answer:
    """Register, then judge: the first answer for a reference that is known, and what meets others."""
    # Nothing leaves from here, so registration and judgement may share one commit.
    with transaction.atomic():
        primary = selectors.get_primary_of(wish.account)
        intent = services.register_intent(
            account=primary.account,
            client_ref=wish.client_ref,
            signal_at=wish.signal_at or clocks.market_at,
            market_at=clocks.market_at,
            **_body(wish, primary),
        )
        decision = risk.services.judge_intent(intent_id=intent.pk, clocks=clocks)
    if not (decision.allowed and intent.execute):
        return Answer(intent=intent, decision=decision, order=None)
    intent.refresh_from_db()
    order = models.Order.objects.filter(intent=intent, purpose=intent.purpose).order_by("id").first()
    return Answer(intent=intent, decision=decision, order=order)


def _body(wish: OrderIntentIn, place: models.VenueAccount) -> services.IntentBody:
    return {
        "venue_account": place,
        "strategy": wish.strategy,
        "symbol": wish.symbol,
        "side": Side(wish.side),
        "order_type": OrderType(wish.type),
        "purpose": OrderPurpose.EXIT if wish.reduce_only else OrderPurpose.ENTRY,
        "quantity": wish.quantity,
        "price": wish.price,
        "stop_loss": wish.stop_loss,
        "take_profit": wish.take_profit,
        "reduce_only": wish.reduce_only,
        "source": SOURCE,
        "execute": wish.execute,
        "may_resize": wish.may_resize,
    }


def hand_over(intent: models.OrderIntent) -> None:
    """Tell a worker; a broker that cannot be reached fails nothing.

    The tasks are imported here, because they load the strategies and the door, which judging needs not.
    """
    from controlplane.tasks import execute_intent

    try:
        execute_intent.apply_async([str(intent.pk)], retry=False)
    except OperationalError as error:
        logger.warning("intent %s waits for the guard: %s", intent.pk, error)
