"""What a replay is asked for and what it finds; money in USDT, ratios of 1, moments in ms of market time."""

from dataclasses import dataclass
from decimal import Decimal

from risk.core.global_risk import GlobalRiskLimits
from risk.core.values import Breach, Decision, Intent, Limits, RiskLevel, Snapshot
from risk.exposure import Exposure
from trading.core.values import OrderPurpose, Side, TradingStateName
from trading.strategies import Strategy

VENUE = "binanceusdm"
ACCOUNT = "replay"
HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A position that is opened, through the gate, and then left to its stop and its target."""

    symbol: str
    side: Side
    notional: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to replay a candle set with. `hold_ms` None is the first moment at which anything is judged.

    Judged are the moments from `since_ms` to `until_ms`, None being all that the candles allow; earlier
    candles are history. `keeps_inputs` keeps what every decision was made of, for the impact of other limits.
    """

    limits: Limits
    strategies: tuple[Strategy, ...]
    balance: Decimal
    exposure: Exposure
    global_limits: GlobalRiskLimits
    holds: tuple[Hold, ...] = ()
    hold_ms: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    keeps_inputs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """One decision of the gate, and the venue's refusal of an order that was allowed ("" if none)."""

    at_ms: int
    intent_id: str
    strategy: str
    symbol: str
    side: Side
    purpose: OrderPurpose
    asked: Decimal
    mark: Decimal
    decision: Decision
    refusal: str = ""
    inputs: tuple[Intent, Snapshot] | None = None

    @property
    def breaches(self) -> tuple[Breach, ...]:
        return self.decision.breaches

    @property
    def reason(self) -> str:
        """The first breach's code, or "none"."""
        return self.decision.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One position from flat to flat; net = gross - fees + funding + insurance.

    `closed_by` is exit, stop, target, safety or liquidation, and open at the end of the candles (then
    closed_ms is that end and gross counts what is open at mark). `risk` is R at entry; `slippage` is
    how far, as a ratio, a stop filled beyond its trigger (0 where it was not the stop).
    """

    strategy: str
    symbol: str
    side: Side
    intent_id: str
    opened_ms: int
    closed_ms: int
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    gross: Decimal
    fees: Decimal
    funding: Decimal
    insurance: Decimal
    risk: Decimal
    slippage: Decimal
    closed_by: str

    @property
    def net(self) -> Decimal:
        return self.gross - self.fees + self.funding + self.insurance


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """From this moment on global risk had this level for these reasons."""

    at_ms: int
    level: RiskLevel
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """From this moment on the account had this trading state."""

    at_ms: int
    state: TradingStateName
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The largest share of each limit in use within one span of time that ends at `at_ms`; 1 is all of it."""

    at_ms: int
    shares: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything a replay found. `equity` holds a point wherever it changed, the first is the start.

    `totals` are the sums of the venue's income ledger by kind, deposit included; `bars` counts the
    candles of all symbols between the start and the end.
    """

    plan: Plan
    candles_digest: str
    symbols: tuple[str, ...]
    bar_ms: int
    started_ms: int
    ended_ms: int
    bars: int
    equity: tuple[tuple[int, Decimal], ...]
    totals: dict[str, Decimal]
    unrealised: Decimal
    rulings: tuple[Ruling, ...]
    trips: tuple[Trip, ...]
    stretches: tuple[Stretch, ...]
    states: tuple[StateChange, ...]
    uses: tuple[Use, ...]
