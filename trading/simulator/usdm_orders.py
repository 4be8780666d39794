"""Binance USD-M answers about orders: regular and conditional (algo) ones."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from trading.simulator import conditionals, matching
from trading.simulator.engine import Engine
from trading.simulator.errors import VenueError, refusal
from trading.simulator.instruments import INSTRUMENTS
from trading.simulator.state import ZERO, Algo, Order, State, decode
from trading.simulator.venue import SimulatedVenue
from trading.simulator.wire import Params

TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX")
ALGO_TYPES = (*conditionals.MARKET_TYPES, *conditionals.LIMIT_TYPES)
CANCELLED_ALL = {"code": 200, "msg": "The operation of cancel all open order is done."}


def order_row(order: Order) -> dict[str, Any]:
    instrument = INSTRUMENTS[order.symbol]
    places, lots = instrument.price_precision, instrument.quantity_precision
    average = order.quote / order.executed if order.executed else ZERO
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": f"{order.price:.{places}f}",
        "avgPrice": f"{average:.8f}",
        "origQty": f"{order.quantity:.{lots}f}",
        "executedQty": f"{order.executed:.{lots}f}",
        "cumQty": f"{order.executed:.{lots}f}",
        "cumQuote": f"{order.quote:.8f}",
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": "BOTH",
        "stopPrice": f"{order.trigger_price:.{places}f}",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.original_type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "NONE",
        "goodTillDate": 0,
        "time": order.created_ms,
        "updateTime": order.updated_ms,
    }


def algo_row(state: State, algo: Algo) -> dict[str, Any]:
    instrument = INSTRUMENTS[algo.symbol]
    places, lots = instrument.price_precision, instrument.quantity_precision
    actual = state.orders.get(algo.actual_order_id) or state.closed_orders.get(algo.actual_order_id)
    average = actual.quote / actual.executed if actual and actual.executed else ZERO
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type,
        "symbol": algo.symbol,
        "side": algo.side,
        "positionSide": "BOTH",
        "timeInForce": algo.time_in_force,
        "quantity": f"{algo.quantity:.{lots}f}",
        "algoStatus": conditionals.algo_status(state, algo),
        "actualOrderId": str(algo.actual_order_id) if algo.actual_order_id else "",
        "actualPrice": f"{average:.8f}",
        "triggerPrice": f"{algo.trigger_price:.{places}f}",
        "price": f"{algo.price:.{places}f}",
        "icebergQuantity": None,
        "selfTradePreventionMode": "NONE",
        "workingType": algo.working_type,
        "priceMatch": "NONE",
        "closePosition": algo.close_position,
        "priceProtect": algo.price_protect,
        "reduceOnly": algo.reduce_only,
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.trigger_ms,
        "goodTillDate": 0,
    }


def _client_id(venue: SimulatedVenue, params: Params, name: str) -> str:
    """The client id that was sent, or one made up as the venue does."""
    return params.text(name, "") or f"sim{venue.engine.state.last_id + 1}"


def _order_fields(venue: SimulatedVenue, params: Params) -> dict[str, Any]:
    symbol = params.symbol(venue.engine.feed.symbols)
    side = params.choice("side", ("BUY", "SELL"), -1117)
    kind = params.choice("type", ("LIMIT", "MARKET", *ALGO_TYPES, "TRAILING_STOP_MARKET"), -1116)
    if kind not in ("LIMIT", "MARKET"):
        raise refusal(-4120)
    fields: dict[str, Any] = {
        "symbol": symbol,
        "side": side,
        "type": kind,
        "quantity": str(params.decimal("quantity")),
        "reduce_only": params.flag("reduceOnly"),
        "client_id": _client_id(venue, params, "newClientOrderId"),
        "position_side": params.text("positionSide", "BOTH"),
    }
    if kind == "LIMIT":
        fields["price"] = str(params.decimal("price"))
        fields["time_in_force"] = params.choice("timeInForce", TIMES_IN_FORCE, -1115)
    elif "price" in params or "timeInForce" in params:
        raise refusal(-1106, "price" if "price" in params else "timeInForce")
    return fields


def place_order(venue: SimulatedVenue, params: Params) -> Any:
    fields = _order_fields(venue, params)
    response = params.choice("newOrderRespType", ("ACK", "RESULT"), -1130, "ACK")
    order: Order = venue.execute("place_order", **fields)
    return order_row(order) if response == "RESULT" else _acknowledged(order)


def _acknowledged(order: Order) -> dict[str, Any]:
    """The answer that only says that the order was accepted: it knows no fills yet."""
    return order_row(replace(order, status="NEW", executed=ZERO, quote=ZERO, updated_ms=order.created_ms))


def test_order(venue: SimulatedVenue, params: Params) -> Any:
    """Check an order in full and place nothing."""
    request: matching.OrderRequest = decode(matching.OrderRequest, _order_fields(venue, params))
    matching.check_order(venue.engine.state, request)
    now_ms = venue.engine.state.now_ms
    checked = Order(
        order_id=0,
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
        created_ms=now_ms,
        updated_ms=now_ms,
    )
    return order_row(checked)


def _named(params: Params, id_name: str, client_name: str) -> tuple[int, str]:
    """The order's id and client id as given; one of the two is needed."""
    if id_name in params:
        return params.integer(id_name), ""
    return 0, params.text(client_name)


def get_order(venue: SimulatedVenue, params: Params) -> Any:
    symbol = params.symbol(venue.engine.feed.symbols)
    order_id, client_id = _named(params, "orderId", "origClientOrderId")
    order = matching.find_order(venue.engine.state, symbol, order_id, client_id)
    if order is None:
        raise refusal(-2013)
    return order_row(order)


def get_open_order(venue: SimulatedVenue, params: Params) -> Any:
    symbol = params.symbol(venue.engine.feed.symbols)
    order_id, client_id = _named(params, "orderId", "origClientOrderId")
    order = matching.find_open(venue.engine.state, symbol, order_id, client_id)
    if order is None:
        raise refusal(-2013)
    return order_row(order)


def cancel_order(venue: SimulatedVenue, params: Params) -> Any:
    symbol = params.symbol(venue.engine.feed.symbols)
    order_id, client_id = _named(params, "orderId", "origClientOrderId")
    order: Order = venue.execute("cancel_order", symbol=symbol, order_id=order_id, client_id=client_id)
    return order_row(order)


def amend_order(venue: SimulatedVenue, params: Params) -> Any:
    symbol = params.symbol(venue.engine.feed.symbols)
    order_id, client_id = _named(params, "orderId", "origClientOrderId")
    order: Order = venue.execute(
        "amend_order",
        symbol=symbol,
        order_id=order_id,
        client_id=client_id,
        side=params.choice("side", ("BUY", "SELL"), -1117),
        quantity=str(params.decimal("quantity")),
        price=str(params.decimal("price")),
    )
    return order_row(order)


def open_orders(venue: SimulatedVenue, params: Params) -> Any:
    symbol = _optional_symbol(venue, params)
    return [
        order_row(order) for order in venue.engine.state.orders.values() if symbol in (None, order.symbol)
    ]


def _optional_symbol(venue: SimulatedVenue, params: Params) -> str | None:
    return params.symbol(venue.engine.feed.symbols) if "symbol" in params else None


def all_orders(venue: SimulatedVenue, params: Params) -> Any:
    symbol = _optional_symbol(venue, params)
    state = venue.engine.state
    first, (start, end) = params.integer("orderId", 0), _span(params)
    found = [
        order
        for order in sorted([*state.closed_orders.values(), *state.orders.values()], key=lambda o: o.order_id)
        if symbol in (None, order.symbol) and order.order_id >= first and start <= order.created_ms <= end
    ]
    return [order_row(order) for order in _page(params, found, "orderId" in params)]


def _span(params: Params) -> tuple[int, int]:
    """From startTime to endTime, both included; all of time where they are not given."""
    return params.integer("startTime", 0), params.integer("endTime", 1 << 62)


def _page(params: Params, found: list[Any], forward: bool) -> list[Any]:
    limit = params.integer("limit", 500)
    if not 1 <= limit <= 1000:
        raise VenueError(-1130, "Data sent for parameter 'limit' is not valid.")
    return found[:limit] if forward or "startTime" in params else found[-limit:]


def cancel_all_orders(venue: SimulatedVenue, params: Params) -> Any:
    venue.execute("cancel_all", symbol=params.symbol(venue.engine.feed.symbols))
    return CANCELLED_ALL


def place_algo(venue: SimulatedVenue, params: Params) -> Any:
    if params.text("algoType") != "CONDITIONAL":
        raise VenueError(-1130, "Data sent for parameter 'algoType' is not valid.")
    symbol = params.symbol(venue.engine.feed.symbols)
    kind = params.choice("type", ALGO_TYPES, -1116)
    close = params.flag("closePosition")
    fields: dict[str, Any] = {
        "symbol": symbol,
        "side": params.choice("side", ("BUY", "SELL"), -1117),
        "type": kind,
        "trigger_price": str(params.decimal("triggerPrice")),
        "client_id": _client_id(venue, params, "clientAlgoId"),
        "working_type": params.choice(
            "workingType", ("MARK_PRICE", "CONTRACT_PRICE"), -1102, "CONTRACT_PRICE"
        ),
        "reduce_only": params.flag("reduceOnly"),
        "close_position": close,
        "price_protect": params.flag("priceProtect"),
        "position_side": params.text("positionSide", "BOTH"),
        "quantity": str(params.decimal("quantity", ZERO if close else None)),
    }
    if kind in conditionals.LIMIT_TYPES:
        fields["price"] = str(params.decimal("price"))
        fields["time_in_force"] = params.choice("timeInForce", TIMES_IN_FORCE, -1115, "GTC")
    algo: Algo = venue.execute("place_algo", **fields)
    return algo_row(venue.engine.state, algo)


def get_algo(venue: SimulatedVenue, params: Params) -> Any:
    algo_id, client_id = _named(params, "algoId", "clientAlgoId")
    algo = conditionals.find_algo(venue.engine.state, algo_id, client_id)
    if algo is None:
        raise refusal(-2013)
    return algo_row(venue.engine.state, algo)


def cancel_algo(venue: SimulatedVenue, params: Params) -> Any:
    algo_id, client_id = _named(params, "algoId", "clientAlgoId")
    algo: Algo = venue.execute("cancel_algo", algo_id=algo_id, client_id=client_id)
    return {"algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def open_algos(venue: SimulatedVenue, params: Params) -> Any:
    symbol, state = _optional_symbol(venue, params), venue.engine.state
    return [algo_row(state, algo) for algo in state.algos.values() if symbol in (None, algo.symbol)]


def all_algos(venue: SimulatedVenue, params: Params) -> Any:
    symbol, state = params.symbol(venue.engine.feed.symbols), venue.engine.state
    known = sorted([*state.closed_algos.values(), *state.algos.values()], key=lambda algo: algo.algo_id)
    start, end = _span(params)
    found = [algo for algo in known if algo.symbol == symbol and start <= algo.created_ms <= end]
    return [algo_row(state, algo) for algo in _page(params, found, forward=False)]


def cancel_all_algos(venue: SimulatedVenue, params: Params) -> Any:
    venue.execute("cancel_all_algos", symbol=params.symbol(venue.engine.feed.symbols))
    return CANCELLED_ALL


def countdown(venue: SimulatedVenue, params: Params) -> Any:
    """Arm the dead-man timer of a symbol: it cancels *all* its orders, protections included, as a rule."""
    symbol, milliseconds = params.symbol(venue.engine.feed.symbols), params.integer("countdownTime")
    deadline = venue.clock.wall_ms() + milliseconds if milliseconds > 0 else 0
    venue.execute("set_countdown", symbol=symbol, deadline_ms=deadline)
    return {"symbol": symbol, "countdownTime": str(max(0, milliseconds))}


def user_trades(venue: SimulatedVenue, params: Params) -> Any:
    symbol = params.symbol(venue.engine.feed.symbols)
    order_id, from_id = params.integer("orderId", 0), params.integer("fromId", 0)
    start, end = _span(params)
    found = [
        trade
        for trade in venue.engine.state.trades
        if trade.symbol == symbol
        and order_id in (0, trade.order_id)
        and trade.trade_id >= from_id
        and start <= trade.at_ms <= end
    ]
    return [_trade_row(venue.engine, trade) for trade in _page(params, found, "fromId" in params)]


def _trade_row(engine: Engine, trade: Any) -> dict[str, Any]:
    instrument = INSTRUMENTS[trade.symbol]
    value: Decimal = trade.price * trade.quantity
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "side": trade.side,
        "price": f"{trade.price:.{instrument.price_precision}f}",
        "qty": f"{trade.quantity:.{instrument.quantity_precision}f}",
        "realizedPnl": f"{trade.realised:.8f}",
        "quoteQty": f"{value:.8f}",
        "commission": f"{trade.commission:.8f}",
        "commissionAsset": "USDT",
        "time": trade.at_ms,
        "positionSide": "BOTH",
        "buyer": trade.side == "BUY",
        "maker": trade.maker,
    }
