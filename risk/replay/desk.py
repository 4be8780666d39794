"""Acts for the account: wishes become intents, the gate judges them, then the engine gets orders."""

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from risk.core import gate
from risk.core.measures import entry_price, entry_risk
from risk.core.values import Decision, Intent
from risk.replay.book import Account, Activity, Owned, describe_setting, list_brackets
from risk.replay.tape import Tape, to_time
from risk.replay.trips import SAFETY, TripBook
from risk.replay.values import ACCOUNT, HOLD, VENUE, Hold, Plan, Ruling
from trading.core.margin import choose_leverage
from trading.core.sizing import plan_entry
from trading.core.values import OrderPurpose, OrderType, Side
from trading.simulator.errors import VenueError
from trading.strategies import Enter

# Entries ask for a little less than the cap, as the trading cycle does.
CAP_SHARE = Decimal("0.97")
# An entry is itself, a stop and a target; an exit is itself and the cancels of both.
ENTRY_MESSAGES = EXIT_MESSAGES = 3
SETTING_MESSAGES = 2
# A hold is protected like the reference strategies, as far as the profile's bands allow.
HOLD_STOP, HOLD_TARGET = Decimal("0.025"), Decimal("0.1")


class Desk:
    """Everything that sends goes through `_judge` first."""

    def __init__(self, account: Account, tape: Tape, plan: Plan) -> None:
        self.account, self.tape, self.plan = account, tape, plan
        self.trips = TripBook()
        self.rulings: list[Ruling] = []
        self._allowed = tape.symbols

    def enter(self, number: int, strategy: str, symbol: str, signal: Enter) -> None:
        """Size, protect and ask as the trading cycle does; the engine's market stands at the bar."""
        cap = self.plan.limits.max_position_notional * CAP_SHARE
        self._enter(number, strategy, symbol, signal, cap, may_resize=False)

    def hold(self, number: int, wanted: Hold) -> None:
        """Open a position to be kept; the gate may make it smaller, or deny it."""
        limits = self.plan.limits
        signal = Enter(
            side=wanted.side,
            stop_ratio=min(max(HOLD_STOP, limits.min_stop_ratio), limits.max_stop_ratio),
            target_ratio=min(max(HOLD_TARGET, limits.min_target_ratio), limits.max_target_ratio),
            reason=HOLD,
        )
        self._enter(number, HOLD, wanted.symbol, signal, wanted.notional, may_resize=True)

    def _enter(
        self, number: int, strategy: str, symbol: str, signal: Enter, cap: Decimal, *, may_resize: bool
    ) -> None:
        account, at_ms = self.account, self.tape.at_ms(number)
        self._prepare(symbol, signal, at_ms)
        plan = plan_entry(
            side=signal.side,
            reference_price=account.engine.state.markets[symbol].mark,
            notional_cap=cap,
            stop_ratio=signal.stop_ratio,
            target_ratio=signal.target_ratio,
            instrument=account.instrument(symbol),
        )
        intent = self._intent(
            at_ms,
            strategy,
            symbol,
            signal.side,
            plan.quantity,
            stop_loss=plan.stop_loss,
            take_profit=plan.take_profit,
            may_resize=may_resize,
        )
        decision = self._judge(number, intent)
        if decision.allowed:
            self._send_entry(number, intent, decision)

    def leave(self, number: int, symbol: str) -> None:
        """Ask to close the strategy's whole position; what is HALTED keeps it, with its protection."""
        account, at_ms = self.account, self.tape.at_ms(number)
        owned, quantity = account.owned[symbol], abs(account.held(symbol))
        intent = self._intent(at_ms, owned.strategy, symbol, owned.side.opposite, quantity, reduce_only=True)
        if self._judge(number, intent).allowed:
            self._close(intent.intent_id[-12:], symbol, owned.side.opposite, quantity)
            account.note_messages(at_ms, EXIT_MESSAGES)
            self.settle()

    def settle(self) -> None:
        """Book what the engine did, and cancel what rests of positions that are gone."""
        account = self.account
        for symbol in self.trips.collect(account.engine.state):
            account.engine.cancel_all_algos(symbol=symbol)
            account.owned.pop(symbol, None)
        account.version += 1

    # ------------------------------------------------------------------------------------------

    def _intent(
        self,
        at_ms: int,
        strategy: str,
        symbol: str,
        side: Side,
        quantity: Decimal,
        *,
        stop_loss: Decimal | None = None,
        take_profit: Decimal | None = None,
        reduce_only: bool = False,
        may_resize: bool = False,
    ) -> Intent:
        return Intent(
            intent_id=str(UUID(int=len(self.rulings) + 1)),
            account=ACCOUNT,
            venue=VENUE,
            strategy=strategy,
            symbol=symbol,
            side=side,
            order_type=OrderType.MARKET,
            purpose=OrderPurpose.EXIT if reduce_only else OrderPurpose.ENTRY,
            quantity=quantity,
            price=None,
            stop_loss=stop_loss,
            take_profit=take_profit,
            reduce_only=reduce_only,
            signal_at=to_time(at_ms),
            source="strategy",
            may_resize=may_resize,
        )

    def _judge(self, number: int, intent: Intent) -> Decision:
        snapshot = self.account.snapshot(intent, number, self._allowed)
        decision = gate.decide(intent, snapshot, self.plan.limits)
        self.rulings.append(
            Ruling(
                at_ms=self.tape.at_ms(number),
                intent_id=intent.intent_id,
                strategy=intent.strategy,
                symbol=intent.symbol,
                side=intent.side,
                purpose=intent.purpose,
                asked=intent.quantity,
                mark=self.account.engine.state.markets[intent.symbol].mark,
                decision=decision,
                inputs=(intent, snapshot) if self.plan.keeps_inputs else None,
            )
        )
        return decision

    def _prepare(self, symbol: str, signal: Enter, at_ms: int) -> None:
        """Isolated margin and the largest leverage that is safe for this stop, unless it is set already."""
        account, limits = self.account, self.plan.limits
        # The gate measures the stop from the far edge of the collar.
        room = (signal.stop_ratio + limits.collar_ratio) / (1 - limits.collar_ratio)
        known = account.settings.get(symbol)
        is_safe = known is not None and (known.max_stop_ratio or 0) >= room
        if symbol in account.owned:
            return
        if not is_safe:
            self._set_leverage(symbol, room, at_ms)
        elif known is not None:
            account.settings[symbol] = replace(known, read_at=to_time(at_ms))

    def _set_leverage(self, symbol: str, room: Decimal, at_ms: int) -> None:
        account, limits = self.account, self.plan.limits
        leverage = choose_leverage(
            brackets=list_brackets(symbol),
            notional=limits.max_position_notional,
            stop_distance_ratio=room,
            leverage_cap=int(limits.max_leverage),
        )
        if leverage is None:
            return
        if not account.engine.state.setting(symbol).isolated:
            account.engine.set_margin_type(symbol=symbol, isolated=True)
        account.engine.set_leverage(symbol=symbol, leverage=leverage)
        account.note_messages(at_ms, SETTING_MESSAGES)
        account.settings[symbol] = describe_setting(symbol, leverage, limits.max_position_notional, at_ms)

    def _send_entry(self, number: int, intent: Intent, decision: Decision) -> None:
        account, at_ms = self.account, self.tape.at_ms(number)
        key = (intent.strategy, intent.symbol)
        account.activity.setdefault(key, Activity()).note(at_ms, intent.side, self.plan.limits)
        joins = intent.symbol in account.owned
        if not joins:
            self.trips.begin(
                intent.symbol,
                strategy=intent.strategy,
                intent_id=intent.intent_id,
                side=intent.side,
                risk=self._risk(intent, decision.quantity),
                at_ms=at_ms,
            )
        if not self._fill(intent, decision.quantity):
            return
        account.note_messages(at_ms, ENTRY_MESSAGES)
        account.note_entry(at_ms)
        if joins:
            # The same stop and target, for all that is held now.
            account.engine.cancel_all_algos(symbol=intent.symbol)
        self._protect(intent, account.owned[intent.symbol].opened_ms if joins else at_ms)
        self.settle()

    def _risk(self, intent: Intent, quantity: Decimal) -> Decimal:
        mark, limits = self.account.engine.state.markets[intent.symbol].mark, self.plan.limits
        entry = entry_price(intent.side, None, mark, limits)
        return entry_risk(intent.symbol, quantity, entry, intent.stop_loss, limits)

    def _fill(self, intent: Intent, quantity: Decimal) -> bool:
        """Send the entry; False where the venue refuses it or nothing fills."""
        try:
            order = self.account.engine.place_order(
                symbol=intent.symbol,
                side=intent.side.name,
                type="MARKET",
                quantity=str(quantity),
                client_id=f"e{intent.intent_id[-12:]}",
            )
        except VenueError as error:
            self._note_refusal(error)
            return False
        return order.executed > 0

    def _note_refusal(self, error: VenueError) -> None:
        self.account.note_refusal(self.rulings[-1].at_ms)
        self.rulings[-1] = replace(self.rulings[-1], refusal=f"{error.code} {error.text}")

    def _protect(self, intent: Intent, opened_ms: int) -> None:
        """Rest stop and target; where the stop is not taken the position is closed at once."""
        account, symbol = self.account, intent.symbol
        exit_side, quantity = intent.side.opposite, abs(account.held(symbol))
        account.owned[symbol] = Owned(
            strategy=intent.strategy,
            intent_id=intent.intent_id,
            side=intent.side,
            opened_ms=opened_ms,
            stop=intent.stop_loss,
            target=intent.take_profit,
        )
        common = {"symbol": symbol, "side": exit_side.name, "working_type": "MARK_PRICE"}
        short = intent.intent_id[-12:]
        try:
            account.engine.place_algo(
                type="STOP_MARKET",
                trigger_price=str(intent.stop_loss),
                close_position=True,
                client_id=f"s{short}",
                **common,
            )
            account.engine.place_algo(
                type="TAKE_PROFIT_MARKET",
                trigger_price=str(intent.take_profit),
                quantity=str(quantity),
                reduce_only=True,
                client_id=f"t{short}",
                **common,
            )
        except VenueError as error:
            self._note_refusal(error)
            account.owned[symbol].stop = None
            self._close(f"{SAFETY}{short}", symbol, exit_side, quantity)

    def _close(self, client_id: str, symbol: str, side: Side, quantity: Decimal) -> None:
        self.account.engine.place_order(
            symbol=symbol,
            side=side.name,
            type="MARKET",
            quantity=str(quantity),
            reduce_only=True,
            client_id=client_id,
        )
