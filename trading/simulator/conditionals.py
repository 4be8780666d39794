"""Conditional (algo) orders: they wait for a price and then become regular orders.

A stop fills at what the book offers when it triggers, which in a gap lies beyond its trigger price.
Orders that close the position (no quantity) need a position, allow one per type and direction, and
expire when the position is gone. Reduce-only ones with a quantity do *not* expire: they stay, and
close the next position if nobody cancels them; without a position they are rejected at the trigger.
"""

from dataclasses import dataclass
from decimal import Decimal

from trading.simulator import ledger, matching
from trading.simulator.errors import VenueError, refusal
from trading.simulator.filters import (
    MAX_ALGO_ORDERS,
    check_client_id,
    check_notional,
    check_position_side,
    check_price,
    check_quantity,
    tradable,
)
from trading.simulator.instruments import INSTRUMENTS
from trading.simulator.state import ZERO, Algo, Order, Side, State

MARKET_TYPES = ("STOP_MARKET", "TAKE_PROFIT_MARKET")
LIMIT_TYPES = ("STOP", "TAKE_PROFIT")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgoRequest:
    """A conditional order as asked for; `price` only for the types that become limit orders."""

    symbol: str
    side: Side
    type: str
    trigger_price: Decimal
    client_id: str
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    time_in_force: str = "GTC"
    working_type: str = "CONTRACT_PRICE"
    reduce_only: bool = False
    close_position: bool = False
    price_protect: bool = False
    position_side: str = "BOTH"


def check_algo(state: State, request: AlgoRequest) -> None:
    """Everything that can refuse a conditional order; changes nothing."""
    instrument = tradable(state, request.symbol)
    check_position_side(state, request.position_side)
    check_client_id(request.client_id)
    check_price(instrument, request.trigger_price)
    if request.type in LIMIT_TYPES:
        check_price(instrument, request.price)
    _check_size(state, request)
    if any(algo.client_id == request.client_id for algo in state.algos.values()):
        raise refusal(-4116)
    if sum(algo.symbol == request.symbol for algo in state.algos.values()) >= MAX_ALGO_ORDERS:
        raise refusal(-4045)
    if _reached(
        state, request.symbol, request.side, request.type, request.working_type, request.trigger_price
    ):
        raise refusal(-2021)


def _check_size(state: State, request: AlgoRequest) -> None:
    instrument = INSTRUMENTS[request.symbol]
    if not request.close_position:
        check_quantity(instrument, request.quantity, market=request.type in MARKET_TYPES)
        if not request.reduce_only:
            check_notional(instrument, request.quantity * request.trigger_price)
        return
    if request.type not in MARKET_TYPES:
        raise refusal(-1116)
    if request.quantity:
        raise refusal(-4137)
    if request.reduce_only:
        raise refusal(-1106, "reduceOnly")
    if not matching.reducible(state, request.symbol, request.side):
        raise refusal(-4509)
    wanted = (request.symbol, request.side, request.type)
    if any(
        algo.close_position and (algo.symbol, algo.side, algo.type) == wanted for algo in state.algos.values()
    ):
        raise refusal(-4130)


def place_algo(state: State, request: AlgoRequest) -> Algo:
    check_algo(state, request)
    algo = Algo(
        algo_id=state.new_id(),
        client_id=request.client_id,
        symbol=request.symbol,
        side=request.side,
        type=request.type,
        time_in_force="GTE_GTC" if request.close_position else request.time_in_force,
        trigger_price=request.trigger_price,
        price=request.price,
        quantity=request.quantity,
        working_type=request.working_type,
        reduce_only=request.reduce_only or request.close_position,
        close_position=request.close_position,
        price_protect=request.price_protect,
        status="NEW",
        created_ms=state.now_ms,
        updated_ms=state.now_ms,
    )
    state.algos[algo.algo_id] = algo
    return algo


def _reached(state: State, symbol: str, side: Side, kind: str, working_type: str, trigger: Decimal) -> bool:
    """A buy stop and a sell target trigger at or above their price, the other two at or below."""
    market = state.markets[symbol]
    price = market.mark if working_type == "MARK_PRICE" else ledger.last(state, symbol)
    upwards = (side == "BUY") == kind.startswith("STOP")
    return price >= trigger if upwards else price <= trigger


def trigger_algos(state: State, symbol: str) -> None:
    """Send every conditional order of a symbol whose price is reached, in the order they were placed."""
    for algo in [algo for algo in state.algos.values() if algo.symbol == symbol]:
        waiting = algo.algo_id in state.algos
        if (
            waiting
            and not _protected(state, algo)
            and _reached(state, symbol, algo.side, algo.type, algo.working_type, algo.trigger_price)
        ):
            _trigger(state, algo)


def _protected(state: State, algo: Algo) -> bool:
    """Price protection: no trigger while last and mark price differ by more than the bound."""
    market, bound = state.markets[algo.symbol], INSTRUMENTS[algo.symbol].market_take_bound
    return algo.price_protect and abs(ledger.last(state, algo.symbol) / market.mark - 1) > bound


def _trigger(state: State, algo: Algo) -> None:
    algo.trigger_ms = algo.updated_ms = state.now_ms
    quantity = algo.quantity
    if algo.close_position:
        quantity = matching.reducible(state, algo.symbol, algo.side)
    if algo.reduce_only and not matching.reducible(state, algo.symbol, algo.side):
        finish_algo(state, algo, "REJECTED", reason="Reduce Only reject")
        return
    if not algo.reduce_only:
        try:
            matching.check_order(state, _as_request(algo))
        except VenueError as error:
            finish_algo(state, algo, "REJECTED", reason=error.text)
            return
    order = _as_order(state, algo, quantity)
    algo.actual_order_id = order.order_id
    finish_algo(state, algo, "TRIGGERED")
    matching.submit(state, order, endless=algo.reduce_only and order.type == "MARKET")


def _as_request(algo: Algo) -> matching.OrderRequest:
    return matching.OrderRequest(
        symbol=algo.symbol,
        side=algo.side,
        type="MARKET" if algo.type in MARKET_TYPES else "LIMIT",
        quantity=algo.quantity,
        price=algo.price,
        time_in_force=algo.time_in_force,
        client_id=algo.client_id,
    )


def _as_order(state: State, algo: Algo, quantity: Decimal) -> Order:
    return Order(
        order_id=state.new_id(),
        client_id=algo.client_id,
        symbol=algo.symbol,
        side=algo.side,
        type="MARKET" if algo.type in MARKET_TYPES else "LIMIT",
        time_in_force="GTC" if algo.close_position else algo.time_in_force,
        price=algo.price,
        quantity=quantity,
        reduce_only=algo.reduce_only,
        close_position=algo.close_position,
        original_type=algo.type,
        trigger_price=algo.trigger_price,
        status="NEW",
        created_ms=state.now_ms,
        updated_ms=state.now_ms,
    )


def finish_algo(state: State, algo: Algo, status: str, *, reason: str = "") -> None:
    """Move a conditional order out of the waiting ones."""
    algo.status, algo.updated_ms, algo.reason = status, state.now_ms, reason
    del state.algos[algo.algo_id]
    state.closed_algos[algo.algo_id] = algo
    if len(state.closed_algos) > matching.KEPT_ORDERS:
        del state.closed_algos[next(iter(state.closed_algos))]


def algo_status(state: State, algo: Algo) -> str:
    """The status to show: TRIGGERED reads FINISHED once its regular order is no longer open."""
    done = algo.status == "TRIGGERED" and algo.actual_order_id not in state.orders
    return "FINISHED" if done else algo.status


def find_algo(state: State, algo_id: int, client_id: str) -> Algo | None:
    """A conditional order, waiting or not; by client id the latest one that carried it."""
    if algo_id:
        return state.algos.get(algo_id) or state.closed_algos.get(algo_id)
    for algo in [*state.algos.values(), *reversed(state.closed_algos.values())]:
        if algo.client_id == client_id:
            return algo
    return None


def cancel_algo(state: State, algo_id: int, client_id: str) -> Algo:
    algo = find_algo(state, algo_id, client_id)
    if algo is None or algo.algo_id not in state.algos:
        raise refusal(-2011)
    finish_algo(state, algo, "CANCELED")
    return algo


def cancel_all_algos(state: State, symbol: str) -> None:
    for algo in [algo for algo in state.algos.values() if algo.symbol == symbol]:
        finish_algo(state, algo, "CANCELED")
