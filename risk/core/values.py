"""The frozen values of judgement: what is asked, what is known, what is allowed.

Units as in trading.core.values: quantities in the base asset, money in USDT, ratios >= 0 (0.02 is
2 %), ages as timedelta. Whatever may be missing is `None`, and `None` denies whatever adds risk.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from risk.core.reasons import NONE, ReasonCode
from risk.core.working import Proof
from trading.core.values import (
    Environment,
    Instrument,
    OrderPurpose,
    OrderType,
    Prices,
    Side,
    TradingStateName,
)


class RiskLevel(StrEnum):
    """Global risk. CRITICAL denies new risk; so does an assessment that is too old."""

    OK = "OK"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"

    @property
    def severity(self) -> int:
        return {"OK": 0, "WARNING": 1, "CRITICAL": 2}[self.value]


class AnchorName(StrEnum):
    """The moments from which loss is measured (RISK.md part 1)."""

    DAY = "day"
    ROLLING_DAY = "rolling_day"
    WEEK = "week"
    ROLLING_WEEK = "rolling_week"


class PendingStage(StrEnum):
    """How far an entry that has not filled has come; every stage counts as filled at its worst."""

    APPROVED = "approved"
    SENDING = "sending"
    UNKNOWN = "unknown"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is asked. `source` "operator" marks a person's own reduce-only order."""

    intent_id: str
    account: str
    venue: str
    strategy: str
    symbol: str
    side: Side
    order_type: OrderType
    purpose: OrderPurpose
    quantity: Decimal
    price: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    reduce_only: bool
    signal_at: datetime
    source: str
    may_resize: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeState:
    """The trading state of one scope with the row version that the decision is fenced by."""

    scope: str
    state: TradingStateName
    row_id: int
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitFacts:
    """The account's active permit; `lease_expires_at` is wall time."""

    permit_id: int
    environment: Environment
    profile: str
    limit_set_digest: str
    fencing_token: int
    lease_expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceFacts:
    """Equity of the venue account; `read_at` is wall time, `market_at` the venue's."""

    wallet: Decimal
    equity: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    market_at: datetime
    read_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Equity at the start of a loss window and the net external flow since (USDT, signed).

    `is_first_sample`: nothing older was recorded, so the account's first sample is the anchor.
    """

    name: AnchorName
    equity: Decimal
    net_flow: Decimal
    at: datetime
    is_first_sample: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionFacts:
    """A position of the account. `stop_price` is None unless that stop was verified at the venue.

    `target_price` is what the entry that opened the position asked for; it is kept to the end.
    """

    venue: str
    symbol: str
    strategy: str
    quantity: Decimal
    mark: Decimal | None
    mark_at: datetime | None
    stop_price: Decimal | None
    target_price: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingFacts:
    """An entry that may still fill: the quantity is what is left of it."""

    intent_id: str
    venue: str
    symbol: str
    strategy: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    stop_loss: Decimal | None
    stage: PendingStage
    has_fills: bool
    mark: Decimal | None
    mark_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingFacts:
    """Leverage and margin mode of the symbol as last read back; `read_at` is wall time.

    `max_stop_ratio` is the widest stop, as a share of entry, that keeps liquidation at twice the
    stop distance under that leverage.
    """

    leverage: int
    margin_mode: str
    max_stop_ratio: Decimal | None
    read_at: datetime
    is_one_way: bool | None = None
    is_single_asset: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationFacts:
    """The last comparison with the venue; `finished_at` is wall time.

    `symbols` are those with a difference; "" stands for one that names no symbol.
    """

    symbols: tuple[str, ...]
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalRiskFacts:
    """The last assessment; `checked_at` is wall time."""

    level: RiskLevel
    checked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityFacts:
    """How often the strategy entered the symbol (RTS 6 art. 15: repeated execution throttle).

    `entries` are approved ones since `window_started_at` (market time, None before the first);
    `throttled_at` is set until a person re-enables. `last_signal_at` is the newest signal that an
    approved entry stood on, `last_side` its side ("" before the first).
    """

    entries: int
    window_started_at: datetime | None
    throttled_at: datetime | None
    last_signal_at: datetime | None
    last_side: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationFacts:
    """Correlation of two underlyings in [-1, 1], `first` < `second`; a pair that is absent counts as 1."""

    first: str
    second: str
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class AllotmentFacts:
    """The account's part of a limit that spans accounts: gross notional in the scope, USDT.

    Scopes: all, venue:V, strategy:S, symbol:X.
    """

    scope: str
    max_notional: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideFacts:
    """A limit of this account that people raised for a while; `limit` is a field of Limits."""

    override_id: int
    limit: str
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything the gate knows of one account at one moment, read by one statement.

    `account_version` is the version of the account's book that an approval swaps; `environment`
    is the desk's. `allowed_symbols` is the strategy's allow-list, None if it is not assigned.
    `messages_last_minute` are the requests of any kind sent to the venue in 60 s of wall time;
    `conditional_orders` rest on the order's symbol at its venue, or are on their way there.
    """

    wall_at: datetime
    market_at: datetime
    environment: Environment
    account_version: int
    account_environment: Environment | None
    states: tuple[ScopeState, ...]
    permit: PermitFacts | None
    allowed_symbols: tuple[str, ...] | None
    instrument: Instrument | None
    setting: SettingFacts | None
    prices: Prices | None
    balance: BalanceFacts | None
    anchors: tuple[Anchor, ...]
    positions: tuple[PositionFacts, ...]
    pending: tuple[PendingFacts, ...]
    orphan_protections: int
    entries_today: int | None
    reconciliation: ReconciliationFacts | None
    global_risk: GlobalRiskFacts | None
    messages_last_minute: int | None
    conditional_orders: int | None
    activity: ActivityFacts | None
    correlations: tuple[CorrelationFacts, ...]
    allotments: tuple[AllotmentFacts, ...]
    overrides: tuple[OverrideFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(Proof):
    """One immutable set of limits: a profile's numbers and what every profile shares.

    Money in USDT, ratios of 1, ages as durations. Source: PRODUCT.md's ladder and RISK.md.
    `reference_capital` is the approved capital C. Price and signal ages are market time, the
    others wall time. `digest` names the set; it is made of every other field.
    """

    digest: str
    profile: str
    reference_capital: Decimal
    max_position_notional: Decimal
    max_leverage: Decimal
    max_trade_risk_ratio: Decimal
    max_portfolio_risk_ratio: Decimal
    max_daily_loss_ratio: Decimal
    max_weekly_loss_ratio: Decimal
    max_positions: int
    max_trades_per_day: int
    max_margin_ratio: Decimal
    max_symbol_share_ratio: Decimal
    min_stop_ratio: Decimal
    max_stop_ratio: Decimal
    min_target_ratio: Decimal
    max_target_ratio: Decimal
    collar_ratio: Decimal
    passive_collar_ratio: Decimal
    taker_fee_ratio: Decimal
    major_slippage_ratio: Decimal
    other_slippage_ratio: Decimal
    max_orders_per_minute: int
    max_gross_exposure: Decimal
    max_net_exposure: Decimal
    max_bet_risk_ratio: Decimal
    bet_correlation: Decimal
    max_rolling_move_ratio: Decimal
    max_divergence_ratio: Decimal
    max_spread_ratio: Decimal
    max_depth_share_ratio: Decimal
    max_funding_ratio: Decimal
    max_maintenance_ratio: Decimal
    major_gap_ratio: Decimal
    other_gap_ratio: Decimal
    max_repeats: int
    repeat_window: timedelta
    funding_window: timedelta
    delisting_window: timedelta
    max_capital_loss_ratio: Decimal
    max_daily_drawdown_ratio: Decimal
    max_price_age: timedelta
    max_book_price_age: timedelta
    max_signal_age: timedelta
    max_balance_age: timedelta
    max_reconciliation_age: timedelta
    max_setting_age: timedelta
    max_global_risk_age: timedelta

    @property
    def capital_loss_stop_ratio(self) -> Decimal:
        """min(ceiling, 2 x weekly limit): 4, 7, 10, 10 % on the ladder (RISK.md part 1)."""
        twice, ceiling = self.max_weekly_loss_ratio + self.max_weekly_loss_ratio, self.max_capital_loss_ratio
        return twice if twice < ceiling else ceiling

    @property
    def daily_drawdown_stop_ratio(self) -> Decimal:
        """min(ceiling, 3 x daily limit): 1.5, 3, 5, 5 % on the ladder (RISK.md part 1)."""
        return min(self.max_daily_drawdown_ratio, 3 * self.max_daily_loss_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One reason to deny, with what was measured and the limit, as texts for people."""

    code: ReasonCode
    measured: str
    limit: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOutcome:
    """What one rule said: `none`, or the code of its breach."""

    rule: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The gate's answer. `breaches` are in the documented order of their codes, each code once.

    `max_quantity` is the largest quantity that would be allowed, exact to the lot; 0 if none is.
    `quantity` is what the answer is about: what was asked for or, where the strategy may be resized
    and only the size was too much, `max_quantity`; `resized_for` are then the breaches of the size
    asked for. `override_id` is the override without which it would be denied, 0 for none.
    """

    allowed: bool
    breaches: tuple[Breach, ...]
    outcomes: tuple[RuleOutcome, ...]
    max_quantity: Decimal
    quantity: Decimal
    resized_for: tuple[Breach, ...] = ()
    override_id: int = 0

    @property
    def reason(self) -> str:
        """The first breach's code, or "none"."""
        return self.breaches[0].code.value if self.breaches else NONE
