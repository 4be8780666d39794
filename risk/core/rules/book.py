"""What the book may carry: notional, leverage, margin, risk, losses, counts (RISK.md part 1).

Every measure counts open, approved and unknown entries as filled at their worst, and the order too.
"""

from decimal import Decimal

from risk.core.measures import ZERO, added_margin
from risk.core.reasons import ReasonCode
from risk.core.rules.case import LimitedCase, Loss, breach, ratio
from risk.core.rules.permission import APPROVED
from risk.core.values import AnchorName, Breach

DAILY = (AnchorName.DAY, AnchorName.ROLLING_DAY)
WEEKLY = (AnchorName.WEEK, AnchorName.ROLLING_WEEK)
(DAY, ROLLING_DAY), (WEEK, ROLLING_WEEK) = DAILY, WEEKLY


def permits_order_notional(case: LimitedCase) -> Breach | None:
    """quantity x max(mark, price) <= max position, USDT. Source: RTS 6 art. 15 (1) (b)."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    measured, limit = sizes.order_notional, case.limits.max_position_notional
    return None if measured <= limit else breach(ReasonCode.ORDER_NOTIONAL, measured=measured, limit=limit)


def permits_position_notional(case: LimitedCase) -> Breach | None:
    """N_s <= max position, USDT, per underlying across venues."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    measured, limit = sizes.symbol_notional, case.limits.max_position_notional
    return None if measured <= limit else breach(ReasonCode.POSITION_NOTIONAL, measured=measured, limit=limit)


def permits_symbol_share(case: LimitedCase) -> Breach | None:
    """N_s / E_r <= the single-symbol share."""
    sizes, equity, limit = case.sizes, case.equity, case.limits.max_symbol_share_ratio
    if sizes is None:
        return _unsized(case)
    if equity is not None and equity > ZERO and sizes.symbol_notional <= limit * equity:
        return None
    return _name_share(ReasonCode.SYMBOL_SHARE, sizes.symbol_notional, equity, limit)


def permits_leverage(case: LimitedCase) -> Breach | None:
    """gross / E_r <= the profile's leverage, gross = sum of N_s over all symbols (USDT)."""
    sizes, equity, limit = case.sizes, case.equity, case.limits.max_leverage
    if sizes is None:
        return _unsized(case)
    if equity is not None and equity > ZERO and sizes.gross <= limit * equity:
        return None
    return _name_share(ReasonCode.LEVERAGE, sizes.gross, equity, limit)


def permits_gross_exposure(case: LimitedCase) -> Breach | None:
    """gross = sum of N_s <= the profile's gross exposure, USDT. Source: 15c3-5 (c)(1)(i)."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    measured, limit = sizes.gross, case.limits.max_gross_exposure
    return None if measured <= limit else breach(ReasonCode.GROSS_EXPOSURE, measured=measured, limit=limit)


def permits_net_exposure(case: LimitedCase) -> Breach | None:
    """net = |sum of +-N_s|, all buys or all sells filled, <= the profile's net exposure, USDT."""
    sizes = case.sizes
    if sizes is None:
        return _unsized(case)
    measured, limit = sizes.net, case.limits.max_net_exposure
    return None if measured <= limit else breach(ReasonCode.NET_EXPOSURE, measured=measured, limit=limit)


def permits_firm_exposure(case: LimitedCase) -> Breach | None:
    """gross <= the account's allotment of the firm's exposure, USDT. Source: RTS 6 art. 15 (2)."""
    sizes, limit = case.sizes, case.ground.allotments.get("all")
    if sizes is not None and limit is not None and sizes.gross <= limit:
        return None
    return _name_allotment(case, ReasonCode.FIRM_EXPOSURE, "all", None if sizes is None else sizes.gross)


def permits_venue_exposure(case: LimitedCase) -> Breach | None:
    """gross at the venue <= the account's allotment of the venue's exposure, USDT."""
    sizes, scope = case.sizes, case.scopes[1]
    used, limit = None if sizes is None else sizes.venue_notional, case.ground.allotments.get(scope)
    if used is not None and limit is not None and used <= limit:
        return None
    return _name_allotment(case, ReasonCode.VENUE_EXPOSURE, scope, used)


def permits_strategy_exposure(case: LimitedCase) -> Breach | None:
    """gross of the strategy <= the account's allotment of the strategy's exposure, USDT."""
    sizes, scope = case.sizes, case.scopes[3]
    used, limit = None if sizes is None else sizes.strategy_notional, case.ground.allotments.get(scope)
    if used is not None and limit is not None and used <= limit:
        return None
    return _name_allotment(case, ReasonCode.STRATEGY_EXPOSURE, scope, used)


def permits_symbol_exposure(case: LimitedCase) -> Breach | None:
    """N_s <= the account's allotment of the symbol's exposure, USDT."""
    sizes, scope = case.sizes, case.scopes[4]
    used, limit = None if sizes is None else sizes.symbol_notional, case.ground.allotments.get(scope)
    if used is not None and limit is not None and used <= limit:
        return None
    return _name_allotment(case, ReasonCode.SYMBOL_EXPOSURE, scope, used)


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
    added = find_added_margin(case)
    if added is None:
        return breach(ReasonCode.VENUE_SETTING_UNKNOWN, measured=case.intent.symbol)
    margin, limit = balance.initial_margin + added, case.limits.max_margin_ratio
    if balance.equity > ZERO and margin <= limit * balance.equity:
        return None
    return _name_share(ReasonCode.MARGIN_USE, margin, balance.equity, limit)


def find_added_margin(case: LimitedCase) -> Decimal | None:
    """What the order and all that is pending would add (USDT); None where leverage is not known."""
    ground, sizes = case.ground, case.sizes
    book, terms, leverage = ground.book, ground.terms, ground.leverage
    if book is None or terms is None or sizes is None or leverage is None:
        return None
    return added_margin(book, terms, sizes.order_notional, leverage)


def permits_maintenance_margin(case: LimitedCase) -> Breach | None:
    """maintenance margin / E <= limit before the order (RISK.md rule 18)."""
    balance = case.snapshot.balance
    if balance is None:
        return breach(ReasonCode.BALANCE_UNKNOWN, measured=case.intent.account)
    limit, margin = case.limits.max_maintenance_ratio, balance.maintenance_margin
    if balance.equity > ZERO and margin <= limit * balance.equity:
        return None
    return _name_share(ReasonCode.MAINTENANCE_MARGIN, margin, balance.equity, limit)


def permits_trade_risk(case: LimitedCase) -> Breach | None:
    """R of the whole position after the order / E_r <= risk per trade."""
    sizes, equity, limit = case.sizes, case.equity, case.limits.max_trade_risk_ratio
    if sizes is None:
        return _unsized(case)
    if equity is not None and equity > ZERO and sizes.trade_risk <= limit * equity:
        return None
    return _name_share(ReasonCode.RISK_PER_TRADE, sizes.trade_risk, equity, limit)


def permits_portfolio_risk(case: LimitedCase) -> Breach | None:
    """Sum of R over positions, pending entries and the order, no netting / E_r <= limit."""
    sizes, equity, limit = case.sizes, case.equity, case.limits.max_portfolio_risk_ratio
    if sizes is None:
        return _unsized(case)
    if equity is not None and equity > ZERO and sizes.total_risk <= limit * equity:
        return None
    return _name_share(ReasonCode.PORTFOLIO_RISK, sizes.total_risk, equity, limit)


def permits_correlated_bets(case: LimitedCase) -> Breach | None:
    """max(sum of long R, sum of short R) of what is correlated with the symbol / E_r <= limit."""
    sizes, equity, limit = case.sizes, case.equity, case.limits.max_bet_risk_ratio
    if sizes is None:
        return _unsized(case)
    if equity is not None and equity > ZERO and sizes.bet_risk <= limit * equity:
        return None
    return _name_share(ReasonCode.CORRELATED_BET, sizes.bet_risk, equity, limit)


def permits_stressed_loss(case: LimitedCase) -> Breach | None:
    """Loss of a gap through every stop, of the worse side / E_r <= the capital-loss stop (RISK.md 3.6)."""
    sizes, equity, limit = case.sizes, case.equity, case.limits.capital_loss_stop_ratio
    if sizes is None:
        return _unsized(case)
    if equity is not None and equity > ZERO and sizes.stressed_loss <= limit * equity:
        return None
    return _name_share(ReasonCode.STRESSED_LOSS, sizes.stressed_loss, equity, limit)


def permits_daily_loss(case: LimitedCase) -> Breach | None:
    """max over {00:00 UTC, now - 24 h} of max(0, (E_a + F - E) / E_a) < the daily limit."""
    limit = case.limits.max_daily_loss_ratio
    if _is_below(case, DAY, ROLLING_DAY, limit):
        return None
    return _name_loss(case, ReasonCode.DAILY_LOSS, DAILY, limit)


def permits_weekly_loss(case: LimitedCase) -> Breach | None:
    """The same over {Monday 00:00 UTC, now - 7 d} < the weekly limit."""
    limit = case.limits.max_weekly_loss_ratio
    if _is_below(case, WEEK, ROLLING_WEEK, limit):
        return None
    return _name_loss(case, ReasonCode.WEEKLY_LOSS, WEEKLY, limit)


def permits_daily_loss_budget(case: LimitedCase) -> Breach | None:
    """Loss since each daily anchor + sum of R after the order <= daily limit x E_a (USDT)."""
    limit = case.limits.max_daily_loss_ratio
    if _has_room(case, DAY, ROLLING_DAY, limit):
        return None
    return _name_budget(case, ReasonCode.DAILY_LOSS_BUDGET, DAILY, limit)


def permits_weekly_loss_budget(case: LimitedCase) -> Breach | None:
    """Loss since each weekly anchor + sum of R after the order <= weekly limit x E_a (USDT)."""
    limit = case.limits.max_weekly_loss_ratio
    if _has_room(case, WEEK, ROLLING_WEEK, limit):
        return None
    return _name_budget(case, ReasonCode.WEEKLY_LOSS_BUDGET, WEEKLY, limit)


def permits_position_count(case: LimitedCase) -> Breach | None:
    """Symbols held or pending, this one included, <= the number of positions."""
    book = case.ground.book
    if book is None:
        return breach(ReasonCode.BOOK_PRICE_UNKNOWN)
    symbols, limit = book.symbols, case.limits.max_positions
    count = len(symbols) if case.intent.symbol in symbols else len(symbols) + 1
    return None if count <= limit else breach(ReasonCode.POSITION_COUNT, measured=count, limit=limit)


def permits_trades_per_day(case: LimitedCase) -> Breach | None:
    """Entries first filled since 00:00 UTC + approved unfilled entries + this one <= the limit."""
    entered, limit = case.snapshot.entries_today, case.limits.max_trades_per_day
    if entered is None:
        return breach(ReasonCode.TRADE_COUNT_UNKNOWN)
    intent_id, count = case.intent.intent_id, entered + 1
    for item in case.snapshot.pending:
        if (not item.has_fills or item.stage is APPROVED) and item.intent_id != intent_id:
            count += 1
    return None if count <= limit else breach(ReasonCode.TRADES_PER_DAY, measured=count, limit=limit)


def _name_share(code: ReasonCode, part: Decimal, whole: Decimal | None, limit: Decimal) -> Breach:
    """Why not part <= limit x whole; a whole that is unknown or not above zero denies."""
    if whole is None:
        return breach(ReasonCode.BALANCE_UNKNOWN)
    if whole <= ZERO:
        return breach(ReasonCode.NO_EQUITY, measured=whole, limit="above 0")
    return breach(code, measured=ratio(part, whole), limit=limit)


def _unsized(case: LimitedCase) -> Breach:
    """Why the order could not be measured."""
    if case.count_price is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    return breach(ReasonCode.BOOK_PRICE_UNKNOWN)


def _name_allotment(case: LimitedCase, code: ReasonCode, scope: str, used: Decimal | None) -> Breach:
    if used is None:
        return _unsized(case)
    limit = case.ground.allotments.get(scope)
    if limit is None:
        return breach(ReasonCode.ALLOTMENT_UNKNOWN, measured=scope)
    return breach(code, measured=used, limit=limit)


def _is_below(case: LimitedCase, fixed: AnchorName, rolling: AnchorName, limit: Decimal) -> bool:
    """loss < limit x E_a at both anchors; one that is unknown or not above zero is no."""
    losses = case.ground.losses
    if losses is None or fixed not in losses or rolling not in losses:
        return False
    (one, lost), (other, lost_since) = losses[fixed], losses[rolling]
    known = one.equity > ZERO and other.equity > ZERO
    return known and lost < limit * one.equity and lost_since < limit * other.equity


def _has_room(case: LimitedCase, fixed: AnchorName, rolling: AnchorName, limit: Decimal) -> bool:
    """loss + R <= limit x E_a at both anchors; one that is unknown or not above zero is no."""
    losses, sizes = case.ground.losses, case.sizes
    if losses is None or sizes is None or fixed not in losses or rolling not in losses:
        return False
    (one, lost), (other, lost_since), risk = losses[fixed], losses[rolling], sizes.total_risk
    known = one.equity > ZERO and other.equity > ZERO
    return known and lost + risk <= limit * one.equity and lost_since + risk <= limit * other.equity


def _find_losses(case: LimitedCase, names: tuple[AnchorName, ...]) -> list[Loss] | Breach:
    """The losses since these anchors, or why one is not known."""
    losses = case.ground.losses
    if losses is None:
        return breach(ReasonCode.BALANCE_UNKNOWN, measured=case.intent.account)
    for name in names:
        if name not in losses or losses[name][0].equity <= ZERO:
            return breach(ReasonCode.EQUITY_ANCHOR_UNKNOWN, measured=name.value)
    return [losses[name] for name in names]


def _name_loss(case: LimitedCase, code: ReasonCode, names: tuple[AnchorName, ...], limit: Decimal) -> Breach:
    """Why the loss is not below the limit: the first anchor since which it is not."""
    found = _find_losses(case, names)
    if isinstance(found, Breach):
        return found
    anchor, lost = next(item for item in found if item[1] >= limit * item[0].equity)
    measured = ratio(lost, anchor.equity)
    text = f"lost {measured} since {anchor.name.value} ({anchor.at.isoformat()})"
    return breach(code, measured=measured, limit=limit, text=text)


def _name_budget(
    case: LimitedCase, code: ReasonCode, names: tuple[AnchorName, ...], limit: Decimal
) -> Breach:
    """Why no room is left: the first anchor that leaves none."""
    found, sizes = _find_losses(case, names), case.sizes
    if isinstance(found, Breach):
        return found
    if sizes is None:
        return _unsized(case)
    parts = [(lost + sizes.total_risk, limit * anchor.equity) for anchor, lost in found]
    spent, room = next((spent, room) for spent, room in parts if spent > room)
    return breach(code, measured=spent, limit=room)
