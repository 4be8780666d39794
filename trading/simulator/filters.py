"""What the venue checks in an order before it looks at the account: filters, with the venue's codes."""

import re
from decimal import Decimal

from trading.simulator.errors import refusal
from trading.simulator.instruments import INSTRUMENTS, Instrument
from trading.simulator.state import State

CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
MAX_ORDERS = 200
MAX_ALGO_ORDERS = 10


def tradable(state: State, symbol: str) -> Instrument:
    """The instrument, if it has a price; else -1121."""
    market = state.markets.get(symbol)
    if market is None or not market.ticks:
        raise refusal(-1121)
    return INSTRUMENTS[symbol]


def check_position_side(state: State, position_side: str) -> None:
    """Only one-way mode trades here: in hedge mode, or with a hedge side, every order is -4061."""
    if state.dual_side or position_side != "BOTH":
        raise refusal(-4061)


def check_client_id(client_id: str) -> None:
    if not CLIENT_ID.fullmatch(client_id):
        raise refusal(-4015)


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def check_quantity(instrument: Instrument, quantity: Decimal, *, market: bool) -> None:
    """LOT_SIZE and MARKET_LOT_SIZE: above zero, bounds, precision, step."""
    if quantity <= 0:
        raise refusal(-4003)
    if _places(quantity) > instrument.quantity_precision:
        raise refusal(-1111)
    if quantity < instrument.min_quantity:
        raise refusal(-4004)
    if quantity > (instrument.max_market_quantity if market else instrument.max_quantity):
        raise refusal(-4005)
    if quantity % instrument.step:
        raise refusal(-4023)


def check_price(instrument: Instrument, price: Decimal) -> None:
    """PRICE_FILTER: above zero, bounds, precision, tick."""
    if price <= 0:
        raise refusal(-4001)
    if price > instrument.max_price:
        raise refusal(-4002)
    if price < instrument.min_price:
        raise refusal(-4013)
    if _places(price) > instrument.price_precision:
        raise refusal(-1111)
    if price % instrument.tick:
        raise refusal(-4014)


def check_band(instrument: Instrument, side: str, price: Decimal, mark: Decimal) -> None:
    """PERCENT_PRICE: a buy not too far above the mark price, a sell not too far below."""
    highest, lowest = mark * instrument.multiplier_up, mark * instrument.multiplier_down
    if side == "BUY" and price > highest:
        raise refusal(-4016, f"{highest:.{instrument.price_precision}f}")
    if side == "SELL" and price < lowest:
        raise refusal(-4024, f"{lowest:.{instrument.price_precision}f}")


def check_notional(instrument: Instrument, notional: Decimal) -> None:
    if notional < instrument.min_notional:
        raise refusal(-4164, instrument.min_notional)
