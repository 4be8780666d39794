"""What a venue account is worth at this moment: by its venue, and by our own book.

Read again and again by whoever watches losses; nothing is stored. Our own figure is made of what we
booked ourselves and of prices read now, so that a wrong balance of the venue's stands against it.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import connection

from trading import models, selectors
from trading.core import accounting
from trading.core.values import Prices
from trading.venues import open_gateway
from trading.venues.gateway import Gateway, VenueError

logger = logging.getLogger(__name__)

ZERO = Decimal(0)
# Below this share of equity a difference is fees and moments; above it money may have come from outside.
FLOW_MATTERS = Decimal("0.001")
# As far back as a reconciliation reads income again.
OVERLAP = timedelta(minutes=10)
FIRST_LOOK_BACK = timedelta(days=1)

# The wallet as the last comparison expected it, or that of the first sample; what came in since
# without a trade; and the result of every fill that is booked and not in that wallet yet. Positions are
# folded from the same fills, so that a fill moves both at once, whenever its income is read.
OWN_WALLET = """
WITH base AS (
  SELECT * FROM (
    (SELECT 1 AS rank, r.wallet_expected AS wallet, r.income_id, NULL::timestamptz AS since
     FROM trading_reconciliationrun r
     WHERE r.venue_account_id = %(place)s AND r.wallet_expected IS NOT NULL AND r.income_id IS NOT NULL
     ORDER BY r.finished_at DESC, r.id DESC LIMIT 1)
    UNION ALL
    (SELECT 2, s.wallet, coalesce((SELECT max(n.id) FROM trading_income n
        WHERE n.venue_account_id = %(place)s AND n.at <= s.at), 0), s.market_at
     FROM trading_equitysample s WHERE s.venue_account_id = %(place)s ORDER BY s.id LIMIT 1)
  ) AS known ORDER BY rank LIMIT 1
), traded AS (
  SELECT coalesce((SELECT n.market_at FROM trading_income n
    WHERE n.venue_account_id = %(place)s AND n.id <= b.income_id
      AND n.kind IN ('REALIZED_PNL', 'COMMISSION')
    ORDER BY n.market_at DESC LIMIT 1), b.since,
    (SELECT s.market_at FROM trading_equitysample s
     WHERE s.venue_account_id = %(place)s ORDER BY s.id LIMIT 1)) AS until
  FROM base b
)
SELECT b.wallet
  + (SELECT coalesce(sum(n.amount), 0) FROM trading_income n
     WHERE n.venue_account_id = %(place)s AND n.id > b.income_id
       AND n.kind NOT IN ('REALIZED_PNL', 'COMMISSION'))
  + (SELECT coalesce(sum(f.realised_pnl - CASE WHEN f.fee_asset = 'USDT' THEN f.fee ELSE 0 END), 0)
     FROM trading_fill f WHERE f.venue_account_id = %(place)s
       AND f.market_at > t.until)
FROM base b, traded t
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityLook:
    """Equity of a venue account (USDT) by the venue and by our book; None is not known, `detail` says why.

    `net_flow` came from outside (negative: went there) by the venue's income ledger and is not booked yet.
    """

    venue: Decimal | None
    own: Decimal | None
    net_flow: Decimal = ZERO
    detail: str = ""


def look_at_equity(
    *,
    venue_account: models.VenueAccount,
    flow_kinds: Collection[str],
    max_price_age: timedelta,
    market_at: datetime,
) -> EquityLook:
    """Ask the venue now; never raises VenueError: what cannot be read is not known.

    `flow_kinds` are the venue's names of money that moves from or to outside. A mark older than
    `max_price_age` (market time) is none.
    """
    try:
        gateway = open_gateway(
            venue=venue_account.venue,
            account=venue_account.account.name,
            environment=settings.TRADING_ENVIRONMENT,
        )
        venue = gateway.fetch_balance().equity
        own, detail = _value_book(venue_account, gateway, market_at - max_price_age)
        if own is None or abs(venue - own) <= FLOW_MATTERS * max(abs(venue), abs(own)):
            return EquityLook(venue=venue, own=own, detail=detail)
        flow = _sum_unbooked(venue_account, gateway, flow_kinds, market_at)
        return EquityLook(venue=venue, own=own + flow, net_flow=flow)
    except VenueError as error:
        logger.warning("%s: equity cannot be read: %s", venue_account, error)
        return EquityLook(venue=None, own=None, detail=f"the venue gives none: {error}")


def _value_book(
    venue_account: models.VenueAccount, gateway: Gateway, oldest_at: datetime
) -> tuple[Decimal | None, str]:
    """Our wallet and positions at marks read now (USDT); None, and why, where something is not known."""
    wallet = get_own_wallet(venue_account)
    if wallet is None:
        return None, "our book was never compared with the venue's"
    positions = list(selectors.list_open_positions(venue_account))
    prices = gateway.fetch_prices([row.symbol for row in positions]) if positions else {}
    total = wallet
    for row in positions:
        price = prices.get(row.symbol)
        if price is None or row.entry_price is None or not _is_usable(price, oldest_at):
            return None, f"{row.symbol}: the venue gives no usable mark price"
        total += accounting.unrealised_pnl(quantity=row.quantity, entry=row.entry_price, mark=price.mark)
    return total, ""


def _is_usable(price: Prices, oldest_at: datetime) -> bool:
    return price.mark.is_finite() and price.mark > 0 and price.at >= oldest_at


def get_own_wallet(venue_account: models.VenueAccount) -> Decimal | None:
    """The wallet by our own book (USDT); None before the first sample of it."""
    with connection.cursor() as cursor:
        cursor.execute(OWN_WALLET, {"place": venue_account.pk})
        row = cursor.fetchone()
    return None if row is None else Decimal(row[0])


def _sum_unbooked(
    venue_account: models.VenueAccount,
    gateway: Gateway,
    flow_kinds: Collection[str],
    market_at: datetime,
) -> Decimal:
    """Money from outside that the venue's ledger tells of and ours does not yet (USDT, signed).

    Booking it is the reconciliation's, which must see for itself what is new.
    """
    known = models.Income.objects.filter(venue_account=venue_account)
    last = known.order_by("-market_at").first()
    since = market_at - FIRST_LOOK_BACK if last is None else last.market_at - OVERLAP
    told = {
        (row.kind, row.venue_income_id): row.amount
        for row in gateway.fetch_income(since=since)
        if row.kind in flow_kinds
    }
    ids = {income_id for _, income_id in told}
    booked = set(known.filter(venue_income_id__in=ids).values_list("kind", "venue_income_id"))
    return sum((amount for key, amount in told.items() if key not in booked), ZERO)
