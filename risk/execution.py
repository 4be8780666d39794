"""From intent to order: judge, and where allowed go through the door at once."""

import uuid
from dataclasses import dataclass
from decimal import Decimal

from risk import models
from risk.core.reasons import NONE
from risk.evidence import parse_text
from risk.judgement import judge_intent
from trading import dispatch
from trading.core.values import Clocks
from trading.models import Order, OrderIntent


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What became of an intent; `summary` is one word for counting."""

    decision: models.Decision
    order: Order | None = None
    refusal: dispatch.Refusal | None = None

    @property
    def summary(self) -> str:
        if not self.decision.allowed:
            return f"denied:{self.decision.reason}"
        if self.refusal is not None:
            return f"refused:{self.refusal.code}"
        return NONE if self.order is None else f"order:{self.order.state}"


def execute_intent(*, intent_id: uuid.UUID, clocks: Clocks) -> Execution:
    """Judge where that has not happened, and send what is allowed; idempotent.

    An intent that already left is answered with the order it became.
    """
    decision = judge_intent(intent_id=intent_id, clocks=clocks)
    if not decision.allowed:
        return Execution(decision=decision)
    order = Order.objects.filter(intent_id=intent_id, purpose__in=_own_purposes(intent_id)).first()
    if order is not None:
        return Execution(decision=decision, order=order)
    sent = dispatch.send_intent(intent_id=intent_id, reference_price=read_mark(decision))
    if isinstance(sent, dispatch.Refusal):
        return Execution(decision=decision, refusal=sent)
    return Execution(decision=decision, order=sent)


def read_mark(decision: models.Decision) -> Decimal | None:
    """The mark that the decision stood on; the door refuses where mark has left the collar around it."""
    prices = parse_text(decision.inputs)["snapshot"]["prices"]
    return None if prices is None else Decimal(prices["mark"])


def _own_purposes(intent_id: uuid.UUID) -> list[str]:
    """The order that carries the intent itself, not the protections that hang on it."""
    return list(OrderIntent.objects.filter(pk=intent_id).values_list("purpose", flat=True))
