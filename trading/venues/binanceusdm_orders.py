"""An order in the words of Binance USD-M (pure)."""

from decimal import Decimal

from trading.core.values import OrderRequest, OrderType, TimeInForce

# RISK.md 3.11: an entry that is still on its way after this long must not execute.
ENTRY_RECEIVE_WINDOW_MS = 2000

_TYPES = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP_MARKET: "STOP_MARKET",
    OrderType.TAKE_PROFIT_MARKET: "TAKE_PROFIT_MARKET",
}
_TIMES_IN_FORCE = {
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
    TimeInForce.POST_ONLY: "GTX",
}


def to_params(request: OrderRequest) -> dict[str, str | int]:
    """The venue's fields for an order; raises ValueError for a request that no order can be."""
    if request.order_type.is_conditional:
        return _to_conditional_params(request)
    if request.quantity is None or request.close_position:
        raise ValueError("an ordinary order has a quantity and closes nothing by itself")
    params: dict[str, str | int] = {
        "symbol": request.symbol,
        "side": request.side.upper(),
        "type": _TYPES[request.order_type],
        "quantity": to_text(request.quantity),
        "newClientOrderId": request.client_order_id,
        "newOrderRespType": "RESULT",
    }
    if request.order_type is OrderType.LIMIT:
        if request.price is None:
            raise ValueError("a limit order has a price")
        params |= {
            "price": to_text(request.price),
            "timeInForce": _TIMES_IN_FORCE[request.time_in_force],
        }
    if request.reduce_only:
        return params | {"reduceOnly": "true"}
    return params | {"recvWindow": ENTRY_RECEIVE_WINDOW_MS}


def _to_conditional_params(request: OrderRequest) -> dict[str, str | int]:
    """Triggered by mark price without price protection (RISK.md 3.5); closing orders have no quantity."""
    if request.trigger_price is None or request.close_position == (request.quantity is not None):
        raise ValueError("a conditional order has a trigger price, and a quantity unless it closes")
    params: dict[str, str | int] = {
        "algoType": "CONDITIONAL",
        "symbol": request.symbol,
        "side": request.side.upper(),
        "type": _TYPES[request.order_type],
        "triggerPrice": to_text(request.trigger_price),
        "workingType": "MARK_PRICE",
        "priceProtect": "false",
        "clientAlgoId": request.client_order_id,
    }
    if request.quantity is None:
        return params | {"closePosition": "true"}
    if not request.reduce_only:
        params["recvWindow"] = ENTRY_RECEIVE_WINDOW_MS
    return params | {
        "quantity": to_text(request.quantity),
        "reduceOnly": "true" if request.reduce_only else "false",
    }


def to_text(value: Decimal) -> str:
    """A decimal without exponent and without trailing zeros, as the venue counts its places."""
    return f"{value.normalize():f}"
