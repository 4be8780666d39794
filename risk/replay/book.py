"""The account of a replay: the engine's state and what a desk would know beside it, as the gate's facts."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from risk.core.rules.case import list_scopes
from risk.core.values import (
    ActivityFacts,
    AllotmentFacts,
    BalanceFacts,
    GlobalRiskFacts,
    Intent,
    Limits,
    PermitFacts,
    PositionFacts,
    ReconciliationFacts,
    RiskLevel,
    ScopeState,
    SettingFacts,
    Snapshot,
)
from risk.exposure import Exposure
from risk.replay.curve import DAY_MS, Curve
from risk.replay.returns import HourlyReturns
from risk.replay.tape import Tape, to_time
from risk.replay.values import VENUE
from trading.core.margin import SAFETY_MULTIPLE, Bracket, find_bracket, liquidation_distance_ratio
from trading.core.values import Environment, Instrument, Prices, Side, TradingStateName
from trading.simulator import ledger
from trading.simulator.book import best_prices, levels
from trading.simulator.engine import Engine
from trading.simulator.filters import MAX_ALGO_ORDERS
from trading.simulator.instruments import INSTRUMENTS
from trading.simulator.settlement import FUNDING_MS, funding_rate
from trading.simulator.state import ZERO

MINUTE_MS = 60_000
# Nothing that is replayed was ever announced to be delisted.
NEVER = datetime(2100, 1, 1, tzinfo=UTC)
LEASE = timedelta(minutes=1)
RATIO_PLACES = Decimal("1e-8")


@dataclass(slots=True, kw_only=True)
class Owned:
    """An open position's owner and protection; `stop` None is not resting at the venue."""

    strategy: str
    intent_id: str
    side: Side
    opened_ms: int
    stop: Decimal | None
    target: Decimal | None


@dataclass(slots=True, kw_only=True)
class Activity:
    """Counts a strategy's entries in a symbol as the approving statement does."""

    entries: int = 0
    window_ms: int | None = None
    throttled_ms: int | None = None
    last_signal_ms: int | None = None
    last_side: str = ""

    def note(self, at_ms: int, side: Side, limits: Limits) -> None:
        """One approved entry; from the limit on the strategy stays throttled, as no person is there."""
        if self.window_ms is None or at_ms - self.window_ms >= limits.repeat_window.total_seconds() * 1000:
            self.window_ms, self.entries = at_ms, 0
        self.entries += 1
        self.last_signal_ms, self.last_side = at_ms, side.value
        if self.entries >= limits.max_repeats:
            self.throttled_ms = at_ms

    def as_facts(self) -> ActivityFacts:
        return ActivityFacts(
            entries=self.entries,
            window_started_at=_optional_time(self.window_ms),
            throttled_at=_optional_time(self.throttled_ms),
            last_signal_at=_optional_time(self.last_signal_ms),
            last_side=self.last_side,
        )


class Account:
    """One account at one venue, and the one function that shows it to the gate."""

    def __init__(self, engine: Engine, tape: Tape, limits: Limits, exposure: Exposure, at_ms: int) -> None:
        self.engine, self.tape, self.limits = engine, tape, limits
        self.curve = Curve(at_ms, engine.state.wallet)
        self.returns = HourlyReturns(tape)
        self.owned: dict[str, Owned] = {}
        self.settings: dict[str, SettingFacts] = {}
        self.activity: dict[tuple[str, str], Activity] = {}
        self.state = TradingStateName.ACTIVE
        self.level = RiskLevel.OK
        self.version = 1
        self._exposure = exposure
        self._entries: tuple[int, int] = (0, 0)
        self._messages: deque[tuple[int, int]] = deque()
        self._refusals: deque[int] = deque()
        self._balance: tuple[tuple[int, int], BalanceFacts] | None = None
        self._instruments = {symbol: describe(symbol) for symbol in tape.symbols}

    # What is noted ------------------------------------------------------------------------------

    def note_messages(self, at_ms: int, count: int) -> None:
        self._messages.append((at_ms, count))

    def note_refusal(self, at_ms: int) -> None:
        """The venue refused an order that the gate had allowed."""
        self._refusals.append(at_ms)

    def note_entry(self, at_ms: int) -> None:
        """An entry had its first fill."""
        self._entries = (at_ms // DAY_MS, self.entries_today(at_ms) + 1)

    # What is known ------------------------------------------------------------------------------

    def entries_today(self, at_ms: int) -> int:
        day, count = self._entries
        return count if day == at_ms // DAY_MS else 0

    def messages(self, at_ms: int) -> int:
        """Requests sent to the venue within the last 60 s of market time."""
        while self._messages and self._messages[0][0] <= at_ms - MINUTE_MS:
            self._messages.popleft()
        return sum(count for _, count in self._messages)

    def refusals(self, at_ms: int, window: timedelta) -> int:
        """Refused orders within the window."""
        while self._refusals and self._refusals[0] <= at_ms - window.total_seconds() * 1000:
            self._refusals.popleft()
        return len(self._refusals)

    def instrument(self, symbol: str) -> Instrument:
        return self._instruments[symbol]

    def held(self, symbol: str) -> Decimal:
        position = self.engine.state.positions.get(symbol)
        return ZERO if position is None else position.quantity

    def equity(self) -> Decimal:
        """Wallet + unrealised profit at mark, USDT."""
        state = self.engine.state
        return state.wallet + sum((ledger.unrealised(state, symbol) for symbol in self.owned), ZERO)

    def prices(self, symbol: str, number: int) -> Prices:
        """What the venue's market endpoints would answer when this bar opens."""
        state, instrument = self.engine.state, INSTRUMENTS[symbol]
        market, at_ms = state.markets[symbol], self.tape.at_ms(number)
        bid, ask = best_prices(market, instrument)
        _, bid_quantity = next(levels(market, instrument, "SELL"))
        _, ask_quantity = next(levels(market, instrument, "BUY"))
        return Prices(
            symbol=symbol,
            mark=market.mark,
            last=ledger.last(state, symbol),
            index=market.index,
            bid=bid,
            ask=ask,
            at=to_time(at_ms),
            bid_quantity=bid_quantity,
            ask_quantity=ask_quantity,
            reference=self.tape.reference(symbol, number),
            funding_rate=funding_rate(state, symbol),
            funding_at=to_time((at_ms // FUNDING_MS + 1) * FUNDING_MS),
        )

    def positions(self, at_ms: int) -> Iterator[PositionFacts]:
        state = self.engine.state
        for symbol, owned in sorted(self.owned.items()):
            yield PositionFacts(
                venue=VENUE,
                symbol=symbol,
                strategy=owned.strategy,
                quantity=state.positions[symbol].quantity,
                mark=state.markets[symbol].mark,
                mark_at=to_time(at_ms),
                stop_price=owned.stop,
                target_price=owned.target,
            )

    def balance(self, at_ms: int) -> BalanceFacts:
        """Read once a moment and version: the marks of what is held do not move in between."""
        key = (at_ms, self.version)
        if self._balance is None or self._balance[0] != key:
            self._balance = (key, self._read_balance(at_ms))
        return self._balance[1]

    def _read_balance(self, at_ms: int) -> BalanceFacts:
        state, at = self.engine.state, to_time(at_ms)
        return BalanceFacts(
            wallet=state.wallet,
            equity=self.equity(),
            initial_margin=sum((ledger.position_margin(state, symbol) for symbol in self.owned), ZERO)
            + ledger.total_order_margin(state),
            maintenance_margin=sum((ledger.maintenance(state, symbol) for symbol in self.owned), ZERO),
            market_at=at,
            read_at=at,
        )

    def snapshot(self, intent: Intent, number: int, allowed: tuple[str, ...]) -> Snapshot:
        """Everything the gate asks for, of the moment when bar `number` opens.

        Market and wall time are one here, everything was read just now, and nothing is pending: market
        orders fill or expire at once. The account has the desk's limits to itself.
        """
        at_ms, symbol = self.tape.at_ms(number), intent.symbol
        at, limits = to_time(at_ms), self.limits
        algos = sum(algo.symbol == symbol for algo in self.engine.state.algos.values())
        setting = self.settings.get(symbol)
        return Snapshot(
            wall_at=at,
            market_at=at,
            environment=Environment.PAPER,
            account_version=self.version,
            account_environment=Environment.PAPER,
            states=self._states(intent),
            permit=PermitFacts(
                permit_id=1,
                environment=Environment.PAPER,
                profile=limits.profile,
                limit_set_digest=limits.digest,
                fencing_token=1,
                lease_expires_at=at + LEASE,
            ),
            allowed_symbols=allowed,
            instrument=self._instruments[symbol],
            setting=setting,
            prices=self.prices(symbol, number),
            balance=self.balance(at_ms),
            anchors=self.curve.anchors(at_ms),
            positions=tuple(self.positions(at_ms)),
            pending=(),
            orphan_protections=0 if symbol in self.owned else algos,
            entries_today=self.entries_today(at_ms),
            reconciliation=ReconciliationFacts(symbols=(), finished_at=at),
            global_risk=GlobalRiskFacts(level=self.level, checked_at=at),
            messages_last_minute=self.messages(at_ms),
            conditional_orders=algos,
            activity=self.activity.get((intent.strategy, symbol), Activity()).as_facts(),
            correlations=self.returns.correlations(at_ms),
            allotments=tuple(self._allotments(intent)),
            overrides=(),
        )

    def _states(self, intent: Intent) -> tuple[ScopeState, ...]:
        own = f"account:{intent.account}"
        return tuple(
            ScopeState(
                scope=scope,
                state=self.state if scope == own else TradingStateName.ACTIVE,
                row_id=number,
                version=1,
            )
            for number, scope in enumerate(list_scopes(intent), start=1)
        )

    def _allotments(self, intent: Intent) -> Iterator[AllotmentFacts]:
        own = (f"venue:{intent.venue}", f"strategy:{intent.strategy}", f"symbol:{intent.symbol}")
        for scope in ("all", *own):
            yield AllotmentFacts(scope=scope, max_notional=self._exposure.limit_of(scope))


def describe(symbol: str) -> Instrument:
    """The venue's instrument in our words."""
    known = INSTRUMENTS[symbol]
    return Instrument(
        venue=VENUE,
        symbol=symbol,
        base=known.base,
        is_trading=True,
        tick_size=known.tick,
        lot_size=known.step,
        min_quantity=known.min_quantity,
        max_quantity=known.max_quantity,
        max_market_quantity=known.max_market_quantity,
        min_notional=known.min_notional,
        min_price=known.min_price,
        max_price=known.max_price,
        delists_at=NEVER,
        max_conditional_orders=MAX_ALGO_ORDERS,
    )


def list_brackets(symbol: str) -> tuple[Bracket, ...]:
    return tuple(
        Bracket(
            notional_cap=band.notional_cap,
            maintenance_ratio=band.maintenance_ratio,
            maintenance_amount=band.maintenance_amount,
            max_leverage=band.max_leverage,
        )
        for band in INSTRUMENTS[symbol].brackets
    )


def describe_setting(symbol: str, leverage: int, notional: Decimal, at_ms: int) -> SettingFacts:
    """What is read back after the venue took a leverage for positions up to `notional` (USDT)."""
    bracket = find_bracket(list_brackets(symbol), notional)
    widest = None
    if bracket is not None:
        nearest = min(
            liquidation_distance_ratio(side=side, leverage=leverage, notional=notional, bracket=bracket)
            for side in Side
        )
        widest = (nearest / SAFETY_MULTIPLE).quantize(RATIO_PLACES, rounding=ROUND_DOWN)
    return SettingFacts(
        leverage=leverage,
        margin_mode="isolated",
        max_stop_ratio=widest,
        read_at=to_time(at_ms),
        is_one_way=True,
        is_single_asset=True,
    )


def _optional_time(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else to_time(at_ms)
