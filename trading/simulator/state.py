"""The whole state of the simulated venue as plain records that survive a trip through JSON."""

import dataclasses
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Side = Literal["BUY", "SELL"]
ZERO = Decimal(0)
CENT8 = Decimal("1e-8")


@dataclass(slots=True, kw_only=True)
class Market:
    """Prices of one symbol: traded price in ticks, mark and index in USDT, what the step's book has left."""

    ticks: int = 0
    previous: int = 0
    falling: bool = True
    mark: Decimal = ZERO
    index: Decimal = ZERO
    volume: Decimal = ZERO
    taken_buy: Decimal = ZERO
    taken_sell: Decimal = ZERO
    premium_sum: Decimal = ZERO
    premium_count: int = 0
    traded_ms: int = 0


@dataclass(slots=True, kw_only=True)
class Position:
    """A one-way position: signed quantity and cost (quantity x average entry), isolated margin."""

    symbol: str
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    margin: Decimal = ZERO
    updated_ms: int = 0


@dataclass(slots=True, kw_only=True)
class Setting:
    """Leverage and margin mode of a symbol; the venue starts with 20x and crossed."""

    leverage: int = 20
    isolated: bool = False


@dataclass(slots=True, kw_only=True)
class Order:
    """A regular order; `quote` is the sum of price x quantity over its fills."""

    order_id: int
    client_id: str
    symbol: str
    side: Side
    type: str
    time_in_force: str
    price: Decimal
    quantity: Decimal
    reduce_only: bool
    close_position: bool
    original_type: str
    trigger_price: Decimal
    status: str
    created_ms: int
    updated_ms: int
    executed: Decimal = ZERO
    quote: Decimal = ZERO

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed


@dataclass(slots=True, kw_only=True)
class Algo:
    """A conditional order waiting at the venue; quantity is zero when it closes the whole position."""

    algo_id: int
    client_id: str
    symbol: str
    side: Side
    type: str
    time_in_force: str
    trigger_price: Decimal
    price: Decimal
    quantity: Decimal
    working_type: str
    reduce_only: bool
    close_position: bool
    price_protect: bool
    status: str
    created_ms: int
    updated_ms: int
    trigger_ms: int = 0
    actual_order_id: int = 0
    reason: str = ""


@dataclass(slots=True, kw_only=True)
class Trade:
    """One fill."""

    trade_id: int
    order_id: int
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    commission: Decimal
    realised: Decimal
    maker: bool
    at_ms: int


@dataclass(slots=True, kw_only=True)
class Income:
    """One change of the wallet: every change has exactly one row."""

    income_id: int
    type: str
    symbol: str
    amount: Decimal
    at_ms: int
    trade_id: int = 0


@dataclass(slots=True, kw_only=True)
class Funding:
    """One settled funding rate of a symbol."""

    symbol: str
    rate: Decimal
    mark: Decimal
    at_ms: int


@dataclass(slots=True, kw_only=True)
class Gap:
    """From a moment on (until another, if given) every price of a symbol is multiplied by a factor."""

    symbol: str
    from_ms: int
    until_ms: int
    factor: Decimal


@dataclass(slots=True, kw_only=True)
class State:
    """Everything the venue knows. `data_ms` is the last step whose prices were published."""

    now_ms: int
    next_step_ms: int
    data_ms: int
    started_ms: int
    last_id: int = 1000
    frozen: bool = False
    dual_side: bool = False
    multi_assets: bool = False
    wallet: Decimal = ZERO
    wallet_ms: int = 0
    totals: dict[str, Decimal] = field(default_factory=dict)
    markets: dict[str, Market] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    settings: dict[str, Setting] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    closed_orders: dict[int, Order] = field(default_factory=dict)
    algos: dict[int, Algo] = field(default_factory=dict)
    closed_algos: dict[int, Algo] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    incomes: list[Income] = field(default_factory=list)
    fundings: list[Funding] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    countdowns: dict[str, int] = field(default_factory=dict)

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def position(self, symbol: str) -> Position:
        return self.positions.setdefault(symbol, Position(symbol=symbol))

    def setting(self, symbol: str) -> Setting:
        return self.settings.setdefault(symbol, Setting())


def encode(value: Any) -> Any:
    """Records to JSON values; decimals become strings, keys become strings."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: encode(getattr(value, name)) for name in _hints(type(value))}
    return value


def decode(kind: Any, value: Any) -> Any:
    """JSON values back to the records of the given type; raises KeyError or TypeError when they differ."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return None if value is None else decode(get_args(kind)[0], value)
    if origin is dict:
        key_kind, item_kind = get_args(kind)
        return {key_kind(key): decode(item_kind, item) for key, item in value.items()}
    if origin is list:
        return [decode(get_args(kind)[0], item) for item in value]
    if kind is Decimal:
        return Decimal(value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: decode(hints[name], item) for name, item in value.items()})
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
