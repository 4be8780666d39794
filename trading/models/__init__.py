"""Rows of facts.

Money is numeric(28,10). `market` times are the venue's clock, others the database's.
OrderEvent, Fill, Income and EquitySample are append-only (triggers and grants).
"""

from trading.models.accounts import Account, Permit, StrategyAssignment, TradingState, VenueAccount
from trading.models.book import EquitySample, Fill, Income, Position, Trade
from trading.models.fields import Money
from trading.models.market import Candle, Instrument, MarketClock, MarketPrice, VenueSetting
from trading.models.orders import MessageSlot, Order, OrderEvent, OrderIntent
from trading.models.runs import CycleRun, Heartbeat, ReconciliationRun

__all__ = [
    "Account",
    "Candle",
    "CycleRun",
    "EquitySample",
    "Fill",
    "Heartbeat",
    "Income",
    "Instrument",
    "MarketClock",
    "MarketPrice",
    "MessageSlot",
    "Money",
    "Order",
    "OrderEvent",
    "OrderIntent",
    "Permit",
    "Position",
    "ReconciliationRun",
    "StrategyAssignment",
    "Trade",
    "TradingState",
    "VenueAccount",
    "VenueSetting",
]
