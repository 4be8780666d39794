"""THE DOOR: the one way an order reaches a venue, and what follows until it is settled.

An intent leaves once, claimed by one statement that takes the decision's age, the trading states,
the permit and the price together (`door`). Every order is committed as SENDING before its request
leaves; a lost answer is looked up by our own id, never sent again (`settling`). What an entry filled
is protected at the venue, or closed (`protecting`).
"""

from trading.dispatch.dead_man import TimerProbe, arm_timer, probe_timer
from trading.dispatch.door import Refusal, send_intent
from trading.dispatch.protecting import (
    close_position,
    has_orphan_protections,
    protect_position,
    restore_symbol,
    verify_stop,
)
from trading.dispatch.settling import (
    cancel_foreign_order,
    cancel_order,
    read_open_orders,
    read_positions,
    settle_order,
)

__all__ = [
    "Refusal",
    "TimerProbe",
    "arm_timer",
    "cancel_foreign_order",
    "cancel_order",
    "close_position",
    "has_orphan_protections",
    "probe_timer",
    "protect_position",
    "read_open_orders",
    "read_positions",
    "restore_symbol",
    "send_intent",
    "settle_order",
    "verify_stop",
]
