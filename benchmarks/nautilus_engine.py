"""NautilusTrader's RiskEngine, a limit order on a cash account; started by p1_decision.py.

Runs in an environment of its own that knows nothing of the product. Reads a number of orders per
line, sends each through the engine and answers with one line of JSON: the nanoseconds of each.
"""

import json
import sys
from decimal import Decimal
from time import perf_counter_ns

import nautilus_trader
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.messages import SubmitOrder
from nautilus_trader.model.currencies import SOL, USDT
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OrderSide
from nautilus_trader.model.events import AccountState
from nautilus_trader.model.identifiers import AccountId, InstrumentId, StrategyId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import AccountBalance, Money, Price, Quantity
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.risk.engine import RiskEngine
from nautilus_trader.test_kit.stubs.component import TestComponentStubs

# The engine's own rate limit must not be what is measured.
RATE = "1000000000/00:00:01"
TRADER = TraderId("BENCH-001")
STRATEGY = StrategyId("TREND-001")
VENUE = Venue("BINANCE")


class Desk:
    """A risk engine that knows one instrument, its quote and an account with cash."""

    def __init__(self):
        self.clock = TestClock()
        self.bus = MessageBus(trader_id=TRADER, clock=self.clock)
        self.cache = TestComponentStubs.cache()
        self.portfolio = Portfolio(msgbus=self.bus, cache=self.cache, clock=self.clock)
        self.engine = RiskEngine(
            portfolio=self.portfolio,
            msgbus=self.bus,
            cache=self.cache,
            clock=self.clock,
            config=make_config(),
        )
        self.passed, self.denied = 0, 0
        self.bus.register(endpoint="ExecEngine.execute", handler=self.on_command)
        self.bus.register(endpoint="ExecEngine.process", handler=self.on_event)
        self.instrument = make_instrument()
        self.cache.add_instrument(self.instrument)
        self.cache.add_quote_tick(make_quote(self.instrument))
        self.portfolio.update_account(make_account_state())
        self.factory = OrderFactory(trader_id=TRADER, strategy_id=STRATEGY, clock=self.clock)
        self.engine.start()

    def on_command(self, command):
        self.passed += 1

    def on_event(self, event):
        self.denied += 1

    def denies(self, quantity):
        """Whether this order is denied, as it should be; counted for nothing."""
        before, self.denied = self.denied, 0
        self.engine.execute(self.make_command(quantity))
        denied, self.denied = self.denied, before
        return denied == 1 and self.passed == 0

    def make_command(self, quantity="0.60"):
        order = self.factory.limit(
            self.instrument.id, OrderSide.BUY, Quantity.from_str(quantity), Price.from_str("150.00")
        )
        self.cache.add_order(order, None)
        return SubmitOrder(
            trader_id=TRADER,
            strategy_id=STRATEGY,
            position_id=None,
            order=order,
            command_id=UUID4(),
            ts_init=0,
        )

    def measure(self, count):
        """Nanoseconds of each order; every one must have passed."""
        commands = [self.make_command() for _ in range(count)]
        execute, before, times = self.engine.execute, self.passed, []
        for command in commands:
            started = perf_counter_ns()
            execute(command)
            times.append(perf_counter_ns() - started)
        if self.passed - before != count or self.denied:
            raise SystemExit(f"{count} orders: {self.passed - before} passed, {self.denied} denied")
        return times


def make_config():
    from nautilus_trader.risk.config import RiskEngineConfig

    return RiskEngineConfig(
        max_order_submit_rate=RATE, max_notional_per_order={"SOLUSDT.BINANCE": 10_000_000}
    )


def make_instrument():
    return CurrencyPair(
        instrument_id=InstrumentId(Symbol("SOLUSDT"), VENUE),
        raw_symbol=Symbol("SOLUSDT"),
        base_currency=SOL,
        quote_currency=USDT,
        price_precision=2,
        size_precision=2,
        price_increment=Price.from_str("0.01"),
        size_increment=Quantity.from_str("0.01"),
        max_quantity=Quantity.from_str("1000000.00"),
        min_quantity=Quantity.from_str("0.01"),
        max_notional=None,
        min_notional=Money(5, USDT),
        max_price=Price.from_str("100000.00"),
        min_price=Price.from_str("0.01"),
        margin_init=Decimal(0),
        margin_maint=Decimal(0),
        maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0005"),
        ts_event=0,
        ts_init=0,
    )


def make_quote(instrument):
    return QuoteTick(
        instrument_id=instrument.id,
        bid_price=Price.from_str("149.99"),
        ask_price=Price.from_str("150.01"),
        bid_size=Quantity.from_str("1000.00"),
        ask_size=Quantity.from_str("1000.00"),
        ts_event=0,
        ts_init=0,
    )


def make_account_state():
    cash = Money(1_000_000, USDT)
    return AccountState(
        account_id=AccountId("BINANCE-001"),
        account_type=AccountType.CASH,
        base_currency=None,
        reported=True,
        balances=[AccountBalance(total=cash, locked=Money(0, USDT), free=cash)],
        margins=[],
        info={},
        event_id=UUID4(),
        ts_event=0,
        ts_init=0,
    )


def main():
    desk = Desk()
    if not desk.denies("9000.00"):
        raise SystemExit("an order for more than the account's cash was not denied: nothing is checked here")
    print(json.dumps({"version": nautilus_trader.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"nanoseconds": desk.measure(int(line))}), flush=True)


if __name__ == "__main__":
    main()
