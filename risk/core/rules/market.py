"""Is the market fit to enter: reference, divergence, spread, depth, funding, delisting (RISK.md 3.18)?"""

from datetime import timedelta
from decimal import Decimal

from risk.core.measures import BUY, ZERO
from risk.core.reasons import ReasonCode
from risk.core.rules.case import LimitedCase, breach, ratio
from risk.core.values import Breach

NO_TIME = timedelta(0)


def permits_prices_near_the_average(case: LimitedCase) -> Breach | None:
    """|worst - reference| / reference <= max_rolling_move; a collar over a rolling window of mark.

    `worst` is mark, or the limit price where it is worse for the order than mark. Source: RTS 6
    art. 15 (1) (a); one print is not a price.
    """
    prices, intent = case.snapshot.prices, case.intent
    if prices is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=intent.symbol)
    average, limit = prices.reference, case.limits.max_rolling_move_ratio
    if average is None:
        return breach(ReasonCode.REFERENCE_UNKNOWN, measured=intent.symbol)
    worst, price = prices.mark, intent.price
    if price is not None and (price > worst if intent.side is BUY else price < worst):
        worst = price
    distance = abs(worst - average)
    if distance <= limit * average:
        return None
    return breach(ReasonCode.ROLLING_COLLAR, measured=ratio(distance, average), limit=limit)


def permits_agreeing_prices(case: LimitedCase) -> Breach | None:
    """|mark - index| / index and |last - mark| / mark <= max_divergence."""
    prices, limit = case.snapshot.prices, case.limits.max_divergence_ratio
    if prices is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    mark, index = prices.mark, prices.index
    apart, jumped = abs(mark - index), abs(prices.last - mark)
    if apart <= limit * index and jumped <= limit * mark:
        return None
    measured = ratio(apart, index) if apart > limit * index else ratio(jumped, mark)
    return breach(ReasonCode.PRICE_DIVERGENCE, measured=measured, limit=limit)


def permits_narrow_spreads(case: LimitedCase) -> Breach | None:
    """0 <= (ask - bid) / mark <= max_spread."""
    prices, limit = case.snapshot.prices, case.limits.max_spread_ratio
    if prices is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    spread = prices.ask - prices.bid
    if ZERO <= spread <= limit * prices.mark:
        return None
    measured = ratio(spread, prices.mark)
    return breach(ReasonCode.SPREAD_TOO_WIDE, measured=measured, limit=limit)


def permits_deep_books(case: LimitedCase) -> Breach | None:
    """quantity <= max_depth_share x what rests at the best price that the order would take (base units).

    A limit order that rests takes nothing.
    """
    prices, intent = case.snapshot.prices, case.intent
    if prices is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=intent.symbol)
    buys, price = intent.side is BUY, intent.price
    if price is not None and (price < prices.ask if buys else price > prices.bid):
        return None
    limit = find_depth_limit(case)
    if limit is None:
        return breach(ReasonCode.DEPTH_UNKNOWN, measured=intent.symbol)
    if case.quantity <= limit:
        return None
    return breach(ReasonCode.DEPTH_TOO_THIN, measured=case.quantity, limit=limit)


def find_depth_limit(case: LimitedCase) -> Decimal | None:
    """max_depth_share x what rests at the best price on the other side (base units); None if unknown."""
    prices, buys = case.snapshot.prices, case.intent.side is BUY
    resting = None if prices is None else prices.ask_quantity if buys else prices.bid_quantity
    return None if resting is None else case.limits.max_depth_share_ratio * resting


def permits_bearable_funding(case: LimitedCase) -> Breach | None:
    """Within funding_window of the next settlement, rate x sign <= max_funding (longs pay a rate > 0)."""
    prices, limits = case.snapshot.prices, case.limits
    if prices is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    if prices.funding_at is None or prices.funding_rate is None:
        return breach(ReasonCode.FUNDING_UNKNOWN, measured=case.intent.symbol)
    due = prices.funding_at - case.snapshot.market_at
    if due <= NO_TIME:
        return breach(ReasonCode.FUNDING_UNKNOWN, measured=due, limit="a settlement to come")
    paid = prices.funding_rate if case.intent.side is BUY else -prices.funding_rate
    if due > limits.funding_window or paid <= limits.max_funding_ratio:
        return None
    return breach(ReasonCode.FUNDING_ADVERSE, measured=paid, limit=limits.max_funding_ratio)


def permits_lasting_instruments(case: LimitedCase) -> Breach | None:
    """The venue trades the symbol for longer than delisting_window from now (market time)."""
    instrument = case.snapshot.instrument
    if instrument is None:
        return breach(ReasonCode.INSTRUMENT_UNKNOWN, measured=case.intent.symbol)
    if instrument.delists_at is None:
        return breach(ReasonCode.DELISTING_UNKNOWN, measured=case.intent.symbol)
    left = instrument.delists_at - case.snapshot.market_at
    if left > case.limits.delisting_window:
        return None
    return breach(ReasonCode.INSTRUMENT_DELISTING, measured=left, limit=case.limits.delisting_window)


def permits_room_for_protection(case: LimitedCase) -> Breach | None:
    """Conditional orders on the symbol + this entry's stop and target <= the venue's limit."""
    instrument, resting = case.snapshot.instrument, case.snapshot.conditional_orders
    if instrument is None or instrument.max_conditional_orders is None or resting is None:
        return breach(ReasonCode.CONDITIONAL_ORDERS_UNKNOWN, measured=case.intent.symbol)
    needed = resting + 2
    if needed <= instrument.max_conditional_orders:
        return None
    limit = instrument.max_conditional_orders
    return breach(ReasonCode.CONDITIONAL_ORDER_LIMIT, measured=needed, limit=limit)
