"""The matching engine: market time and commands in, a book that adds up out.

Pure: no clock, no input or output, no randomness. Prices come from a feed that always gives the same
answer; time comes in as `advance(to)`. Equal feeds, equal commands at equal times give equal states.
"""

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from trading.simulator import conditionals, ledger, matching, settlement
from trading.simulator.errors import refusal
from trading.simulator.feed import STEP_MS, Feed, bar_path, scaled_to_decimal
from trading.simulator.instruments import INSTRUMENTS
from trading.simulator.state import CENT8, ZERO, Algo, Gap, Market, Order, State, decode, encode

_NO_GAP = Decimal(1)


class Engine:
    """State, feed and the commands that change the state; everything else is a plain function."""

    def __init__(self, feed: Feed, state: State) -> None:
        self.feed = feed
        self.state = state
        self._paths: dict[str, tuple[int, tuple[int, ...], Decimal]] = {}
        self._commands: dict[str, Callable[..., Any]] = {
            "place_order": self.place_order,
            "place_algo": self.place_algo,
            "amend_order": self.amend_order,
            "cancel_order": self.cancel_order,
            "cancel_algo": self.cancel_algo,
            "cancel_all": self.cancel_all,
            "cancel_all_algos": self.cancel_all_algos,
            "set_leverage": self.set_leverage,
            "set_margin_type": self.set_margin_type,
            "set_dual_side": self.set_dual_side,
            "set_multi_assets": self.set_multi_assets,
            "set_countdown": self.set_countdown,
            "deposit": self.deposit,
            "freeze": self.freeze,
            "gap": self.gap,
            "clear_gaps": self.clear_gaps,
        }

    @classmethod
    def start(cls, feed: Feed, *, at_ms: int, balance: Decimal) -> "Engine":
        """A new venue at a market time, with one account that holds a balance in USDT."""
        first_step = at_ms // STEP_MS * STEP_MS
        state = State(now_ms=at_ms, next_step_ms=first_step, data_ms=first_step, started_ms=at_ms)
        state.markets = {symbol: Market() for symbol in feed.symbols}
        engine = cls(feed, state)
        engine._step(first_step)
        state.next_step_ms = first_step + STEP_MS
        ledger.post_income(state, "TRANSFER", "", balance.quantize(CENT8))
        return engine

    @classmethod
    def restore(cls, feed: Feed, dumped: dict[str, Any]) -> "Engine":
        """The engine whose `dump` this is."""
        return cls(feed, decode(State, dumped))

    def dump(self) -> dict[str, Any]:
        """The state as JSON values."""
        dumped: dict[str, Any] = encode(self.state)
        return dumped

    def advance(self, to_ms: int) -> None:
        """Let market time pass; earlier times change nothing."""
        state = self.state
        while state.next_step_ms <= to_ms:
            at_ms = state.next_step_ms
            state.now_ms = max(state.now_ms, at_ms)
            state.next_step_ms += STEP_MS
            if not state.frozen:
                self._step(at_ms)
            if at_ms % settlement.FUNDING_MS == 0:
                settlement.settle_funding(state)
        state.now_ms = max(state.now_ms, to_ms)

    def jump(self, to_ms: int, markets: Mapping[str, Market]) -> None:
        """Stand at a step's moment with markets as the steps up to it would have left them.

        For who knows those markets (see `track`) and knows that on the way nothing that rests could
        have been reached; other symbols keep what they had.
        """
        state = self.state
        state.markets.update(markets)
        state.now_ms = state.data_ms = to_ms
        state.next_step_ms = to_ms + STEP_MS

    def apply(self, name: str, arguments: dict[str, Any]) -> Any:
        """Run a command by name with JSON values; raises VenueError and then leaves the state as it was."""
        return self._commands[name](**arguments)

    def _step(self, at_ms: int) -> None:
        state = self.state
        moved = [symbol for symbol in state.markets if self._update_price(symbol, at_ms)]
        if moved:
            state.data_ms = at_ms
        for symbol in moved:
            matching.match_resting(state, symbol)
            conditionals.trigger_algos(state, symbol)
        if state.positions:
            settlement.liquidate(state)

    def _update_price(self, symbol: str, at_ms: int) -> bool:
        """Read the step's price; False where the feed has none (before its start, after its end)."""
        found = self._path(symbol, at_ms)
        if found is None:
            return False
        opened, path, volume = found
        market = self.state.markets[symbol]
        ticks = path[(at_ms - opened) // STEP_MS]
        factor = gap_factor(self.state, symbol, at_ms)
        if factor != _NO_GAP:
            ticks = max(1, int((ticks * factor).to_integral_value(ROUND_HALF_EVEN)))
        market.previous = market.ticks or ticks
        market.falling = ticks < market.previous if ticks != market.previous else market.falling
        market.ticks, market.volume, market.traded_ms = ticks, volume, at_ms
        market.taken_buy = market.taken_sell = ZERO
        settlement.update_mark(self.state, symbol)
        return True

    def _path(self, symbol: str, at_ms: int) -> tuple[int, tuple[int, ...], Decimal] | None:
        """Opening time, path and volume per step of the candle that covers a moment."""
        opened = at_ms // self.feed.bar_ms * self.feed.bar_ms
        known = self._paths.get(symbol)
        if known and known[0] == opened:
            return known
        bar = self.feed.bar(symbol, at_ms)
        if bar is None:
            return None
        steps = self.feed.bar_ms // STEP_MS
        volume = scaled_to_decimal(bar.volume // steps)
        self._paths[symbol] = (opened, bar_path(bar, INSTRUMENTS[symbol], steps), volume)
        return self._paths[symbol]

    def place_order(self, **fields: Any) -> Order:
        return matching.place_order(self.state, decode(matching.OrderRequest, fields))

    def place_algo(self, **fields: Any) -> Algo:
        return conditionals.place_algo(self.state, decode(conditionals.AlgoRequest, fields))

    def amend_order(
        self, *, symbol: str, order_id: int, client_id: str, side: Any, quantity: str, price: str
    ) -> Order:
        order = matching.find_open(self.state, symbol, order_id, client_id)
        if order is None:
            raise refusal(-2013)
        return matching.amend_order(self.state, order, side, Decimal(quantity), Decimal(price))

    def cancel_order(self, *, symbol: str, order_id: int, client_id: str) -> Order:
        return matching.cancel_order(self.state, symbol, order_id, client_id)

    def cancel_algo(self, *, algo_id: int, client_id: str) -> Algo:
        return conditionals.cancel_algo(self.state, algo_id, client_id)

    def cancel_all(self, *, symbol: str) -> None:
        matching.cancel_all(self.state, symbol)

    def cancel_all_algos(self, *, symbol: str) -> None:
        conditionals.cancel_all_algos(self.state, symbol)

    def set_leverage(self, *, symbol: str, leverage: int) -> None:
        """Change the leverage; an isolated position's may only rise, and a band must allow what is held."""
        state, instrument = self.state, INSTRUMENTS[symbol]
        if not 1 <= leverage <= instrument.max_leverage:
            raise refusal(-4028, leverage)
        setting, position = state.setting(symbol), state.positions.get(symbol)
        if abs(ledger.notional(state, symbol)) > instrument.largest_notional(leverage):
            raise refusal(-2027)
        if position and position.quantity and setting.isolated and leverage < setting.leverage:
            raise refusal(-4161)
        before, setting.leverage = setting.leverage, leverage
        used = ledger.total_order_margin(state)
        used += sum((ledger.position_margin(state, s) for s in ledger.crossed_symbols(state)), ZERO)
        if leverage < before and used > ledger.cross_wallet(state) + ledger.cross_unrealised(state):
            setting.leverage = before
            raise refusal(-2028)

    def set_margin_type(self, *, symbol: str, isolated: bool) -> None:
        state = self.state
        setting, position = state.setting(symbol), state.positions.get(symbol)
        if setting.isolated == isolated:
            raise refusal(-4046)
        symbols = {order.symbol for order in state.orders.values()} | {
            algo.symbol for algo in state.algos.values()
        }
        if symbol in symbols:
            raise refusal(-4047)
        if position and position.quantity:
            raise refusal(-4048)
        setting.isolated = isolated

    def set_dual_side(self, *, dual: bool) -> None:
        state = self.state
        if state.dual_side == dual:
            raise refusal(-4059)
        if state.orders or state.algos:
            raise refusal(-4067)
        if any(position.quantity for position in state.positions.values()):
            raise refusal(-4068)
        state.dual_side = dual

    def set_multi_assets(self, *, multi: bool) -> None:
        state = self.state
        if state.multi_assets == multi:
            raise refusal(-4171)
        if multi and any(setting.isolated for setting in state.settings.values()):
            raise refusal(-4168)
        state.multi_assets = multi

    def set_countdown(self, *, symbol: str, deadline_ms: int) -> None:
        """Arm the dead-man timer of a symbol (wall time), or disarm it with zero; who keeps time fires it."""
        self.state.countdowns.pop(symbol, None)
        if deadline_ms:
            self.state.countdowns[symbol] = deadline_ms

    def deposit(self, *, amount: str) -> None:
        """Move money in (or out, negative) from outside."""
        ledger.post_income(self.state, "TRANSFER", "", Decimal(amount).quantize(CENT8))

    def freeze(self, *, frozen: bool) -> None:
        """Stop (or resume) all prices and candles while time goes on."""
        self.state.frozen = frozen

    def gap(self, *, symbol: str, ratio: str, seconds: int) -> None:
        """Move later prices of a symbol by a ratio (-0.1 is 10 % down), for some seconds or (0) for ever."""
        from_ms = self.state.next_step_ms
        until_ms = from_ms + seconds * 1000 if seconds else 0
        self.state.gaps.append(
            Gap(symbol=symbol, from_ms=from_ms, until_ms=until_ms, factor=1 + Decimal(ratio))
        )

    def clear_gaps(self) -> None:
        """End every gap at the next step; what it did to past prices stays."""
        for gap in self.state.gaps:
            if not gap.until_ms or gap.until_ms > self.state.next_step_ms:
                gap.until_ms = self.state.next_step_ms


def gap_factor(state: State, symbol: str, at_ms: int) -> Decimal:
    """What the feed's price of a symbol is multiplied by at a moment."""
    factor = _NO_GAP
    for gap in state.gaps:
        if gap.symbol == symbol and gap.from_ms <= at_ms and (not gap.until_ms or at_ms < gap.until_ms):
            factor *= gap.factor
    return factor
