"""What the book may carry: notional, leverage, margin, risk, losses, counts (RISK.md part 1).

Every measure counts open, approved and unknown entries as filled at their worst, and the order too.
"""

from collections.abc import Iterable
from decimal import Decimal

from risk.core.measures import loss_amount
from risk.core.reasons import ReasonCode
from risk.core.rules.case import LimitedCase, breach, ratio
from risk.core.values import Anchor, AnchorName, BalanceFacts, Breach, PendingStage

DAILY = (AnchorName.DAY, AnchorName.ROLLING_DAY)
WEEKLY = (AnchorName.WEEK, AnchorName.ROLLING_WEEK)


def permits_order_notional(case: LimitedCase) -> Breach | None:
    """quantity x max(mark, price) <= max position, USDT. Source: RTS 6 art. 15 (1) (b)."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    return _at_most(ReasonCode.ORDER_NOTIONAL, sizes.order_notional, case.limits.max_position_notional)


def permits_position_notional(case: LimitedCase) -> Breach | None:
    """N_s <= max position, USDT, per underlying across venues."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    return _at_most(ReasonCode.POSITION_NOTIONAL, sizes.symbol_notional, case.limits.max_position_notional)


def permits_symbol_share(case: LimitedCase) -> Breach | None:
    """N_s / E_r <= the single-symbol share."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    limit = case.limits.max_symbol_share_ratio
    return _share(ReasonCode.SYMBOL_SHARE, sizes.symbol_notional, case.equity, limit)


def permits_leverage(case: LimitedCase) -> Breach | None:
    """gross / E_r <= the profile's leverage, gross = sum of N_s over all symbols (USDT)."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    return _share(ReasonCode.LEVERAGE, sizes.gross, case.equity, case.limits.max_leverage)


def permits_gross_exposure(case: LimitedCase) -> Breach | None:
    """gross = sum of N_s <= the profile's gross exposure, USDT. Source: 15c3-5 (c)(1)(i)."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    return _at_most(ReasonCode.GROSS_EXPOSURE, sizes.gross, case.limits.max_gross_exposure)


def permits_net_exposure(case: LimitedCase) -> Breach | None:
    """net = |sum of +-N_s|, all buys or all sells filled, <= the profile's net exposure, USDT."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    return _at_most(ReasonCode.NET_EXPOSURE, sizes.net, case.limits.max_net_exposure)


def permits_firm_exposure(case: LimitedCase) -> Breach | None:
    """gross <= the account's allotment of the firm's exposure, USDT. Source: RTS 6 art. 15 (2)."""
    sizes = case.sizes
    return _allotted(case, ReasonCode.FIRM_EXPOSURE, "all", None if sizes is None else sizes.gross)


def permits_venue_exposure(case: LimitedCase) -> Breach | None:
    """gross at the venue <= the account's allotment of the venue's exposure, USDT."""
    sizes, scope = case.sizes, f"venue:{case.intent.venue}"
    return _allotted(case, ReasonCode.VENUE_EXPOSURE, scope, None if sizes is None else sizes.venue_notional)


def permits_strategy_exposure(case: LimitedCase) -> Breach | None:
    """gross of the strategy <= the account's allotment of the strategy's exposure, USDT."""
    sizes, scope = case.sizes, f"strategy:{case.intent.strategy}"
    used = None if sizes is None else sizes.strategy_notional
    return _allotted(case, ReasonCode.STRATEGY_EXPOSURE, scope, used)


def permits_symbol_exposure(case: LimitedCase) -> Breach | None:
    """N_s <= the account's allotment of the symbol's exposure, USDT."""
    sizes, scope = case.sizes, f"symbol:{case.intent.symbol}"
    used = None if sizes is None else sizes.symbol_notional
    return _allotted(case, ReasonCode.SYMBOL_EXPOSURE, scope, used)


def permits_margin_use(case: LimitedCase) -> Breach | None:
    """(margin in use + margin of pending entries and the order, with its costs) / E <= limit.

    Margin in use is the venue's; pending entries count in full, even where the venue already holds
    margin for them. Costs are the taker fee and the slippage allowance of the order.
    """
    balance, sizes = case.snapshot.balance, case.sizes
    if balance is None:
        return breach(ReasonCode.BALANCE_UNKNOWN, measured=case.intent.account)
    if sizes is None:
        return _unsized(case)
    if sizes.margin is None:
        return breach(ReasonCode.VENUE_SETTING_UNKNOWN, measured=case.intent.symbol)
    margin = balance.initial_margin + sizes.margin
    return _share(ReasonCode.MARGIN_USE, margin, balance.equity, case.limits.max_margin_ratio)


def permits_maintenance_margin(case: LimitedCase) -> Breach | None:
    """maintenance margin / E <= limit before the order (RISK.md rule 18)."""
    balance = case.snapshot.balance
    if balance is None:
        return breach(ReasonCode.BALANCE_UNKNOWN, measured=case.intent.account)
    limit = case.limits.max_maintenance_ratio
    return _share(ReasonCode.MAINTENANCE_MARGIN, balance.maintenance_margin, balance.equity, limit)


def permits_trade_risk(case: LimitedCase) -> Breach | None:
    """R of the whole position after the order / E_r <= risk per trade."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    return _share(ReasonCode.RISK_PER_TRADE, sizes.trade_risk, case.equity, case.limits.max_trade_risk_ratio)


def permits_portfolio_risk(case: LimitedCase) -> Breach | None:
    """Sum of R over positions, pending entries and the order, no netting / E_r <= limit."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    limit = case.limits.max_portfolio_risk_ratio
    return _share(ReasonCode.PORTFOLIO_RISK, sizes.total_risk, case.equity, limit)


def permits_correlated_bets(case: LimitedCase) -> Breach | None:
    """max(sum of long R, sum of short R) of what is correlated with the symbol / E_r <= limit."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    return _share(ReasonCode.CORRELATED_BET, sizes.bet_risk, case.equity, case.limits.max_bet_risk_ratio)


def permits_stressed_loss(case: LimitedCase) -> Breach | None:
    """Loss of a gap through every stop, of the worse side / E_r <= the capital-loss stop (RISK.md 3.6)."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    limit = case.limits.capital_loss_stop_ratio
    return _share(ReasonCode.STRESSED_LOSS, sizes.stressed_loss, case.equity, limit)


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


def _unsized(case: LimitedCase) -> Breach:
    """Why the order could not be measured."""
    if case.count_price is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    return breach(ReasonCode.BOOK_PRICE_UNKNOWN)


def _allotted(case: LimitedCase, code: ReasonCode, scope: str, used: Decimal | None) -> Breach | None:
    if used is None:
        return _unsized(case)
    for item in case.snapshot.allotments:
        if item.scope == scope:
            return _at_most(code, used, item.max_notional)
    return breach(ReasonCode.ALLOTMENT_UNKNOWN, measured=scope)


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
    found, sizes = _find_anchors(case, names), case.sizes
    if isinstance(found, Breach):
        return found
    if sizes is None:
        return _unsized(case)
    balance, anchors = found
    for anchor in anchors:
        spent = loss_amount(anchor, balance) + sizes.total_risk
        if spent > limit * anchor.equity:
            return breach(code, measured=spent, limit=limit * anchor.equity)
    return None
