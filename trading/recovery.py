"""What a dead worker or a silent venue left is settled here; safe beside living workers.

Called at a worker's start, by the guard every second and by each cycle. With nothing to do it costs
two small statements. A symbol whose lock is held is somebody's work already and is left alone.
"""

import logging
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import F, Q
from django.db.models.functions import Now

from trading import locks, models, selectors
from trading.core.values import IntentState, OrderState, OrderType
from trading.dispatch.orders import open_venue
from trading.dispatch.protecting import restore
from trading.dispatch.settling import settle
from trading.reconcile import measure_reconciliation_age
from trading.venues.gateway import Gateway, VenueError

logger = logging.getLogger(__name__)

# Symbols with an order to settle or a protection to place, replace or clear; "" for late intents.
# Resting conditional orders are not polled: a reconciliation sees what became of them.
FIND_WORK = """
SELECT o.symbol FROM trading_order o
WHERE o.venue_account_id = %(place)s AND o.state IN ('sending', 'unknown', 'open')
  AND (o.state <> 'open' OR o.order_type IN ('market', 'limit') OR o.executed_by <> ''
    OR NOT EXISTS (SELECT 1 FROM trading_position q WHERE q.venue_account_id = o.venue_account_id
      AND q.symbol = o.symbol AND q.quantity <> 0))
UNION
SELECT p.symbol FROM trading_position p JOIN trading_orderintent i ON i.id = p.entry_intent_id
WHERE p.venue_account_id = %(place)s AND p.quantity <> 0 AND i.stop_loss IS NOT NULL
  AND (p.unprotected_since IS NOT NULL OR i.take_profit IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM trading_order t WHERE t.venue_account_id = p.venue_account_id AND t.symbol = p.symbol
      AND t.state = 'open' AND t.purpose = 'take_profit' AND t.verified_at IS NOT NULL
      AND t.quantity = abs(p.quantity)))
UNION
SELECT '' WHERE EXISTS (SELECT 1 FROM trading_orderintent i WHERE i.account_id = %(account)s
  AND i.venue_account_id = %(place)s AND i.state = 'approved' AND i.valid_until < %(wall_at)s)
"""


def recover_venue_account(*, venue_account: models.VenueAccount, wall_at: datetime) -> int:
    """Settle, protect, clear and lapse what needs it; returns how many symbols were worked on.

    A venue that does not answer leaves things as they are, for the next call.
    """
    measure_reconciliation_age(account=venue_account.account, wall_at=wall_at)
    worked = 0
    for symbol in _find_work(venue_account, wall_at):
        if symbol == "":
            lapse_intents(venue_account=venue_account, wall_at=wall_at)
            continue
        with locks.try_hold(locks.symbol_key(venue_account, symbol)) as is_free:
            if is_free:
                worked += _recover_symbol(venue_account, symbol)
    return worked


def _find_work(venue_account: models.VenueAccount, wall_at: datetime) -> list[str]:
    parameters: dict[str, Any] = {
        "place": venue_account.pk,
        "account": venue_account.account_id,
        "wall_at": wall_at,
    }
    with connection.cursor() as cursor:
        cursor.execute(FIND_WORK, parameters)
        return sorted(symbol for (symbol,) in cursor.fetchall())


def lapse_intents(*, venue_account: models.VenueAccount, wall_at: datetime) -> int:
    """Approved intents that nobody sent in time are judged again or never sent."""
    return models.OrderIntent.objects.filter(
        venue_account=venue_account, state=IntentState.APPROVED, valid_until__lt=wall_at
    ).update(state=IntentState.LAPSED, version=F("version") + 1, updated_at=Now())


def _recover_symbol(venue_account: models.VenueAccount, symbol: str) -> int:
    try:
        gateway = open_venue(venue_account)
        settle_symbol(venue_account, symbol, gateway)
        restore(venue_account, symbol, gateway)
    except VenueError as error:
        logger.warning("%s %s: not recovered yet: %s", venue_account, symbol, error)
        return 0
    return 1


def settle_symbol(venue_account: models.VenueAccount, symbol: str, gateway: Gateway) -> None:
    """Ask for every order of the symbol whose state may have moved, for whoever holds its lock."""
    rows = selectors.list_unsettled_orders(venue_account, symbol)
    may_have_moved = (
        ~Q(state=OrderState.OPEN) | Q(order_type__in=[OrderType.MARKET, OrderType.LIMIT]) | ~Q(executed_by="")
    )
    for order in rows.filter(may_have_moved):
        settle(order, gateway)
