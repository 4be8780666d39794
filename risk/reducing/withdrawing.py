"""Cancels at the venues the entries that rest where an account or a symbol may only reduce (RISK.md part 2).

After a loss, beyond the margin, or in an oversize symbol an entry must not fill any more. Protections
and positions stay. Orders whose outcome is not known are recovery's; once they rest they are cancelled.
"""

import logging
from collections.abc import Iterable

from django.db.models import QuerySet

from controlplane.errors import DomainError
from risk.core.emergency_stop import Cause
from risk.reducing.placed_causes import PLACES
from risk.reducing.restrictions import list_restrictions
from trading import dispatch, selectors
from trading.core.values import OrderPurpose, OrderState
from trading.models import Account, Order, VenueAccount

logger = logging.getLogger(__name__)

OF_THE_ACCOUNT = frozenset({Cause.DAILY_LOSS, Cause.WEEKLY_LOSS, Cause.MAINTENANCE_MARGIN})


def cancel_resting_entries(*, account: Account) -> int:
    """One round; returns how many were cancelled. What a venue does not confirm is tried in the next."""
    return sum(_cancel(_list_entries(place)) for place in selectors.list_venue_accounts(account))


def cancel_entries(*, account: Account) -> int:
    """Every entry of the account that rests, whatever it stands on; returns how many were cancelled.

    For who takes the permission away under which they were sent.
    """
    return sum(_cancel(_list_resting(place)) for place in selectors.list_venue_accounts(account))


def _cancel(orders: Iterable[Order]) -> int:
    cancelled = 0
    for order in orders:
        try:
            ended = dispatch.cancel_order(order_id=order.pk)
            cancelled += OrderState(ended.state).is_final
        except DomainError as refusal:
            logger.warning("%s is not cancelled yet: %s", order.client_order_id, refusal)
    return cancelled


def _list_resting(place: VenueAccount) -> QuerySet[Order]:
    return selectors.list_unsettled_orders(place).filter(
        purpose=OrderPurpose.ENTRY, state=OrderState.OPEN.value
    )


def _list_entries(place: VenueAccount) -> list[Order]:
    """Entries that rest at the venue account and must not."""
    standing = list(list_restrictions())
    is_whole = any(
        row.scope == f"account:{place.account.name}" and Cause(row.cause) in OF_THE_ACCOUNT
        for row in standing
    )
    symbols = {
        row.scope.partition(":")[2]
        for row in standing
        if row.cause == Cause.OVERSIZE and str(place.pk) in row.evidence.get(PLACES, {})
    }
    if not is_whole and not symbols:
        return []
    rows = _list_resting(place)
    return list(rows if is_whole else rows.filter(symbol__in=symbols))
