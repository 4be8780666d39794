"""From the engine's fills and income to trips: what every position brought, and why it ended."""

from dataclasses import dataclass
from decimal import Decimal

from risk.replay.values import Trip
from trading.core.values import Side
from trading.simulator import ledger
from trading.simulator.state import ZERO, Order, State, Trade

CLOSED_BY = {"STOP_MARKET": "stop", "TAKE_PROFIT_MARKET": "target"}
LIQUIDATION = "autoclose-"
SAFETY = "safety"
EXIT = "exit"


@dataclass(slots=True, kw_only=True)
class _Open:
    """A trip that is not over."""

    strategy: str
    intent_id: str
    side: Side
    risk: Decimal
    opened_ms: int
    quantity: Decimal = ZERO
    paid: Decimal = ZERO
    left: Decimal = ZERO
    got: Decimal = ZERO
    gross: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    insurance: Decimal = ZERO
    slippage: Decimal = ZERO
    closed_by: str = ""
    closed_ms: int = 0


class TripBook:
    """Collects the engine's trades and income rows, each once, and sums up the income by kind."""

    def __init__(self) -> None:
        self.trips: list[Trip] = []
        self.totals: dict[str, Decimal] = {}
        self._open: dict[str, _Open] = {}

    def begin(
        self, symbol: str, *, strategy: str, intent_id: str, side: Side, risk: Decimal, at_ms: int
    ) -> None:
        """The next fills of the symbol open a position of this owner."""
        self._open[symbol] = _Open(
            strategy=strategy, intent_id=intent_id, side=side, risk=risk, opened_ms=at_ms
        )

    def collect(self, state: State) -> list[str]:
        """Take what is new out of the engine's records; returns the symbols that became flat."""
        touched = []
        for trade in state.trades:
            self._book(trade, state)
            touched.append(trade.symbol)
        for income in state.incomes:
            self.totals[income.type] = self.totals.get(income.type, ZERO) + income.amount
            trip = self._open.get(income.symbol)
            if trip is not None and income.type == "FUNDING_FEE":
                trip.funding += income.amount
            elif trip is not None and income.type == "INSURANCE_CLEAR":
                trip.insurance += income.amount
        state.trades.clear()
        state.incomes.clear()
        ended = [symbol for symbol in dict.fromkeys(touched) if not state.positions[symbol].quantity]
        for symbol in ended:
            self._end(symbol)
        return ended

    def _book(self, trade: Trade, state: State) -> None:
        trip = self._open[trade.symbol]
        trip.fees += trade.commission
        trip.gross += trade.realised
        if (trade.side == "BUY") == (trip.side is Side.BUY):
            trip.quantity += trade.quantity
            trip.paid += trade.quantity * trade.price
            return
        trip.left += trade.quantity
        trip.got += trade.quantity * trade.price
        trip.closed_ms = trade.at_ms
        order = state.closed_orders[trade.order_id]
        trip.closed_by = _closed_by(order)
        if trip.closed_by == "stop":
            trip.slippage = (
                (order.trigger_price - trip.got / trip.left) * trip.side.sign / order.trigger_price
            )

    def _end(self, symbol: str) -> None:
        trip = self._open.pop(symbol)
        # An entry that the venue did not fill at all leaves nothing.
        if trip.quantity:
            self.trips.append(_close(symbol, trip, trip.got / trip.left))

    def finish(self, state: State) -> None:
        """What is still open at the end of the candles counts at mark."""
        for symbol, trip in sorted(self._open.items()):
            if not trip.quantity:
                continue
            trip.gross += ledger.unrealised(state, symbol)
            trip.closed_by, trip.closed_ms = "open", state.now_ms
            self.trips.append(_close(symbol, trip, state.markets[symbol].mark))


def _closed_by(order: Order) -> str:
    if order.client_id.startswith(LIQUIDATION):
        return "liquidation"
    if order.client_id.startswith(SAFETY):
        return SAFETY
    return CLOSED_BY.get(order.original_type, EXIT)


def _close(symbol: str, trip: _Open, exit_price: Decimal) -> Trip:
    return Trip(
        strategy=trip.strategy,
        symbol=symbol,
        side=trip.side,
        intent_id=trip.intent_id,
        opened_ms=trip.opened_ms,
        closed_ms=trip.closed_ms,
        quantity=trip.quantity,
        entry_price=trip.paid / trip.quantity,
        exit_price=exit_price,
        gross=trip.gross,
        fees=trip.fees,
        funding=trip.funding,
        insurance=trip.insurance,
        risk=trip.risk,
        slippage=trip.slippage,
        closed_by=trip.closed_by,
    )
