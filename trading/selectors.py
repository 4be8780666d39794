"""Reads of facts. Every function returns rows or frozen values and changes nothing."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from controlplane.errors import NotFound
from controlplane.native import run_native
from trading import models
from trading.core import values
from trading.core.values import (
    Clocks,
    IntentState,
    MarketClock,
    OrderPurpose,
    OrderState,
    TradingStateName,
)

UNSETTLED = (OrderState.SENDING, OrderState.UNKNOWN, OrderState.OPEN)
# The source of what a person asks for by hand.
OPERATOR = "operator"
OPEN_INTENTS = (IntentState.PROPOSED, IntentState.APPROVED, IntentState.DISPATCHED)

READ_CLOCKS = """
SELECT clock_timestamp(), c.anchor_at, c.started_at, c.speed, c.paused
FROM (SELECT 1) one LEFT JOIN trading_marketclock c ON c.id = 1
"""


def get_clocks() -> Clocks:
    """Both clocks from one statement; without a clock row market time is the database's clock."""
    wall_at, anchor_at, started_at, speed, paused = run_native(READ_CLOCKS, {})[0]
    if anchor_at is None:
        return Clocks(wall_at=wall_at, market_at=wall_at)
    clock = MarketClock(anchor_at=anchor_at, started_at=started_at, speed=speed, paused=paused)
    return Clocks(wall_at=wall_at, market_at=clock.now(wall_at))


def get_market_clock() -> MarketClock | None:
    """The stored clock, or None where market time is the database's clock (demo and live)."""
    row = models.MarketClock.objects.filter(id=1).first()
    if row is None:
        return None
    return MarketClock(
        anchor_at=row.anchor_at,
        started_at=row.started_at,
        speed=row.speed,
        paused=row.paused,
    )


def get_account(name: str) -> models.Account:
    """Raises NotFound."""
    account = models.Account.objects.filter(name=name).first()
    if account is None:
        raise NotFound(f"account: no account named {name!r}", code="account_not_found")
    return account


def list_accounts() -> QuerySet[models.Account]:
    return models.Account.objects.order_by("name")


def list_venue_accounts(
    account: models.Account | None = None,
) -> QuerySet[models.VenueAccount]:
    rows = models.VenueAccount.objects.select_related("account").order_by("account__name", "priority")
    return rows if account is None else rows.filter(account=account)


def get_venue_account(account: models.Account, venue: str) -> models.VenueAccount:
    """Raises NotFound."""
    row = models.VenueAccount.objects.select_related("account").filter(account=account, venue=venue).first()
    if row is None:
        raise NotFound(
            f"venue: account {account.name} has no place at {venue}",
            code="venue_not_found",
        )
    return row


def get_primary(account: models.Account) -> models.VenueAccount:
    """The venue account of priority 0; raises NotFound."""
    row = models.VenueAccount.objects.select_related("account").filter(account=account, priority=0).first()
    if row is None:
        raise NotFound(f"account {account.name} has no primary venue", code="venue_not_found")
    return row


def get_primary_of(name: str) -> models.VenueAccount:
    """The venue account of priority 0 of the account of that name, in one read; raises NotFound."""
    rows = models.VenueAccount.objects.select_related("account").filter(account__name=name, priority=0)
    found = list(rows.order_by()[:1])
    return found[0] if found else get_primary(get_account(name))


def list_assignments(account: models.Account) -> QuerySet[models.StrategyAssignment]:
    return models.StrategyAssignment.objects.filter(account=account, enabled=True).order_by("strategy")


def list_symbols(account: models.Account) -> tuple[str, ...]:
    """Every symbol that an enabled strategy of the account trades or that is held, sorted."""
    assigned = {symbol for row in list_assignments(account) for symbol in row.symbols}
    held = models.Position.objects.filter(venue_account__account=account).exclude(quantity=0)
    return tuple(sorted(assigned.union(held.values_list("symbol", flat=True))))


def is_halted(venue_account: models.VenueAccount) -> bool:
    """Whether the desk, the venue or the account is HALTED; a scope without a row is."""
    scopes = ("all", f"venue:{venue_account.venue}", f"account:{venue_account.account.name}")
    rows = models.TradingState.objects.filter(scope__in=scopes)
    return rows.exclude(state=TradingStateName.HALTED).count() < len(scopes)


def list_open_positions(
    venue_account: models.VenueAccount,
) -> QuerySet[models.Position]:
    return (
        models.Position.objects.filter(venue_account=venue_account)
        .exclude(quantity=0)
        .select_related("entry_intent", "trade", "venue_account__account")
        .order_by("symbol")
    )


def get_position(venue_account: models.VenueAccount, symbol: str) -> models.Position | None:
    return models.Position.objects.filter(venue_account=venue_account, symbol=symbol).first()


def list_unsettled_orders(
    venue_account: models.VenueAccount, symbol: str | None = None
) -> QuerySet[models.Order]:
    rows = models.Order.objects.filter(venue_account=venue_account, state__in=UNSETTLED).select_related(
        "intent", "venue_account__account"
    )
    return rows.order_by("id") if symbol is None else rows.filter(symbol=symbol).order_by("id")


def list_open_intents(account: models.Account) -> QuerySet[models.OrderIntent]:
    """Intents that may still reach the venue or have not settled there."""
    return models.OrderIntent.objects.filter(account=account, state__in=OPEN_INTENTS).order_by("created_at")


def list_waiting_intents() -> QuerySet[models.OrderIntent]:
    """Approved, wanted and still valid, but not sent for a second: their worker may be gone.

    What a person asks for does not wait for a worker at all.
    """
    now = Now()
    return models.OrderIntent.objects.filter(
        Q(updated_at__lt=now - timedelta(seconds=1)) | Q(source=OPERATOR),
        state=IntentState.APPROVED,
        execute=True,
        valid_until__gt=now,
    ).order_by("created_at")


def get_instrument_row(venue: str, symbol: str) -> models.Instrument | None:
    return models.Instrument.objects.filter(venue=venue, symbol=symbol).first()


def get_instrument(venue: str, symbol: str) -> values.Instrument | None:
    row = get_instrument_row(venue, symbol)
    return None if row is None else instrument_value(row)


def instrument_value(row: models.Instrument) -> values.Instrument:
    return values.Instrument(
        venue=row.venue,
        symbol=row.symbol,
        base=row.base,
        is_trading=row.is_trading,
        tick_size=row.tick_size,
        lot_size=row.lot_size,
        min_quantity=row.min_quantity,
        max_quantity=row.max_quantity,
        max_market_quantity=row.max_market_quantity,
        min_notional=row.min_notional,
        min_price=row.min_price,
        max_price=row.max_price,
        delists_at=row.delists_at,
        max_conditional_orders=row.max_conditional_orders,
    )


def get_venue_setting(venue_account: models.VenueAccount, symbol: str) -> models.VenueSetting | None:
    return models.VenueSetting.objects.filter(venue_account=venue_account, symbol=symbol).first()


def list_unprepared_symbols(venue_account: models.VenueAccount, fresh_since: datetime) -> list[str]:
    """Assigned symbols that are flat and whose settings were not read back since a (wall) time, sorted."""
    assigned = {s for row in list_assignments(venue_account.account) for s in row.symbols}
    held = list_open_positions(venue_account).values_list("symbol", flat=True)
    rows = models.VenueSetting.objects.filter(venue_account=venue_account, read_at__gt=fresh_since)
    return sorted(assigned.difference(held, rows.values_list("symbol", flat=True)))


def get_price(venue: str, symbol: str) -> values.Prices | None:
    row = models.MarketPrice.objects.filter(venue=venue, symbol=symbol).first()
    return None if row is None else price_value(row)


def price_value(row: models.MarketPrice) -> values.Prices:
    return values.Prices(
        symbol=row.symbol,
        mark=row.mark,
        last=row.last,
        index=row.index,
        bid=row.bid,
        ask=row.ask,
        at=row.at,
        bid_quantity=row.bid_quantity,
        ask_quantity=row.ask_quantity,
        reference=row.reference,
        funding_rate=row.funding_rate,
        funding_at=row.funding_at,
    )


def get_prices_read_at(venue_account: models.VenueAccount) -> datetime | None:
    """When the oldest of the account's prices was read (wall time); None while one is missing."""
    symbols = list_symbols(venue_account.account)
    rows = models.MarketPrice.objects.filter(venue=venue_account.venue, symbol__in=symbols)
    read = list(rows.values_list("read_at", flat=True))
    return min(read) if read and len(read) == len(symbols) else None


def list_prices(venue: str, symbols: Sequence[str]) -> dict[str, values.Prices]:
    rows = models.MarketPrice.objects.filter(venue=venue, symbol__in=symbols)
    return {row.symbol: price_value(row) for row in rows}


def latest_equity(venue_account: models.VenueAccount) -> models.EquitySample | None:
    return (
        models.EquitySample.objects.filter(venue_account=venue_account).order_by("-market_at", "-id").first()
    )


def equity_at(venue_account: models.VenueAccount, at: datetime) -> models.EquitySample | None:
    """The last sample at or before the moment, else the first one after it; None if there is none."""
    rows = models.EquitySample.objects.filter(venue_account=venue_account)
    before = rows.filter(market_at__lte=at).order_by("-market_at", "-id").first()
    return before or rows.filter(market_at__gt=at).order_by("market_at", "id").first()


def list_equity_curve(
    venue_account: models.VenueAccount, *, since: datetime, until: datetime, every: timedelta
) -> list[tuple[datetime, Decimal]]:
    """The last sample of each span of market time, oldest first."""
    step = f"{every.total_seconds()} seconds"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (date_bin(%s, market_at, %s)) market_at, equity FROM trading_equitysample"
            " WHERE venue_account_id = %s AND market_at > %s AND market_at <= %s"
            " ORDER BY date_bin(%s, market_at, %s), market_at DESC, id DESC",
            [step, since, venue_account.pk, since, until, step, since],
        )
        return list(cursor.fetchall())


def count_entries_since(account: models.Account, since: datetime) -> int:
    """Entry orders with their first fill at or after the (market) moment; exits never count."""
    earlier = models.Fill.objects.filter(order=OuterRef("order"), market_at__lt=since)
    fills = models.Fill.objects.filter(
        ~Exists(earlier),
        venue_account__account=account,
        market_at__gte=since,
        order__purpose=OrderPurpose.ENTRY,
    )
    return fills.values("order").distinct().count()


def latest_reconciliation(
    venue_account: models.VenueAccount,
) -> models.ReconciliationRun | None:
    return (
        models.ReconciliationRun.objects.filter(venue_account=venue_account).order_by("-finished_at").first()
    )


def list_heartbeats() -> dict[str, models.Heartbeat]:
    return {row.name: row for row in models.Heartbeat.objects.all()}


def list_protections(venue_account: models.VenueAccount) -> dict[str, dict[str, models.Order]]:
    """The resting stop and target of each symbol, by symbol and purpose; the newest of each."""
    rows = models.Order.objects.filter(
        venue_account=venue_account,
        state=OrderState.OPEN,
        purpose__in=[OrderPurpose.STOP_LOSS, OrderPurpose.TAKE_PROFIT],
    ).order_by("id")
    found: dict[str, dict[str, models.Order]] = {}
    for row in rows:
        found.setdefault(row.symbol, {})[row.purpose] = row
    return found


def list_orders(account: models.Account, before_id: int | None, limit: int) -> list[models.Order]:
    """The newest orders of the account, of those older than `before_id`."""
    rows = models.Order.objects.filter(venue_account__account=account).select_related("venue_account")
    if before_id is not None:
        rows = rows.filter(id__lt=before_id)
    return list(rows.order_by("-id")[:limit])


def list_trades(account: models.Account, before_id: int | None, limit: int) -> list[models.Trade]:
    """The newest round trips of the account, open ones included, of those older than `before_id`."""
    rows = models.Trade.objects.filter(venue_account__account=account).select_related("venue_account")
    if before_id is not None:
        rows = rows.filter(id__lt=before_id)
    return list(rows.order_by("-id")[:limit])


def get_active_permit(account: models.Account) -> models.Permit | None:
    return models.Permit.objects.filter(account=account, active=True).first()
