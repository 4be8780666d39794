"""What is asked: is it an order at all, and one that the instrument can take?"""

from decimal import Decimal

from risk.core.measures import ZERO
from risk.core.reasons import ReasonCode
from risk.core.rules.case import Case, LimitedCase, breach, plain
from risk.core.values import Breach, Intent
from trading.core.values import OrderPurpose, OrderType

ENTRY, LIMIT, MARKET = OrderPurpose.ENTRY, OrderType.LIMIT, OrderType.MARKET


def permits_real_numbers(case: Case) -> Breach | None:
    """Quantity and prices are finite and > 0, and a limit order has a price.

    Source: the project's law 1. A number that is not one makes every other rule meaningless, so
    that the rest is not run.
    """
    intent = case.intent
    for number in (intent.quantity, intent.price, intent.stop_loss, intent.take_profit):
        if number is not None and not (number.is_finite() and number > ZERO):
            return _name_unreal(intent)
    if intent.price is None and intent.order_type is LIMIT:
        return breach(ReasonCode.INTENT_INVALID, measured="price missing", limit="a limit order has a price")
    return None


def _name_unreal(intent: Intent) -> Breach:
    """The first number that is not finite and > 0."""
    numbers = [(name, getattr(intent, name)) for name in ("quantity", "price", "stop_loss", "take_profit")]
    known = [item for item in numbers if item[1] is not None]
    name, number = next(item for item in known if not (item[1].is_finite() and item[1] > ZERO))
    return breach(ReasonCode.INTENT_INVALID, measured=f"{name} {number}", limit="finite, above 0")


def permits_matching_purpose(case: Case) -> Breach | None:
    """An entry is not reduce-only; everything else is. Source: the order table's own constraint."""
    intent = case.intent
    if (intent.purpose is ENTRY) != intent.reduce_only:
        return None
    return breach(
        ReasonCode.PURPOSE_MISMATCH,
        measured=f"{intent.purpose.value}, reduce_only={str(intent.reduce_only).lower()}",
    )


def permits_plain_entries(case: Case) -> Breach | None:
    """An entry is a market or a limit order; resting stop-entries are not offered."""
    order_type = case.intent.order_type
    if order_type is MARKET or order_type is LIMIT:
        return None
    return breach(ReasonCode.ORDER_TYPE_NOT_ALLOWED, measured=order_type.value, limit="market, limit")


def permits_known_instruments(case: Case) -> Breach | None:
    """The venue's filters for the symbol are known and the venue trades it (venue: exchangeInfo)."""
    instrument = case.snapshot.instrument
    if instrument is None:
        return breach(ReasonCode.INSTRUMENT_UNKNOWN, measured=case.intent.symbol)
    if not instrument.is_trading:
        return breach(ReasonCode.INSTRUMENT_NOT_TRADING, measured=case.intent.symbol)
    return None


def permits_whole_lots(case: Case) -> Breach | None:
    """quantity = n x lot. Source: venue filter LOT_SIZE. Unknown filters are another rule's."""
    instrument = case.snapshot.instrument
    if instrument is None or not case.quantity % instrument.lot_size:
        return None
    return breach(ReasonCode.LOT_SIZE, measured=case.quantity, limit=instrument.lot_size)


def permits_prices_on_the_tick(case: Case) -> Breach | None:
    """Every given price = n x tick (USDT). Source: venue filter PRICE_FILTER."""
    instrument, intent = case.snapshot.instrument, case.intent
    if instrument is None:
        return None
    tick = instrument.tick_size
    for price in (intent.price, intent.stop_loss, intent.take_profit):
        if price is not None and price % tick:
            return breach(ReasonCode.TICK_SIZE, measured=price, limit=tick)
    return None


def permits_prices_in_range(case: Case) -> Breach | None:
    """min price <= every given price <= max price (USDT). Source: venue filter PRICE_FILTER."""
    instrument, intent = case.snapshot.instrument, case.intent
    if instrument is None:
        return breach(ReasonCode.INSTRUMENT_UNKNOWN, measured=intent.symbol)
    lowest, highest = instrument.min_price, instrument.max_price
    for price in (intent.price, intent.stop_loss, intent.take_profit):
        if price is not None and not lowest <= price <= highest:
            limit = f"{plain(lowest)} to {plain(highest)}"
            return breach(ReasonCode.PRICE_OUT_OF_RANGE, measured=price, limit=limit)
    return None


def permits_enough_quantity(case: Case) -> Breach | None:
    """quantity >= the venue's minimum (base units). Source: venue filter LOT_SIZE."""
    instrument = case.snapshot.instrument
    if instrument is None:
        return breach(ReasonCode.INSTRUMENT_UNKNOWN, measured=case.intent.symbol)
    if case.quantity >= instrument.min_quantity:
        return None
    return breach(ReasonCode.QUANTITY_BELOW_MINIMUM, measured=case.quantity, limit=instrument.min_quantity)


def permits_venue_quantity(case: Case) -> Breach | None:
    """quantity <= the venue's maximum for the order type. Source: LOT_SIZE, MARKET_LOT_SIZE."""
    instrument = case.snapshot.instrument
    if instrument is None:
        return breach(ReasonCode.INSTRUMENT_UNKNOWN, measured=case.intent.symbol)
    limit = instrument.max_market_quantity if case.intent.order_type is MARKET else instrument.max_quantity
    if case.quantity <= limit:
        return None
    return breach(ReasonCode.QUANTITY_ABOVE_MAXIMUM, measured=case.quantity, limit=limit)


def permits_enough_notional(case: Case) -> Breach | None:
    """quantity x (limit price or mark) >= the venue's minimum, USDT. Source: MIN_NOTIONAL."""
    instrument, price = case.snapshot.instrument, case.reference_price
    if instrument is None:
        return breach(ReasonCode.INSTRUMENT_UNKNOWN, measured=case.intent.symbol)
    if price is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    notional = case.quantity * price
    if notional >= instrument.min_notional:
        return None
    return breach(ReasonCode.NOTIONAL_BELOW_MINIMUM, measured=notional, limit=instrument.min_notional)


def permits_tradable_instruments(case: LimitedCase) -> Breach | None:
    """Some legal size fits under the caps: min size x price <= min(max position, share x E_r), USDT.

    Not to be confused with rounding: at this profile no quantity at all would do (RISK.md rule 10;
    BTCUSDT at MICRO: lot 0.001, minimum $100, cap $100).
    """
    smallest, price = case.ground.least, case.count_price
    if smallest is None or price is None:
        missing = case.snapshot.instrument is None
        code = ReasonCode.INSTRUMENT_UNKNOWN if missing else ReasonCode.PRICE_UNKNOWN
        return breach(code, measured=case.intent.symbol)
    cap, notional = _cap(case), smallest * price
    return None if notional <= cap else _untradable(case, smallest, notional, cap)


def _cap(case: LimitedCase) -> Decimal:
    """The most that one symbol may be worth, USDT."""
    cap, equity = case.limits.max_position_notional, case.equity
    if equity is None:
        return cap
    share = case.limits.max_symbol_share_ratio * equity if equity > ZERO else ZERO
    return share if share < cap else cap


def _untradable(case: LimitedCase, smallest: Decimal, notional: Decimal, cap: Decimal) -> Breach:
    needed = plain(notional.quantize(Decimal("0.01")))
    text = (
        f"the smallest order of {case.intent.symbol} is {plain(smallest)} = {needed} USDT, above the cap of"
        f" {plain(cap)} USDT at {case.limits.profile}: trade another symbol or a larger profile"
    )
    return breach(ReasonCode.INSTRUMENT_UNTRADABLE, measured=needed, limit=cap, text=text)
