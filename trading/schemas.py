"""Facts as they leave over HTTP."""

from ninja import Schema

from controlplane.wire import Amount, Moment
from trading import models, selectors
from trading.core.values import OrderPurpose, Prices


class VenueAccountOut(Schema):
    venue: str
    priority: int
    equity: Amount | None
    wallet: Amount | None
    available: Amount | None
    equity_at: Moment | None
    reconciled_at: Moment | None
    reconciliation_clean: bool | None


class AssignmentOut(Schema):
    strategy: str
    symbols: list[str]
    enabled: bool


class PermitOut(Schema):
    kind: str
    profile: str
    limit_set_digest: str
    fencing_token: int
    lease_expires_at: Moment


class AccountOut(Schema):
    """One desk account; `permit` is null while it may not trade."""

    name: str
    environment: str
    permit: PermitOut | None
    strategies: list[AssignmentOut]
    venues: list[VenueAccountOut]
    now: Moment
    market_now: Moment


class PositionOut(Schema):
    """Signed quantity; the stop and target are what rests at the venue and was read back there."""

    venue: str
    symbol: str
    strategy: str
    quantity: Amount
    entry_price: Amount | None
    mark_price: Amount | None
    unrealised_pnl: Amount | None
    stop_loss: Amount | None
    stop_verified_at: Moment | None
    take_profit: Amount | None
    target_verified_at: Moment | None
    opened_at: Moment | None


class OrderOut(Schema):
    id: int
    venue: str
    symbol: str
    purpose: str
    side: str
    type: str
    quantity: Amount | None
    price: Amount | None
    trigger_price: Amount | None
    reduce_only: bool
    close_position: bool
    state: str
    filled_quantity: Amount
    average_price: Amount | None
    client_order_id: str
    venue_order_id: str
    venue_code: str
    intent_id: str
    sent_at: Moment
    updated_at: Moment


class TradeOut(Schema):
    """One round trip, flat to flat; net = gross - fees + funding, all USDT."""

    id: int
    venue: str
    strategy: str
    symbol: str
    side: str
    quantity: Amount
    entry_price: Amount
    exit_price: Amount | None
    gross_pnl: Amount
    fees: Amount
    funding: Amount
    net_pnl: Amount | None
    closed_by: str
    opened_at: Moment
    closed_at: Moment | None


class PriceOut(Schema):
    """What the gate would use; `at` and `funding_at` are market time, null is unknown.

    Quantities rest at the best prices; `reference` is the rolling average of mark; longs pay shorts
    `funding_rate` (ratio of notional, signed).
    """

    venue: str
    symbol: str
    mark: Amount
    last: Amount
    index: Amount
    bid: Amount
    ask: Amount
    bid_quantity: Amount | None
    ask_quantity: Amount | None
    reference: Amount | None
    funding_rate: Amount | None
    funding_at: Moment | None
    at: Moment


def describe_positions(place: models.VenueAccount) -> list[PositionOut]:
    """The open positions of a venue account with their protections, marked at the stored prices."""
    positions = list(selectors.list_open_positions(place))
    prices = selectors.list_prices(place.venue, [row.symbol for row in positions])
    protections = selectors.list_protections(place)
    return [position_out(row, protections.get(row.symbol, {}), prices.get(row.symbol)) for row in positions]


def position_out(
    row: models.Position, protections: dict[str, models.Order], prices: Prices | None
) -> PositionOut:
    stop = protections.get(OrderPurpose.STOP_LOSS)
    target = protections.get(OrderPurpose.TAKE_PROFIT)
    unrealised = None
    if prices is not None and row.entry_price is not None:
        unrealised = (prices.mark - row.entry_price) * row.quantity
    return PositionOut(
        venue=row.venue_account.venue,
        symbol=row.symbol,
        strategy=row.strategy,
        quantity=row.quantity,
        entry_price=row.entry_price,
        mark_price=prices.mark if prices else None,
        unrealised_pnl=unrealised,
        stop_loss=stop.trigger_price if stop else None,
        stop_verified_at=stop.verified_at if stop else None,
        take_profit=target.trigger_price if target else None,
        target_verified_at=target.verified_at if target else None,
        opened_at=row.opened_at,
    )


def order_out(row: models.Order) -> OrderOut:
    return OrderOut(
        id=row.id,
        venue=row.venue_account.venue,
        symbol=row.symbol,
        purpose=row.purpose,
        side=row.side,
        type=row.order_type,
        quantity=row.quantity,
        price=row.price,
        trigger_price=row.trigger_price,
        reduce_only=row.reduce_only,
        close_position=row.close_position,
        state=row.state,
        filled_quantity=row.filled_quantity,
        average_price=row.average_price,
        client_order_id=row.client_order_id,
        venue_order_id=row.venue_order_id,
        venue_code=row.venue_code,
        intent_id=str(row.intent_id),
        sent_at=row.sent_at,
        updated_at=row.updated_at,
    )


def trade_out(row: models.Trade) -> TradeOut:
    return TradeOut(
        id=row.id,
        venue=row.venue_account.venue,
        strategy=row.strategy,
        symbol=row.symbol,
        side=row.side,
        quantity=row.max_quantity,
        entry_price=row.entry_price,
        exit_price=row.exit_price,
        gross_pnl=row.gross_pnl,
        fees=row.fees,
        funding=row.funding,
        net_pnl=row.net_pnl,
        closed_by=row.closed_by,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
    )


def price_out(venue: str, prices: Prices) -> PriceOut:
    return PriceOut(
        venue=venue,
        symbol=prices.symbol,
        mark=prices.mark,
        last=prices.last,
        index=prices.index,
        bid=prices.bid,
        ask=prices.ask,
        bid_quantity=prices.bid_quantity,
        ask_quantity=prices.ask_quantity,
        reference=prices.reference,
        funding_rate=prices.funding_rate,
        funding_at=prices.funding_at,
        at=prices.at,
    )
