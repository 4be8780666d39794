"""Facts over HTTP: read only."""

from typing import Any

from ninja import Query, Router

from controlplane.approvals.core import TokenScope
from controlplane.approvals.http import ActorRequest, authorise
from controlplane.wire import Name, Page, PageQuery, PlaceQuery, make_page, make_place_page
from trading import models, schemas, selectors
from trading.core.values import Clocks

router = Router(tags=["accounts"])


@router.get("/accounts/{name}", response=schemas.AccountOut)
def get_account(request: ActorRequest, name: Name) -> schemas.AccountOut:
    """The account, its permit, what it may trade and where, and its equity as last read."""
    authorise(request, TokenScope.READ)
    return describe_account(selectors.get_account(name), selectors.get_clocks())


@router.get("/accounts/{name}/positions", response=Page[schemas.PositionOut])
def list_positions(request: ActorRequest, name: Name, page: Query[PlaceQuery]) -> dict[str, Any]:
    """The open positions with the stop and target that rest at the venue, by venue and symbol."""
    authorise(request, TokenScope.READ)
    account = selectors.get_account(name)
    rows = [
        row for place in selectors.list_venue_accounts(account) for row in schemas.describe_positions(place)
    ]
    return make_place_page(rows, page)


@router.get("/accounts/{name}/orders", response=Page[schemas.OrderOut])
def list_orders(request: ActorRequest, name: Name, page: Query[PageQuery]) -> dict[str, Any]:
    """Every order that reached the door, newest first."""
    authorise(request, TokenScope.READ)
    rows = selectors.list_orders(selectors.get_account(name), page.after, page.limit + 1)
    return make_page(rows, limit=page.limit, as_item=schemas.order_out, key=lambda row: row.id)


@router.get("/accounts/{name}/trades", response=Page[schemas.TradeOut])
def list_trades(request: ActorRequest, name: Name, page: Query[PageQuery]) -> dict[str, Any]:
    """The round trips, newest first; an open one has no result yet."""
    authorise(request, TokenScope.READ)
    rows = selectors.list_trades(selectors.get_account(name), page.after, page.limit + 1)
    return make_page(rows, limit=page.limit, as_item=schemas.trade_out, key=lambda row: row.id)


@router.get("/accounts/{name}/prices", response=Page[schemas.PriceOut])
def list_prices(request: ActorRequest, name: Name, page: Query[PlaceQuery]) -> dict[str, Any]:
    """The prices that the gate would use now, of every symbol and venue of the account."""
    authorise(request, TokenScope.READ)
    account = selectors.get_account(name)
    symbols = selectors.list_symbols(account)
    found = (
        schemas.price_out(place.venue, prices)
        for place in selectors.list_venue_accounts(account)
        for prices in selectors.list_prices(place.venue, symbols).values()
    )
    return make_place_page(found, page)


def describe_account(account: models.Account, clocks: Clocks) -> schemas.AccountOut:
    permit = selectors.get_active_permit(account)
    return schemas.AccountOut(
        name=account.name,
        environment=account.environment,
        permit=None if permit is None else schemas.PermitOut.from_orm(permit),
        strategies=[schemas.AssignmentOut.from_orm(row) for row in selectors.list_assignments(account)],
        venues=[describe_venue_account(row) for row in selectors.list_venue_accounts(account)],
        now=clocks.wall_at,
        market_now=clocks.market_at,
    )


def describe_venue_account(row: models.VenueAccount) -> schemas.VenueAccountOut:
    equity = selectors.latest_equity(row)
    run = selectors.latest_reconciliation(row)
    return schemas.VenueAccountOut(
        venue=row.venue,
        priority=row.priority,
        equity=equity.equity if equity else None,
        wallet=equity.wallet if equity else None,
        available=equity.available if equity else None,
        equity_at=equity.market_at if equity else None,
        reconciled_at=run.finished_at if run else None,
        reconciliation_clean=run.is_clean if run else None,
    )
