"""Where stop-loss and take-profit stand."""

from decimal import ROUND_UP, Decimal

from risk.core.measures import BUY, ZERO, entry_price
from risk.core.reasons import ReasonCode
from risk.core.rules.case import RATIO_PLACES, Case, LimitedCase, breach, plain, ratio
from risk.core.values import Breach


def permits_stops_in_the_band(case: LimitedCase) -> Breach | None:
    """min <= (entry - stop) x sign / entry <= max; entry is the limit price or mark (RISK.md part 1)."""
    entry, stop = case.reference_price, case.intent.stop_loss
    if stop is None:
        return breach(ReasonCode.STOP_LOSS_MISSING)
    if entry is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    distance = entry - stop if case.intent.side is BUY else stop - entry
    if distance <= ZERO:
        return breach(ReasonCode.STOP_LOSS_WRONG_SIDE, measured=stop, limit=entry)
    least, most = case.limits.min_stop_ratio, case.limits.max_stop_ratio
    if least * entry <= distance <= most * entry:
        return None
    return _outside_band(ReasonCode.STOP_LOSS_OUTSIDE_BAND, distance, entry, least, most)


def permits_targets_in_the_band(case: LimitedCase) -> Breach | None:
    """min <= (target - entry) x sign / entry <= max; entry is the limit price or mark."""
    entry, target = case.reference_price, case.intent.take_profit
    if target is None:
        return breach(ReasonCode.TAKE_PROFIT_MISSING)
    if entry is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    distance = target - entry if case.intent.side is BUY else entry - target
    if distance <= ZERO:
        return breach(ReasonCode.TAKE_PROFIT_WRONG_SIDE, measured=target, limit=entry)
    least, most = case.limits.min_target_ratio, case.limits.max_target_ratio
    if least * entry <= distance <= most * entry:
        return None
    return _outside_band(ReasonCode.TAKE_PROFIT_OUTSIDE_BAND, distance, entry, least, most)


def permits_stops_before_liquidation(case: LimitedCase) -> Breach | None:
    """max |e - stop| / e over e in {mark, P_in} <= the setting's max_stop_ratio (RISK.md rule 8).

    The setting's ratio is half the liquidation distance under the leverage read back; it may have
    been chosen for another stop. Unknown denies.
    """
    stop, setting, prices = case.intent.stop_loss, case.snapshot.setting, case.snapshot.prices
    if stop is None:
        return breach(ReasonCode.STOP_LOSS_MISSING)
    if prices is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    if setting is None or setting.max_stop_ratio is None:
        text = "how far a stop may be from entry under the venue's leverage is not known"
        return breach(ReasonCode.VENUE_SETTING_UNKNOWN, measured=case.intent.symbol, text=text)
    mark, limit = prices.mark, setting.max_stop_ratio
    entry = entry_price(case.intent.side, case.intent.price, mark, case.limits)
    here, there = abs(mark - stop) / mark, abs(entry - stop) / entry
    if here <= limit and there <= limit:
        return None
    measured = max(here, there).quantize(RATIO_PLACES, rounding=ROUND_UP)
    return breach(ReasonCode.LIQUIDATION_TOO_NEAR, measured=measured, limit=limit)


def permits_the_protection_in_force(case: Case) -> Breach | None:
    """An entry that joins a position asks for exactly the stop and target that the position has.

    One stop closes the whole position and it stays where the first entry put it (RISK.md rule 5):
    the joined part is judged by what will rest, not by a wish. An unknown stop or target denies.
    """
    intent, symbol, venue = case.intent, case.intent.symbol, case.intent.venue
    for item in case.snapshot.positions:
        if item.symbol != symbol or item.venue != venue:
            continue
        wanted = (intent.stop_loss, intent.take_profit)
        if item.stop_price is None:
            return breach(ReasonCode.POSITION_UNPROTECTED, measured=item.quantity)
        if wanted != (item.stop_price, item.target_price):
            in_force = _show_pair(item.stop_price, item.target_price)
            return breach(ReasonCode.PROTECTION_DIFFERS, measured=_show_pair(*wanted), limit=in_force)
    return None


def _show_pair(stop: Decimal | None, target: Decimal | None) -> str:
    named = [("stop", stop), ("target", target)]
    return ", ".join(f"{name} {'none' if price is None else plain(price)}" for name, price in named)


def _outside_band(
    code: ReasonCode, distance: Decimal, entry: Decimal, least: Decimal, most: Decimal
) -> Breach:
    return breach(code, measured=ratio(distance, entry), limit=f"{plain(least)} to {plain(most)}")
