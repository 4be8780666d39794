"""The frozen values of trading: what an instrument, an order, a fill and a position are.

Units: quantities are in the base asset and > 0 (direction is `side`); positions are signed;
prices are USDT per base unit; notionals are USDT and >= 0; times are aware UTC datetimes.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class Environment(StrEnum):
    """Which endpoints the whole desk uses (TRADING_ENVIRONMENT)."""

    PAPER = "paper"
    DEMO = "demo"
    LIVE = "live"


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for buy, -1 for sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP_MARKET = "stop_market"
    TAKE_PROFIT_MARKET = "take_profit_market"

    @property
    def is_conditional(self) -> bool:
        """Conditional orders live on the venue's algo endpoints until they trigger."""
        return self in {OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET}


class TimeInForce(StrEnum):
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    POST_ONLY = "post_only"


class OrderPurpose(StrEnum):
    """Why an order exists. Only ENTRY may add risk; everything else is sent reduce-only or closing."""

    ENTRY = "entry"
    EXIT = "exit"
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    SAFETY_CLOSE = "safety_close"
    FLATTEN = "flatten"

    @property
    def adds_risk(self) -> bool:
        return self is OrderPurpose.ENTRY


class IntentState(StrEnum):
    """PROPOSED -> DENIED | APPROVED; APPROVED -> DISPATCHED | LAPSED; DISPATCHED -> DONE."""

    PROPOSED = "proposed"
    DENIED = "denied"
    APPROVED = "approved"
    LAPSED = "lapsed"
    DISPATCHED = "dispatched"
    DONE = "done"


class OrderState(StrEnum):
    """SENDING is committed before the request leaves; UNKNOWN is an answer that was lost.

    OPEN covers new and partially filled. The last five are final.
    """

    SENDING = "sending"
    UNKNOWN = "unknown"
    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    NEVER_PLACED = "never_placed"

    @property
    def is_final(self) -> bool:
        return self not in {OrderState.SENDING, OrderState.UNKNOWN, OrderState.OPEN}


class TradingStateName(StrEnum):
    """FIX-like trading state of a scope; strictest wins. No row means HALTED."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"

    @property
    def strictness(self) -> int:
        return {"ACTIVE": 0, "REDUCING": 1, "HALTED": 2}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """What a venue allows for one symbol (USDT-margined linear perpetual).

    `delists_at` is when the venue stops trading it (market time; a far date where nothing is
    announced), `max_conditional_orders` how many conditional orders may rest on it. None is unknown.
    """

    venue: str
    symbol: str
    base: str
    is_trading: bool
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    max_market_quantity: Decimal
    min_notional: Decimal
    min_price: Decimal
    max_price: Decimal
    delists_at: datetime | None = None
    max_conditional_orders: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """One look at a market; `at` is market time of the venue's answer.

    `bid_quantity` and `ask_quantity` rest at the best prices (base units). `reference` is the rolling
    average of mark (trading.core.reference). `funding_rate` is what longs pay shorts at `funding_at`
    (ratio of notional, signed). None is unknown.
    """

    symbol: str
    mark: Decimal
    last: Decimal
    index: Decimal
    bid: Decimal
    ask: Decimal
    at: datetime
    bid_quantity: Decimal | None = None
    ask_quantity: Decimal | None = None
    reference: Decimal | None = None
    funding_rate: Decimal | None = None
    funding_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One candle; `open_at` is the bar's opening, market time."""

    open_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """What the door sends. Conditional orders have trigger_price; closing ones no quantity."""

    venue: str
    account: str
    symbol: str
    client_order_id: str
    side: Side
    order_type: OrderType
    quantity: Decimal | None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False
    close_position: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """What the venue says of one order. `executed_by` is the id of the ordinary order a
    triggered conditional became (its fills are booked under that id)."""

    symbol: str
    client_order_id: str
    venue_order_id: str
    state: OrderState
    is_conditional: bool
    side: Side
    quantity: Decimal | None
    filled_quantity: Decimal
    average_price: Decimal | None
    price: Decimal | None
    trigger_price: Decimal | None
    reduce_only: bool
    close_position: bool
    executed_by: str | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FillReport:
    """One execution at the venue. fee > 0 is paid; realised PnL is gross of fees."""

    symbol: str
    venue_fill_id: str
    venue_order_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    realised_pnl: Decimal
    is_maker: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionReport:
    """The venue's view of one position; quantity is signed, 0 is flat."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal | None
    mark_price: Decimal | None
    unrealised_pnl: Decimal
    liquidation_price: Decimal | None
    initial_margin: Decimal
    maintenance_margin: Decimal
    margin_mode: str | None
    leverage: int | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceReport:
    """USDT of a venue account: equity = wallet + unrealised PnL at mark."""

    wallet: Decimal
    equity: Decimal
    available: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomeReport:
    """One row of the venue's income ledger (funding, fee, realised PnL, transfer); signed USDT."""

    venue_income_id: str
    kind: str
    symbol: str
    amount: Decimal
    at: datetime


class OutcomeKind(StrEnum):
    """What a venue's answer to a request means. UNKNOWN is never a rejection."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    RETRY_SAFE = "retry_safe"
    THROTTLED = "throttled"
    STOP_TRADING = "stop_trading"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The classified answer to one order or cancel request.

    `report` is present when accepted. `code` is the venue's numeric code as text ("" if none),
    `retry_after` seconds where the venue gave them.
    """

    kind: OutcomeKind
    report: OrderReport | None = None
    code: str = ""
    text: str = ""
    retry_after: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketClock:
    """market_now = anchor + speed x (database clock - started); stands still while paused.

    In demo and live there is no such row and market time is the database's clock.
    """

    anchor_at: datetime
    started_at: datetime
    speed: int
    paused: bool

    def now(self, wall_at: datetime) -> datetime:
        if self.paused or wall_at <= self.started_at:
            return self.anchor_at
        return self.anchor_at + (wall_at - self.started_at) * self.speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Both clocks read in one statement (RISK.md, DECISIONS: market and wall time)."""

    wall_at: datetime
    market_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a trading state applies to: all, venue:V, account:A, strategy:S or symbol:X."""

    kind: str
    name: str = ""

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind
