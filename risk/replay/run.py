"""The loop: bar by bar, from what is touched to what is wanted; jumps over whatever cannot matter."""

import gc
from collections.abc import Iterator

import numpy as np

from risk.replay.book import Account
from risk.replay.desk import Desk
from risk.replay.returns import HOUR_MS
from risk.replay.tape import ClosedBars, Tape, to_time
from risk.replay.values import Plan, Result
from risk.replay.watch import Watch
from trading.simulator import settlement
from trading.simulator.engine import Engine
from trading.simulator.feed import STEP_MS
from trading.simulator.state import Algo
from trading.simulator.track import Track, to_price
from trading.strategies import Enter, Holding, Leave, Strategy, View
from trading.strategies.protocol import Flags, Scanner

# Before this much is known, volatility and value at risk are not, and whatever is unknown denies.
HISTORY_MS = 50 * HOUR_MS
# The history may take this part of the candles at most.
HISTORY_SHARE = 4
SAMPLES = 400
# A track's prices are floats: what comes so near to a trigger is stepped through, and the engine decides.
NEAR = 1e-7


class Replay:
    """One run over one tape; deterministic."""

    def __init__(self, tape: Tape, plan: Plan) -> None:
        self.tape, self.plan = tape, plan
        self.first, self.last = find_first(tape, plan), find_last(tape, plan)
        at_ms = tape.at_ms(self.first)
        self.engine = Engine.start(tape.feed, at_ms=at_ms, balance=plan.balance)
        self.account = Account(self.engine, tape, plan.limits, plan.exposure, at_ms)
        self.desk = Desk(self.account, tape, plan)
        spacing = max(tape.bar_ms, (tape.at_ms(self.last) - at_ms) // SAMPLES)
        self.watch = Watch(self.account, plan, at_ms, spacing)
        self._pairs = tuple(
            (strategy, symbol)
            for strategy in sorted(plan.strategies, key=lambda item: item.name)
            for symbol in tape.symbols
        )
        self._flags = {pair_key(pair): self._scan(*pair) for pair in self._pairs}
        self._busy = self._list_busy()
        self._stood: dict[str, int] = {}

    def run(self) -> Result:
        hold_at = self.first if self.plan.hold_ms is None else self.tape.number_at(self.plan.hold_ms)
        self.desk.settle()
        for number in range(self.first, self.last + 1):
            if self.account.owned:
                self._pass(number)
            self.watch.look(self.tape.at_ms(number))
            if number == max(hold_at, self.first):
                self._open_holds(number)
            if self.account.owned or self._busy[number]:
                self._trade(number)
        return self._finish()

    # Time ---------------------------------------------------------------------------------------

    def _pass(self, number: int) -> None:
        """Let one bar go by while something is held: a jump, or step by step where a trigger is near."""
        at_ms = self.tape.at_ms(number)
        if self._is_eventful(number - 1) or self._could_trip(number - 1):
            self._walk(number, at_ms)
        else:
            held = tuple(self.account.owned)
            self.engine.jump(at_ms, {symbol: self.tape.tracks[symbol].market(number) for symbol in held})
            if at_ms % settlement.FUNDING_MS == 0:
                settlement.settle_funding(self.engine.state)
            self._stood.update(dict.fromkeys(held, number))
            self.desk.settle()

    def _walk(self, number: int, at_ms: int) -> None:
        """Step through the bar that ends now, and look at the account at every step."""
        self._stand(number - 1, self.tape.symbols)
        for step_ms in range(self.engine.state.next_step_ms, at_ms + 1, STEP_MS):
            self.engine.advance(step_ms)
            self.desk.settle()
            if step_ms < at_ms:
                self.watch.look(step_ms)
        self._stood = dict.fromkeys(self.tape.symbols, number)

    def _is_eventful(self, number: int) -> bool:
        """Whether anything that rests could be reached between this bar's opening and the next one's."""
        state = self.engine.state
        if state.orders or settlement.FUNDING_MS % self.tape.bar_ms:
            return True
        if any(owned.stop is None for owned in self.account.owned.values()):
            return True
        return any(is_near(algo, self.tape.tracks[algo.symbol], number) for algo in state.algos.values())

    def _could_trip(self, number: int) -> bool:
        """Whether equity could come as far as the stop between this bar's opening and the next one's."""
        low = high = self.account.equity()
        for symbol in self.account.owned:
            track, position = self.tape.tracks[symbol], self.account.held(symbol)
            mark = self.engine.state.markets[symbol].mark
            ends = [
                position * (to_price(float(bound[number])) - mark) for bound in (track.lowest, track.highest)
            ]
            low, high = low + min(ends), high + max(ends)
        return self.watch.could_trip(low, high)

    def _stand(self, number: int, symbols: tuple[str, ...]) -> None:
        """Put the engine's markets where they are when this bar opens."""
        behind = [symbol for symbol in symbols if self._stood.get(symbol) != number]
        self.engine.jump(self.tape.at_ms(number), {s: self.tape.market(s, number) for s in behind})
        self._stood.update(dict.fromkeys(behind, number))

    # Wishes -------------------------------------------------------------------------------------

    def _scan(self, strategy: Strategy, symbol: str) -> Flags:
        """Per bar: might the strategy want to enter when it opens? What cannot scan is always asked."""
        count = self.tape.count
        if not isinstance(strategy, Scanner):
            return np.ones(count, dtype=np.bool_)
        closed = strategy.may_enter(self.tape.closes[symbol][: count - 1])
        return np.concatenate((np.zeros(1, dtype=np.bool_), closed))

    def _list_busy(self) -> Flags:
        busy = np.zeros(self.tape.count, dtype=np.bool_)
        for flags in self._flags.values():
            busy |= flags
        return busy

    def _open_holds(self, number: int) -> None:
        for wanted in self.plan.holds:
            self._stand(number, (wanted.symbol,))
            self.desk.hold(number, wanted)

    def _trade(self, number: int) -> None:
        for strategy, symbol in self._due(number):
            owned = self.account.owned.get(symbol)
            is_mine = owned is not None and owned.strategy == strategy.name
            signal = strategy.propose(self._view(strategy, symbol, number, is_mine=is_mine))
            if signal is None:
                continue
            self._stand(number, (symbol,))
            if isinstance(signal, Enter):
                self.desk.enter(number, strategy.name, symbol, signal)
            elif isinstance(signal, Leave) and is_mine:
                self.desk.leave(number, symbol)

    def _due(self, number: int) -> Iterator[tuple[Strategy, str]]:
        """In the trading cycle's order: who holds is always asked, who does not where it might enter."""
        for strategy, symbol in self._pairs:
            owned = self.account.owned.get(symbol)
            if (owned is not None and owned.strategy == strategy.name) or self._flags[strategy.name, symbol][
                number
            ]:
                yield strategy, symbol

    def _view(self, strategy: Strategy, symbol: str, number: int, *, is_mine: bool) -> View:
        start = max(0, number - strategy.lookback)
        return View(
            symbol=symbol,
            bars=ClosedBars(self.tape.columns[symbol], start, number),
            holding=self._holding(symbol) if is_mine else None,
            market_at=to_time(self.tape.at_ms(number)),
            known_closes=self.tape.closes[symbol][start:number],
        )

    def _holding(self, symbol: str) -> Holding:
        owned, position = self.account.owned[symbol], self.engine.state.positions[symbol]
        return Holding(
            side=owned.side,
            quantity=abs(position.quantity),
            entry_price=position.cost / position.quantity,
            opened_at=to_time(owned.opened_ms),
        )

    # The end ------------------------------------------------------------------------------------

    def _finish(self) -> Result:
        last = self.last
        self._stand(last, tuple(self.account.owned))
        self.watch.look(self.tape.at_ms(last))
        equity, wallet = self.account.equity(), self.engine.state.wallet
        self.desk.trips.finish(self.engine.state)
        curve = self.account.curve
        return Result(
            plan=self.plan,
            candles_digest=self.tape.digest,
            symbols=self.tape.symbols,
            bar_ms=self.tape.bar_ms,
            started_ms=self.tape.at_ms(self.first),
            ended_ms=self.tape.at_ms(last),
            bars=(last - self.first) * len(self.tape.symbols),
            equity=tuple(zip(curve.times, curve.values, strict=True)),
            totals=dict(self.desk.trips.totals),
            unrealised=equity - wallet,
            rulings=tuple(self.desk.rulings),
            trips=tuple(self.desk.trips.trips),
            stretches=tuple(self.watch.stretches),
            states=tuple(self.watch.states),
            uses=tuple(self.watch.uses),
        )


def run_replay(tape: Tape, plan: Plan) -> Result:
    """Without the collector of cycles: a replay makes many values, none of which refers back."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return Replay(tape, plan).run()
    finally:
        if was_enabled:
            gc.enable()


def pair_key(pair: tuple[Strategy, str]) -> tuple[str, str]:
    return pair[0].name, pair[1]


def find_first(tape: Tape, plan: Plan) -> int:
    """The first bar that is judged: history first, but at most a part of the candles unless it is stated."""
    lookback = max((strategy.lookback for strategy in plan.strategies), default=1)
    history = min(-(-HISTORY_MS // tape.bar_ms), tape.count // HISTORY_SHARE)
    wanted = history if plan.since_ms is None else tape.number_at(plan.since_ms)
    return min(max(lookback, wanted, 1), tape.count - 1)


def find_last(tape: Tape, plan: Plan) -> int:
    """The last bar whose opening is judged; at its end nothing more is known."""
    if plan.until_ms is None:
        return tape.count - 1
    return max(min(tape.number_at(plan.until_ms), tape.count - 1), find_first(tape, plan))


def is_near(algo: Algo, track: Track, number: int) -> bool:
    """Whether mark comes as far as the trigger, or nearly, while this bar goes by."""
    upwards = (algo.side == "BUY") == algo.type.startswith("STOP")
    trigger = float(algo.trigger_price)
    if upwards:
        return bool(track.highest[number] >= trigger * (1 - NEAR))
    return bool(track.lowest[number] <= trigger * (1 + NEAR))
