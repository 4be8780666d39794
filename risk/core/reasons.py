"""The closed list of reasons for which an order is denied.

The order of the members is documented and stable: a denial is named by its first breach in this
order (metric label `reason`). What is asked comes first, then permission, then the facts, then
the book.
"""

from enum import StrEnum


class ReasonCode(StrEnum):
    """One reason; `DESCRIPTIONS` says what it means."""

    ACCOUNT_UNKNOWN = "ACCOUNT_UNKNOWN"
    ENVIRONMENT_MISMATCH = "ENVIRONMENT_MISMATCH"
    INTENT_INVALID = "INTENT_INVALID"
    PURPOSE_MISMATCH = "PURPOSE_MISMATCH"
    ORDER_TYPE_NOT_ALLOWED = "ORDER_TYPE_NOT_ALLOWED"
    STATE_HALTED = "STATE_HALTED"
    STATE_REDUCING = "STATE_REDUCING"
    PERMIT_MISSING = "PERMIT_MISSING"
    PERMIT_EXPIRED = "PERMIT_EXPIRED"
    PERMIT_MISMATCH = "PERMIT_MISMATCH"
    LIMITS_UNKNOWN = "LIMITS_UNKNOWN"
    LIMITS_INVALID = "LIMITS_INVALID"
    FACT_INVALID = "FACT_INVALID"
    STRATEGY_NOT_ALLOWED = "STRATEGY_NOT_ALLOWED"
    GLOBAL_RISK_UNKNOWN = "GLOBAL_RISK_UNKNOWN"
    GLOBAL_RISK_STALE = "GLOBAL_RISK_STALE"
    GLOBAL_RISK_CRITICAL = "GLOBAL_RISK_CRITICAL"
    INSTRUMENT_UNKNOWN = "INSTRUMENT_UNKNOWN"
    INSTRUMENT_NOT_TRADING = "INSTRUMENT_NOT_TRADING"
    DELISTING_UNKNOWN = "DELISTING_UNKNOWN"
    INSTRUMENT_DELISTING = "INSTRUMENT_DELISTING"
    INSTRUMENT_UNTRADABLE = "INSTRUMENT_UNTRADABLE"
    PRICE_UNKNOWN = "PRICE_UNKNOWN"
    PRICE_STALE = "PRICE_STALE"
    PRICE_COLLAR = "PRICE_COLLAR"
    REFERENCE_UNKNOWN = "REFERENCE_UNKNOWN"
    ROLLING_COLLAR = "ROLLING_COLLAR"
    PRICE_DIVERGENCE = "PRICE_DIVERGENCE"
    SPREAD_TOO_WIDE = "SPREAD_TOO_WIDE"
    FUNDING_UNKNOWN = "FUNDING_UNKNOWN"
    FUNDING_ADVERSE = "FUNDING_ADVERSE"
    PRICE_OUT_OF_RANGE = "PRICE_OUT_OF_RANGE"
    TICK_SIZE = "TICK_SIZE"
    LOT_SIZE = "LOT_SIZE"
    QUANTITY_BELOW_MINIMUM = "QUANTITY_BELOW_MINIMUM"
    QUANTITY_ABOVE_MAXIMUM = "QUANTITY_ABOVE_MAXIMUM"
    NOTIONAL_BELOW_MINIMUM = "NOTIONAL_BELOW_MINIMUM"
    DEPTH_UNKNOWN = "DEPTH_UNKNOWN"
    DEPTH_TOO_THIN = "DEPTH_TOO_THIN"
    SIGNAL_STALE = "SIGNAL_STALE"
    SIGNAL_IN_FUTURE = "SIGNAL_IN_FUTURE"
    SYMBOL_OWNED = "SYMBOL_OWNED"
    WOULD_FLIP = "WOULD_FLIP"
    NOT_REDUCING = "NOT_REDUCING"
    DUPLICATE_INTENT = "DUPLICATE_INTENT"
    ACTIVITY_UNKNOWN = "ACTIVITY_UNKNOWN"
    STRATEGY_THROTTLED = "STRATEGY_THROTTLED"
    ORPHAN_PROTECTION = "ORPHAN_PROTECTION"
    CONDITIONAL_ORDERS_UNKNOWN = "CONDITIONAL_ORDERS_UNKNOWN"
    CONDITIONAL_ORDER_LIMIT = "CONDITIONAL_ORDER_LIMIT"
    POSITION_UNPROTECTED = "POSITION_UNPROTECTED"
    RECONCILIATION_UNKNOWN = "RECONCILIATION_UNKNOWN"
    RECONCILIATION_STALE = "RECONCILIATION_STALE"
    RECONCILIATION_MISMATCH = "RECONCILIATION_MISMATCH"
    BALANCE_UNKNOWN = "BALANCE_UNKNOWN"
    BALANCE_STALE = "BALANCE_STALE"
    NO_EQUITY = "NO_EQUITY"
    MAINTENANCE_MARGIN = "MAINTENANCE_MARGIN"
    BOOK_PRICE_UNKNOWN = "BOOK_PRICE_UNKNOWN"
    STOP_LOSS_MISSING = "STOP_LOSS_MISSING"
    STOP_LOSS_WRONG_SIDE = "STOP_LOSS_WRONG_SIDE"
    STOP_LOSS_OUTSIDE_BAND = "STOP_LOSS_OUTSIDE_BAND"
    TAKE_PROFIT_MISSING = "TAKE_PROFIT_MISSING"
    TAKE_PROFIT_WRONG_SIDE = "TAKE_PROFIT_WRONG_SIDE"
    TAKE_PROFIT_OUTSIDE_BAND = "TAKE_PROFIT_OUTSIDE_BAND"
    PROTECTION_DIFFERS = "PROTECTION_DIFFERS"
    VENUE_SETTING_UNKNOWN = "VENUE_SETTING_UNKNOWN"
    VENUE_LEVERAGE_TOO_HIGH = "VENUE_LEVERAGE_TOO_HIGH"
    MARGIN_MODE_NOT_ISOLATED = "MARGIN_MODE_NOT_ISOLATED"
    ACCOUNT_MODE_UNKNOWN = "ACCOUNT_MODE_UNKNOWN"
    ACCOUNT_MODE = "ACCOUNT_MODE"
    LIQUIDATION_TOO_NEAR = "LIQUIDATION_TOO_NEAR"
    MESSAGE_RATE_UNKNOWN = "MESSAGE_RATE_UNKNOWN"
    MESSAGE_RATE = "MESSAGE_RATE"
    TRADE_COUNT_UNKNOWN = "TRADE_COUNT_UNKNOWN"
    TRADES_PER_DAY = "TRADES_PER_DAY"
    EQUITY_ANCHOR_UNKNOWN = "EQUITY_ANCHOR_UNKNOWN"
    DAILY_LOSS = "DAILY_LOSS"
    WEEKLY_LOSS = "WEEKLY_LOSS"
    POSITION_COUNT = "POSITION_COUNT"
    ORDER_NOTIONAL = "ORDER_NOTIONAL"
    POSITION_NOTIONAL = "POSITION_NOTIONAL"
    SYMBOL_SHARE = "SYMBOL_SHARE"
    LEVERAGE = "LEVERAGE"
    GROSS_EXPOSURE = "GROSS_EXPOSURE"
    NET_EXPOSURE = "NET_EXPOSURE"
    ALLOTMENT_UNKNOWN = "ALLOTMENT_UNKNOWN"
    FIRM_EXPOSURE = "FIRM_EXPOSURE"
    VENUE_EXPOSURE = "VENUE_EXPOSURE"
    STRATEGY_EXPOSURE = "STRATEGY_EXPOSURE"
    SYMBOL_EXPOSURE = "SYMBOL_EXPOSURE"
    MARGIN_USE = "MARGIN_USE"
    RISK_PER_TRADE = "RISK_PER_TRADE"
    PORTFOLIO_RISK = "PORTFOLIO_RISK"
    CORRELATED_BET = "CORRELATED_BET"
    STRESSED_LOSS = "STRESSED_LOSS"
    DAILY_LOSS_BUDGET = "DAILY_LOSS_BUDGET"
    WEEKLY_LOSS_BUDGET = "WEEKLY_LOSS_BUDGET"

    @property
    def rank(self) -> int:
        """The place in the documented order, 0 first."""
        return _RANKS[self]


_RANKS = {code: rank for rank, code in enumerate(ReasonCode)}

# The label of an allowed decision.
NONE = "none"

DESCRIPTIONS: dict[ReasonCode, str] = {
    ReasonCode.ACCOUNT_UNKNOWN: "the account or its place at the venue is not known",
    ReasonCode.ENVIRONMENT_MISMATCH: "the account belongs to another environment than the desk",
    ReasonCode.INTENT_INVALID: "a number of the order is not finite and above 0, or a limit has no price",
    ReasonCode.PURPOSE_MISMATCH: "purpose and reduce-only flag contradict each other",
    ReasonCode.ORDER_TYPE_NOT_ALLOWED: "an entry may be a market or a limit order only",
    ReasonCode.STATE_HALTED: "a scope of the order is HALTED, or has no trading state",
    ReasonCode.STATE_REDUCING: "a scope of the order is REDUCING: it may not add risk",
    ReasonCode.PERMIT_MISSING: "the account has no active permit",
    ReasonCode.PERMIT_EXPIRED: "the permit's lease has run out",
    ReasonCode.PERMIT_MISMATCH: "permit, profile, limit set or environment do not belong together",
    ReasonCode.LIMITS_UNKNOWN: "the limit set named by the permit is not stored",
    ReasonCode.LIMITS_INVALID: "a limit is not a finite number or has the wrong sign",
    ReasonCode.FACT_INVALID: "a fact is not a finite number or has the wrong sign",
    ReasonCode.STRATEGY_NOT_ALLOWED: "the strategy is not assigned to this symbol on this account",
    ReasonCode.GLOBAL_RISK_UNKNOWN: "global risk has never been assessed",
    ReasonCode.GLOBAL_RISK_STALE: "the assessment of global risk is too old",
    ReasonCode.GLOBAL_RISK_CRITICAL: "global risk is CRITICAL",
    ReasonCode.INSTRUMENT_UNKNOWN: "the venue's filters for the symbol are not known",
    ReasonCode.INSTRUMENT_NOT_TRADING: "the venue does not trade the symbol now",
    ReasonCode.DELISTING_UNKNOWN: "it is not known whether the venue will delist the symbol",
    ReasonCode.INSTRUMENT_DELISTING: "the venue stops trading the symbol soon",
    ReasonCode.INSTRUMENT_UNTRADABLE: "no legal size of the symbol fits under the profile's caps",
    ReasonCode.PRICE_UNKNOWN: "there is no price of the symbol",
    ReasonCode.PRICE_STALE: "the price of the symbol is too old (market time)",
    ReasonCode.PRICE_COLLAR: "the price is too far from mark",
    ReasonCode.REFERENCE_UNKNOWN: "the rolling average of mark is not known",
    ReasonCode.ROLLING_COLLAR: "the market has moved too far from its rolling average",
    ReasonCode.PRICE_DIVERGENCE: "mark, last and index price are too far apart",
    ReasonCode.SPREAD_TOO_WIDE: "bid and ask are too far apart, or crossed",
    ReasonCode.FUNDING_UNKNOWN: "rate or time of the next funding is not known",
    ReasonCode.FUNDING_ADVERSE: "funding is due soon and this side would pay too much",
    ReasonCode.PRICE_OUT_OF_RANGE: "a price is outside the venue's range for the symbol",
    ReasonCode.TICK_SIZE: "a price is not on the symbol's tick",
    ReasonCode.LOT_SIZE: "the quantity is not a whole number of lots",
    ReasonCode.QUANTITY_BELOW_MINIMUM: "the quantity is below the venue's minimum",
    ReasonCode.QUANTITY_ABOVE_MAXIMUM: "the quantity is above the venue's maximum",
    ReasonCode.NOTIONAL_BELOW_MINIMUM: "the notional is below the venue's minimum",
    ReasonCode.DEPTH_UNKNOWN: "what rests at the best price is not known",
    ReasonCode.DEPTH_TOO_THIN: "the order is too large for what rests at the best price",
    ReasonCode.SIGNAL_STALE: "the signal is too old (market time)",
    ReasonCode.SIGNAL_IN_FUTURE: "the signal carries a time that has not come yet",
    ReasonCode.SYMBOL_OWNED: "another strategy owns the symbol on this account",
    ReasonCode.WOULD_FLIP: "the order goes against the position without being reduce-only",
    ReasonCode.NOT_REDUCING: "a reduce-only order must be smaller than, and against, the position",
    ReasonCode.DUPLICATE_INTENT: "the signal was acted on, or an entry of the strategy waits or rests",
    ReasonCode.ACTIVITY_UNKNOWN: "it is not known how often the strategy entered the symbol",
    ReasonCode.STRATEGY_THROTTLED: "the strategy entered the symbol too often; a person must re-enable it",
    ReasonCode.ORPHAN_PROTECTION: "protective orders of a closed position still rest on the symbol",
    ReasonCode.CONDITIONAL_ORDERS_UNKNOWN: "number or limit of the symbol's conditional orders is not known",
    ReasonCode.CONDITIONAL_ORDER_LIMIT: "the venue would not take the order's stop and target",
    ReasonCode.POSITION_UNPROTECTED: "the position has no stop verified at the venue",
    ReasonCode.RECONCILIATION_UNKNOWN: "our book has never been compared with the venue's",
    ReasonCode.RECONCILIATION_STALE: "the last reconciliation is too old",
    ReasonCode.RECONCILIATION_MISMATCH: "our book and the venue's differ on the symbol",
    ReasonCode.BALANCE_UNKNOWN: "the account's equity is not known",
    ReasonCode.BALANCE_STALE: "the account's equity is too old",
    ReasonCode.NO_EQUITY: "equity, wallet or approved capital is not above zero",
    ReasonCode.MAINTENANCE_MARGIN: "maintenance margin takes too large a share of equity",
    ReasonCode.BOOK_PRICE_UNKNOWN: "something held or pending has no price, or too old a one",
    ReasonCode.STOP_LOSS_MISSING: "the entry has no stop-loss",
    ReasonCode.STOP_LOSS_WRONG_SIDE: "the stop-loss is on the profit's side of the entry",
    ReasonCode.STOP_LOSS_OUTSIDE_BAND: "the stop-loss distance is outside the profile's band",
    ReasonCode.TAKE_PROFIT_MISSING: "the entry has no take-profit",
    ReasonCode.TAKE_PROFIT_WRONG_SIDE: "the take-profit is on the loss's side of the entry",
    ReasonCode.TAKE_PROFIT_OUTSIDE_BAND: "the take-profit distance is outside the profile's band",
    ReasonCode.PROTECTION_DIFFERS: "the position keeps its stop and target, and the order asks for others",
    ReasonCode.VENUE_SETTING_UNKNOWN: "leverage and margin mode were not read back from the venue lately",
    ReasonCode.VENUE_LEVERAGE_TOO_HIGH: "the venue's leverage setting is above the profile's",
    ReasonCode.MARGIN_MODE_NOT_ISOLATED: "the symbol's margin mode is not isolated",
    ReasonCode.ACCOUNT_MODE_UNKNOWN: "position and asset mode were not read back from the venue",
    ReasonCode.ACCOUNT_MODE: "the account is in hedge mode or multi-asset mode",
    ReasonCode.LIQUIDATION_TOO_NEAR: "liquidation would be nearer than twice the stop distance",
    ReasonCode.MESSAGE_RATE_UNKNOWN: "how many requests the venue was sent is not known",
    ReasonCode.MESSAGE_RATE: "too many requests would be sent to the venue within a minute",
    ReasonCode.TRADE_COUNT_UNKNOWN: "the number of today's entries is not known",
    ReasonCode.TRADES_PER_DAY: "today's entries and approved unfilled entries reach the limit",
    ReasonCode.EQUITY_ANCHOR_UNKNOWN: "there is no equity to measure the loss from",
    ReasonCode.DAILY_LOSS: "the loss since 00:00 UTC or over 24 h reaches the limit",
    ReasonCode.WEEKLY_LOSS: "the loss since Monday 00:00 UTC or over 7 days reaches the limit",
    ReasonCode.POSITION_COUNT: "held and pending symbols would exceed the number of positions",
    ReasonCode.ORDER_NOTIONAL: "the order alone is larger than the largest position",
    ReasonCode.POSITION_NOTIONAL: "the worst-case position would be too large",
    ReasonCode.SYMBOL_SHARE: "the symbol would take too large a share of equity",
    ReasonCode.LEVERAGE: "worst-case gross exposure would exceed the profile's leverage",
    ReasonCode.GROSS_EXPOSURE: "worst-case gross exposure would be too large",
    ReasonCode.NET_EXPOSURE: "worst-case net exposure would be too large",
    ReasonCode.ALLOTMENT_UNKNOWN: "the account's part of a limit that spans accounts is not known",
    ReasonCode.FIRM_EXPOSURE: "the account's part of the firm's exposure would be exceeded",
    ReasonCode.VENUE_EXPOSURE: "the account's part of the venue's exposure would be exceeded",
    ReasonCode.STRATEGY_EXPOSURE: "the account's part of the strategy's exposure would be exceeded",
    ReasonCode.SYMBOL_EXPOSURE: "the account's part of the symbol's exposure would be exceeded",
    ReasonCode.MARGIN_USE: "initial margin would take too large a share of equity",
    ReasonCode.RISK_PER_TRADE: "the loss at the stop would be too large a share of equity",
    ReasonCode.PORTFOLIO_RISK: "the loss if every stop were hit would be too large a share of equity",
    ReasonCode.CORRELATED_BET: "correlated positions would be too large a bet together",
    ReasonCode.STRESSED_LOSS: "a gap through every stop would lose more than the capital-loss stop",
    ReasonCode.DAILY_LOSS_BUDGET: "today's loss plus every open risk would exceed the daily limit",
    ReasonCode.WEEKLY_LOSS_BUDGET: "this week's loss plus every open risk would exceed the weekly limit",
}
