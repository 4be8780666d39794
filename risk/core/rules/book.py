"""What the book may carry: notional, leverage, margin, risk, losses, counts (RISK.md part 1).

Every measure counts open, approved and unknown entries as filled at their worst, and the order too.
"""

from collections.abc import Iterable
from decimal import Decimal

from risk.core.measures import entry_price, entry_risk, loss_amount, symbol_notional
from risk.core.reasons import ReasonCode
from risk.core.rules.case import LimitedCase, breach, ratio
from risk.core.values import Anchor, AnchorName, BalanceFacts, Breach, PendingStage
from trading.core.values import Side

DAILY = (AnchorName.DAY, AnchorName.ROLLING_DAY)
WEEKLY = (AnchorName.WEEK, AnchorName.ROLLING_WEEK)


def permits_order_notional(case: LimitedCase) -> Breach | None:
    """quantity x max(mark, price) <= max position, USDT. Source: RTS 6 art. 15 (1) (b)."""
    price = case.count_price
    if price is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    notional, limit = case.intent.quantity * price, case.limits.max_position_notional
    return _at_most(ReasonCode.ORDER_NOTIONAL, notional, limit)


def permits_position_notional(case: LimitedCase) -> Breach | None:
    """N_s <= max position, USDT, per underlying across venues."""
    notional = _symbol_notional(case)
    if isinstance(notional, Breach):
        return notional
    return _at_most(ReasonCode.POSITION_NOTIONAL, notional, case.limits.max_position_notional)


def permits_symbol_share(case: LimitedCase) -> Breach | None:
    """N_s / E_r <= the single-symbol share."""
    notional, equity = _symbol_notional(case), case.equity
    if isinstance(notional, Breach):
        return notional
    return _share(ReasonCode.SYMBOL_SHARE, notional, equity, case.limits.max_symbol_share_ratio)


def permits_leverage(case: LimitedCase) -> Breach | None:
    """gross / E_r <= the profile's leverage, gross = sum of N_s over all symbols (USDT)."""
    notional = _symbol_notional(case)
    if isinstance(notional, Breach) or case.book is None:
        return notional if isinstance(notional, Breach) else breach(ReasonCode.BOOK_PRICE_UNKNOWN)
    gross = case.book.other_notional + notional
    return _share(ReasonCode.LEVERAGE, gross, case.equity, case.limits.max_leverage)


def permits_margin_use(case: LimitedCase) -> Breach | None:
    """(margin in use + margin of pending entries + N / venue leverage) / E <= limit.

    Margin in use is the venue's; pending entries count in full, even where the venue already holds
    margin for them: those of the symbol at its leverage, all others at their whole notional, as the
    leverage of another symbol is not at hand.
    """
    balance, setting, price = case.snapshot.balance, case.snapshot.setting, case.count_price
    if balance is None:
        return breach(ReasonCode.BALANCE_UNKNOWN, measured=case.intent.account)
    if setting is None or setting.leverage <= 0:
        return breach(ReasonCode.VENUE_SETTING_UNKNOWN, measured=case.intent.symbol)
    if price is None or case.book is None:
        code = ReasonCode.PRICE_UNKNOWN if price is None else ReasonCode.BOOK_PRICE_UNKNOWN
        return breach(code, measured=case.intent.symbol)
    at_leverage = case.book.pending_notional + case.intent.quantity * price
    added = at_leverage / setting.leverage + case.book.other_pending_notional
    margin = balance.initial_margin + added
    return _share(ReasonCode.MARGIN_USE, margin, balance.equity, case.limits.max_margin_ratio)


def permits_trade_risk(case: LimitedCase) -> Breach | None:
    """R of the whole position after the order / E_r <= risk per trade."""
    risk = _order_risk(case)
    if isinstance(risk, Breach) or case.book is None:
        return risk if isinstance(risk, Breach) else breach(ReasonCode.BOOK_PRICE_UNKNOWN)
    total = case.book.symbol_risk + risk
    return _share(ReasonCode.RISK_PER_TRADE, total, case.equity, case.limits.max_trade_risk_ratio)


def permits_portfolio_risk(case: LimitedCase) -> Breach | None:
    """Sum of R over positions, pending entries and the order, no netting / E_r <= limit."""
    total = _total_risk(case)
    if isinstance(total, Breach):
        return total
    return _share(ReasonCode.PORTFOLIO_RISK, total, case.equity, case.limits.max_portfolio_risk_ratio)


def permits_daily_loss(case: LimitedCase) -> Breach | None:
    """max over {00:00 UTC, now - 24 h} of max(0, (E_a + F - E) / E_a) < the daily limit."""
    return _loss(case, ReasonCode.DAILY_LOSS, DAILY, case.limits.max_daily_loss_ratio)


def permits_weekly_loss(case: LimitedCase) -> Breach | None:
    """The same over {Monday 00:00 UTC, now - 7 d} < the weekly limit."""
    return _loss(case, ReasonCode.WEEKLY_LOSS, WEEKLY, case.limits.max_weekly_loss_ratio)


def permits_daily_loss_budget(case: LimitedCase) -> Breach | None:
    """Loss since each daily anchor + sum of R after the order <= daily limit x E_a (USDT)."""
    return _budget(case, ReasonCode.DAILY_LOSS_BUDGET, DAILY, case.limits.max_daily_loss_ratio)


def permits_weekly_loss_budget(case: LimitedCase) -> Breach | None:
    """Loss since each weekly anchor + sum of R after the order <= weekly limit x E_a (USDT)."""
    return _budget(case, ReasonCode.WEEKLY_LOSS_BUDGET, WEEKLY, case.limits.max_weekly_loss_ratio)


def permits_position_count(case: LimitedCase) -> Breach | None:
    """Symbols held or pending, this one included, <= the number of positions."""
    if case.book is None:
        return breach(ReasonCode.BOOK_PRICE_UNKNOWN)
    count = len(case.book.symbols | {case.intent.symbol})
    return _at_most(ReasonCode.POSITION_COUNT, Decimal(count), Decimal(case.limits.max_positions))


def permits_trades_per_day(case: LimitedCase) -> Breach | None:
    """Entries first filled since 00:00 UTC + approved unfilled entries + this one <= the limit."""
    if case.snapshot.entries_today is None:
        return breach(ReasonCode.TRADE_COUNT_UNKNOWN)
    unfilled = sum(
        not item.has_fills or item.stage is PendingStage.APPROVED
        for item in case.snapshot.pending
        if item.intent_id != case.intent.intent_id
    )
    count = case.snapshot.entries_today + unfilled + 1
    return _at_most(ReasonCode.TRADES_PER_DAY, Decimal(count), Decimal(case.limits.max_trades_per_day))


def _at_most(code: ReasonCode, measured: Decimal, limit: Decimal) -> Breach | None:
    return None if measured <= limit else breach(code, measured=measured, limit=limit)


def _share(code: ReasonCode, part: Decimal, whole: Decimal | None, limit: Decimal) -> Breach | None:
    """part <= limit x whole; a whole that is unknown or not above zero denies."""
    if whole is None:
        return breach(ReasonCode.BALANCE_UNKNOWN)
    if whole <= 0:
        return breach(ReasonCode.NO_EQUITY, measured=whole, limit="above 0")
    return None if part <= limit * whole else breach(code, measured=ratio(part, whole), limit=limit)


def _symbol_notional(case: LimitedCase) -> Decimal | Breach:
    price = case.count_price
    if price is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    if case.book is None:
        return breach(ReasonCode.BOOK_PRICE_UNKNOWN)
    return symbol_notional(case.intent, case.book, case.intent.quantity, price)


def _order_risk(case: LimitedCase) -> Decimal | Breach:
    intent, prices = case.intent, case.snapshot.prices
    if prices is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=intent.symbol)
    entry = entry_price(intent.side, intent.price, prices.mark, case.limits)
    return entry_risk(intent.symbol, intent.quantity, entry, _stop_in_force(case), case.limits)


def _stop_in_force(case: LimitedCase) -> Decimal | None:
    """The worse of the order's stop and that of the position it joins: one stop closes the whole."""
    intent = case.intent
    held = [p.stop_price for p in case.snapshot.positions if p.symbol == intent.symbol]
    stops = [stop for stop in (intent.stop_loss, *held) if stop is not None]
    if intent.stop_loss is None:
        return None
    return min(stops) if intent.side is Side.BUY else max(stops)


def _total_risk(case: LimitedCase) -> Decimal | Breach:
    risk = _order_risk(case)
    if isinstance(risk, Breach):
        return risk
    if case.book is None:
        return breach(ReasonCode.BOOK_PRICE_UNKNOWN)
    return case.book.total_risk + risk


def _find_anchors(
    case: LimitedCase, names: Iterable[AnchorName]
) -> tuple[BalanceFacts, list[Anchor]] | Breach:
    balance = case.snapshot.balance
    if balance is None:
        return breach(ReasonCode.BALANCE_UNKNOWN, measured=case.intent.account)
    known = {anchor.name: anchor for anchor in case.snapshot.anchors}
    for name in names:
        if name not in known or known[name].equity <= 0:
            return breach(ReasonCode.EQUITY_ANCHOR_UNKNOWN, measured=name.value)
    return balance, [known[name] for name in names]


def _loss(
    case: LimitedCase, code: ReasonCode, names: tuple[AnchorName, ...], limit: Decimal
) -> Breach | None:
    found = _find_anchors(case, names)
    if isinstance(found, Breach):
        return found
    balance, anchors = found
    for anchor in anchors:
        loss = loss_amount(anchor, balance)
        if loss >= limit * anchor.equity:
            text = f"lost {ratio(loss, anchor.equity)} since {anchor.name.value} ({anchor.at.isoformat()})"
            return breach(code, measured=ratio(loss, anchor.equity), limit=limit, text=text)
    return None


def _budget(
    case: LimitedCase, code: ReasonCode, names: tuple[AnchorName, ...], limit: Decimal
) -> Breach | None:
    found, risk = _find_anchors(case, names), _total_risk(case)
    if isinstance(found, Breach):
        return found
    if isinstance(risk, Breach):
        return risk
    balance, anchors = found
    for anchor in anchors:
        spent = loss_amount(anchor, balance) + risk
        if spent > limit * anchor.equity:
            return breach(code, measured=spent, limit=limit * anchor.equity)
    return None
