"""Where stop-loss and take-profit stand."""

from decimal import Decimal

from risk.core.reasons import ReasonCode
from risk.core.rules.case import LimitedCase, breach, plain, ratio
from risk.core.values import Breach


def permits_stops_in_the_band(case: LimitedCase) -> Breach | None:
    """min <= (entry - stop) x sign / entry <= max; entry is the limit price or mark (RISK.md part 1)."""
    entry, stop = case.reference_price, case.intent.stop_loss
    if stop is None:
        return breach(ReasonCode.STOP_LOSS_MISSING)
    if entry is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    distance = (entry - stop) * case.intent.side.sign
    if distance <= 0:
        return breach(ReasonCode.STOP_LOSS_WRONG_SIDE, measured=stop, limit=entry)
    least, most = case.limits.min_stop_ratio, case.limits.max_stop_ratio
    return _outside_band(ReasonCode.STOP_LOSS_OUTSIDE_BAND, distance, entry, least, most)


def permits_targets_in_the_band(case: LimitedCase) -> Breach | None:
    """min <= (target - entry) x sign / entry <= max; entry is the limit price or mark."""
    entry, target = case.reference_price, case.intent.take_profit
    if target is None:
        return breach(ReasonCode.TAKE_PROFIT_MISSING)
    if entry is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    distance = (target - entry) * case.intent.side.sign
    if distance <= 0:
        return breach(ReasonCode.TAKE_PROFIT_WRONG_SIDE, measured=target, limit=entry)
    least, most = case.limits.min_target_ratio, case.limits.max_target_ratio
    return _outside_band(ReasonCode.TAKE_PROFIT_OUTSIDE_BAND, distance, entry, least, most)


def _outside_band(
    code: ReasonCode, distance: Decimal, entry: Decimal, least: Decimal, most: Decimal
) -> Breach | None:
    if least * entry <= distance <= most * entry:
        return None
    return breach(code, measured=ratio(distance, entry), limit=f"{plain(least)} to {plain(most)}")
