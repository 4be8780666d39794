"""Regular orders: acceptance, immediate execution, resting, cancelling.

Reduce-only, as this venue does it: an order that only reduces needs a position on the other side when
it is sent (else -2022) and never fills more than that position; what an aggressive one has left
expires. When the position is gone, resting reduce-only orders of that symbol expire.
"""

from dataclasses import dataclass
from decimal import Decimal

from trading.simulator import ledger
from trading.simulator.book import best_prices, resting_quantity, take, walk
from trading.simulator.errors import refusal
from trading.simulator.filters import (
    MAX_ORDERS,
    check_band,
    check_client_id,
    check_notional,
    check_position_side,
    check_price,
    check_quantity,
    tradable,
)
from trading.simulator.instruments import INSTRUMENTS
from trading.simulator.state import ZERO, Order, Side, State

KEPT_ORDERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """A regular order as asked for; price is zero for market orders."""

    symbol: str
    side: Side
    type: str
    quantity: Decimal
    price: Decimal = ZERO
    time_in_force: str = "GTC"
    reduce_only: bool = False
    client_id: str
    position_side: str = "BOTH"


def check_order(state: State, request: OrderRequest) -> None:
    """Everything that can refuse an order, in the venue's order; changes nothing."""
    instrument = tradable(state, request.symbol)
    market = state.markets[request.symbol]
    is_market = request.type == "MARKET"
    check_position_side(state, request.position_side)
    check_client_id(request.client_id)
    check_quantity(instrument, request.quantity, market=is_market)
    if not is_market:
        check_price(instrument, request.price)
        check_band(instrument, request.side, request.price, market.mark)
    if not request.reduce_only:
        check_notional(instrument, request.quantity * (market.mark if is_market else request.price))
    if any(order.client_id == request.client_id for order in state.orders.values()):
        raise refusal(-4116)
    if sum(order.symbol == request.symbol for order in state.orders.values()) >= MAX_ORDERS:
        raise refusal(-2025)
    _check_execution(state, request)
    if request.reduce_only:
        if not reducible(state, request.symbol, request.side):
            raise refusal(-2022)
    else:
        _check_margin(state, request)


def reducible(state: State, symbol: str, side: Side) -> Decimal:
    """How much an order of this side could reduce: the position's size on the other side."""
    held = state.positions[symbol].quantity if symbol in state.positions else ZERO
    return abs(held) if held * ledger.sign(side) < 0 else ZERO


def _check_execution(state: State, request: OrderRequest) -> None:
    instrument, market = INSTRUMENTS[request.symbol], state.markets[request.symbol]
    bid, ask = best_prices(market, instrument)
    if request.type == "MARKET":
        best = ask if request.side == "BUY" else bid
        if not request.reduce_only and abs(best / market.mark - 1) > instrument.market_take_bound:
            raise refusal(-4131)
        return
    crosses = request.price >= ask if request.side == "BUY" else request.price <= bid
    if request.time_in_force == "GTX" and crosses:
        raise refusal(-5022)
    if request.time_in_force == "FOK":
        wanted = request.quantity
        if request.reduce_only:
            wanted = min(wanted, reducible(state, request.symbol, request.side))
        fills = walk(market, instrument, request.side, wanted, limit=request.price, endless=False)
        if sum((quantity for _, quantity in fills), ZERO) < wanted:
            raise refusal(-5021)


def _check_margin(state: State, request: OrderRequest) -> None:
    """Margin that the order adds, the loss it opens with and its taker fee must be available."""
    instrument, market = INSTRUMENTS[request.symbol], state.markets[request.symbol]
    price = request.price
    if request.type == "MARKET":
        bound = request.side == "BUY"
        fills = walk(market, instrument, request.side, request.quantity, limit=None, endless=True)
        price = (max if bound else min)(fill for fill, _ in fills)
    value = request.quantity * price
    buy = request.side == "BUY"
    held = ledger.notional(state, request.symbol)
    bid, ask = ledger.order_notionals(state, request.symbol)
    reached = abs(held + bid + value) if buy else abs(held - ask - value)
    if reached > instrument.largest_notional(state.setting(request.symbol).leverage) and reached > abs(held):
        raise refusal(-2027)
    before = ledger.order_margin(state, request.symbol)
    after = ledger.order_margin(
        state, request.symbol, extra_bid=value if buy else ZERO, extra_ask=ZERO if buy else value
    )
    if after == before:
        return
    loss = max(ZERO, (price - market.mark) * ledger.sign(request.side)) * request.quantity
    if after - before + loss + value * ledger.TAKER_FEE_RATIO > ledger.available_balance(state):
        raise refusal(-2019)


def place_order(state: State, request: OrderRequest) -> Order:
    """Accept an order, execute what crosses, rest the remainder if its time in force lets it."""
    check_order(state, request)
    order = Order(
        order_id=state.new_id(),
        client_id=request.client_id,
        symbol=request.symbol,
        side=request.side,
        type=request.type,
        time_in_force=request.time_in_force,
        price=request.price,
        quantity=request.quantity,
        reduce_only=request.reduce_only,
        close_position=False,
        original_type=request.type,
        trigger_price=ZERO,
        status="NEW",
        created_ms=state.now_ms,
        updated_ms=state.now_ms,
    )
    submit(state, order)
    return order


def submit(state: State, order: Order, *, endless: bool = False) -> None:
    """Send an accepted order into the book."""
    state.orders[order.order_id] = order
    _execute(state, order, endless=endless)
    rests = order.type == "LIMIT" and order.time_in_force in ("GTC", "GTX")
    if order.order_id in state.orders and not rests:
        close_order(state, order, "EXPIRED")
    after_position_change(state, order.symbol)


def _execute(state: State, order: Order, *, endless: bool) -> None:
    instrument, market = INSTRUMENTS[order.symbol], state.markets[order.symbol]
    limit = order.price if order.type == "LIMIT" else None
    wanted = order.remaining
    if order.reduce_only:
        wanted = min(wanted, reducible(state, order.symbol, order.side))
    for price, quantity in walk(market, instrument, order.side, wanted, limit=limit, endless=endless):
        take(market, order.side, quantity)
        ledger.apply_fill(state, order, price, quantity, maker=False)
    if order.status == "FILLED":
        close_order(state, order, "FILLED")


def close_order(state: State, order: Order, status: str) -> None:
    """Move an order out of the open ones with its last status."""
    order.status = status
    order.updated_ms = state.now_ms
    del state.orders[order.order_id]
    state.closed_orders[order.order_id] = order
    if len(state.closed_orders) > KEPT_ORDERS:
        del state.closed_orders[next(iter(state.closed_orders))]


def match_resting(state: State, symbol: str) -> None:
    """Fill resting orders of a symbol at their own price, as far as this step's volume goes."""
    resting = [order for order in state.orders.values() if order.symbol == symbol]
    resting.sort(key=lambda order: (-order.price if order.side == "BUY" else order.price, order.order_id))
    filled = False
    for order in resting:
        if order.order_id in state.orders:
            filled |= _match(state, order)
    if filled:
        after_position_change(state, symbol)


def _match(state: State, order: Order) -> bool:
    market, instrument = state.markets[order.symbol], INSTRUMENTS[order.symbol]
    quantity = min(order.remaining, resting_quantity(market, instrument, order.side, order.price))
    if order.reduce_only:
        quantity = min(quantity, reducible(state, order.symbol, order.side))
    if quantity <= 0:
        return False
    market.volume -= quantity
    ledger.apply_fill(state, order, order.price, quantity, maker=True)
    if order.status == "FILLED":
        close_order(state, order, "FILLED")
    return True


def after_position_change(state: State, symbol: str) -> None:
    """Expire what can only reduce a position that is no longer there (see also the conditional orders)."""
    for order in list(state.orders.values()):
        if order.symbol == symbol and order.reduce_only and not reducible(state, symbol, order.side):
            close_order(state, order, "EXPIRED")
    for algo in list(state.algos.values()):
        if algo.symbol == symbol and algo.close_position and not reducible(state, symbol, algo.side):
            algo.status, algo.updated_ms = "EXPIRED", state.now_ms
            del state.algos[algo.algo_id]
            state.closed_algos[algo.algo_id] = algo


def find_open(state: State, symbol: str, order_id: int, client_id: str) -> Order | None:
    """An open order by its id, or by its client id when the id is zero."""
    for order in state.orders.values():
        if order.symbol == symbol and (
            order.order_id == order_id if order_id else order.client_id == client_id
        ):
            return order
    return None


def find_order(state: State, symbol: str, order_id: int, client_id: str) -> Order | None:
    """An order, open or not; by client id the latest one that carried it."""
    found = find_open(state, symbol, order_id, client_id)
    if found or order_id:
        candidate = found or state.closed_orders.get(order_id)
        return candidate if candidate and candidate.symbol == symbol else None
    for order in reversed(state.closed_orders.values()):
        if order.symbol == symbol and order.client_id == client_id:
            return order
    return None


def cancel_order(state: State, symbol: str, order_id: int, client_id: str) -> Order:
    order = find_open(state, symbol, order_id, client_id)
    if order is None:
        raise refusal(-2011)
    close_order(state, order, "CANCELED")
    return order


def cancel_all(state: State, symbol: str) -> None:
    for order in [order for order in state.orders.values() if order.symbol == symbol]:
        close_order(state, order, "CANCELED")


def amend_order(state: State, order: Order, side: Side, quantity: Decimal, price: Decimal) -> Order:
    """Change price or quantity of a resting limit order; it keeps its id and loses its place.

    A quantity not above what is filled already cancels the order.
    """
    if order.side != side:
        raise refusal(-1117)
    if (order.quantity, order.price) == (quantity, price):
        raise refusal(-5027)
    instrument = INSTRUMENTS[order.symbol]
    check_quantity(instrument, quantity, market=False)
    check_price(instrument, price)
    check_band(instrument, side, price, state.markets[order.symbol].mark)
    if quantity <= order.executed:
        close_order(state, order, "CANCELED")
        return order
    _check_amendment(state, order, quantity, price)
    order.quantity, order.price, order.updated_ms = quantity, price, state.now_ms
    submit(state, order)
    return order


def _check_amendment(state: State, order: Order, quantity: Decimal, price: Decimal) -> None:
    """Check the amended remainder as if it were new, without the order it replaces."""
    request = OrderRequest(
        symbol=order.symbol,
        side=order.side,
        type="LIMIT",
        quantity=quantity - order.executed,
        price=price,
        time_in_force=order.time_in_force,
        reduce_only=order.reduce_only,
        client_id=order.client_id,
    )
    known = state.orders
    state.orders = {order_id: other for order_id, other in known.items() if other is not order}
    try:
        check_order(state, request)
    finally:
        state.orders = known
