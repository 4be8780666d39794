"""Which fills of no order of ours the venue made by itself, and what it paid or took for a liquidation."""

from datetime import datetime, timedelta

from trading import models
from trading.core.forced import ForcedKind, read_forced_kind
from trading.dispatch.orders import open_venue

# Binance's name of a liquidation's own row in the income ledger.
LIQUIDATION_INCOME = "INSURANCE_CLEAR"
# How long after it was booked a fill is looked at: reconciliations book within minutes.
LOOK_BACK = timedelta(hours=1)
MARKET_LOOK_BACK = timedelta(days=7)


def list_foreign_fills(venue_account: models.VenueAccount, *, wall_at: datetime) -> list[models.Fill]:
    """Fills of no order of ours that were booked of late, the oldest first."""
    rows = models.Fill.objects.filter(venue_account=venue_account, order=None, at__gt=wall_at - LOOK_BACK)
    return list(rows.order_by("id"))


def list_liquidation_income(
    venue_account: models.VenueAccount, *, since: datetime | None, market_at: datetime
) -> list[models.Income]:
    """What liquidations of the last days took, as far as it became known after a (wall) time.

    What happened before our first equity sample was not ours.
    """
    first = models.EquitySample.objects.filter(venue_account=venue_account).order_by("id").first()
    if first is None:
        return []
    rows = models.Income.objects.filter(
        venue_account=venue_account,
        kind=LIQUIDATION_INCOME,
        market_at__gt=max(first.market_at, market_at - MARKET_LOOK_BACK),
    )
    return list((rows if since is None else rows.filter(at__gt=since)).order_by("id"))


def ask_forced_kind(fill: models.Fill) -> ForcedKind | None:
    """Ask the venue whose order it was; raises VenueError. An order that it does not know is nobody's."""
    gateway = open_venue(fill.venue_account)
    return read_forced_kind(gateway.fetch_client_order_id(fill.symbol, fill.venue_order_id) or "")
