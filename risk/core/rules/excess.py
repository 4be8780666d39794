"""By how much an order exceeds each limit of size: the straight lines that lead to the largest quantity.

Only a way to find a quantity sooner: what it finds is believed once the rules permit it and deny one lot
more. A rule that is not listed here is searched by halving.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal

from risk.core.measures import ZERO, Sizes
from risk.core.rules import book, market, request
from risk.core.rules.case import LimitedCase
from risk.core.values import Breach

Rule = Callable[[LimitedCase], Breach | None]
# Measured less limit, linear in the quantity but for a kink where one side overtakes the other.
Excess = Callable[[LimitedCase], Decimal]


def _over(measure: Callable[[Sizes], Decimal], limit: Excess) -> Excess:
    def excess(case: LimitedCase) -> Decimal:
        return ZERO if case.sizes is None else measure(case.sizes) - limit(case)

    return excess


def _of_equity(name: str) -> Excess:
    """limit x E_r."""
    return lambda case: getattr(case.limits, name) * (case.equity or ZERO)


def _allotted(place: int) -> Excess:
    """The part of the scope at that place of the case's scopes."""
    return lambda case: case.ground.allotments.get(case.scopes[place], ZERO)


def _budget(weekly: bool) -> Excess:
    """What the anchor with the least room leaves for R."""

    def room(case: LimitedCase) -> Decimal:
        limit = case.limits.max_weekly_loss_ratio if weekly else case.limits.max_daily_loss_ratio
        names = book.WEEKLY if weekly else book.DAILY
        losses = [loss for name, loss in (case.ground.losses or {}).items() if name in names]
        return min((limit * anchor.equity - amount for anchor, amount in losses), default=ZERO)

    return room


def _margin(case: LimitedCase) -> Decimal:
    """Margin in use and to come less its limit; 0 where not known."""
    balance, added = case.snapshot.balance, book.find_added_margin(case)
    most = None if balance is None else case.limits.max_margin_ratio * balance.equity - balance.initial_margin
    return ZERO if added is None or most is None else added - most


def _venue(case: LimitedCase) -> Decimal:
    """quantity less the venue's maximum (base units)."""
    known, is_market = case.snapshot.instrument, case.intent.order_type is request.MARKET
    limit = None if known is None else known.max_market_quantity if is_market else known.max_quantity
    return ZERO if limit is None else case.quantity - limit


def _depth(case: LimitedCase) -> Decimal:
    """quantity less the share of what rests (base units)."""
    return case.quantity - (market.find_depth_limit(case) or ZERO)


EXCESSES: Mapping[Rule, Excess] = {
    request.permits_venue_quantity: _venue,
    market.permits_deep_books: _depth,
    book.permits_order_notional: _over(lambda s: s.order_notional, lambda c: c.limits.max_position_notional),
    book.permits_position_notional: _over(
        lambda s: s.symbol_notional, lambda c: c.limits.max_position_notional
    ),
    book.permits_symbol_share: _over(lambda s: s.symbol_notional, _of_equity("max_symbol_share_ratio")),
    book.permits_leverage: _over(lambda s: s.gross, _of_equity("max_leverage")),
    book.permits_gross_exposure: _over(lambda s: s.gross, lambda c: c.limits.max_gross_exposure),
    book.permits_net_exposure: _over(lambda s: s.net, lambda c: c.limits.max_net_exposure),
    book.permits_firm_exposure: _over(lambda s: s.gross, _allotted(0)),
    book.permits_venue_exposure: _over(lambda s: s.venue_notional, _allotted(1)),
    book.permits_strategy_exposure: _over(lambda s: s.strategy_notional, _allotted(3)),
    book.permits_symbol_exposure: _over(lambda s: s.symbol_notional, _allotted(4)),
    book.permits_margin_use: _margin,
    book.permits_trade_risk: _over(lambda s: s.trade_risk, _of_equity("max_trade_risk_ratio")),
    book.permits_portfolio_risk: _over(lambda s: s.total_risk, _of_equity("max_portfolio_risk_ratio")),
    book.permits_correlated_bets: _over(lambda s: s.bet_risk, _of_equity("max_bet_risk_ratio")),
    book.permits_stressed_loss: _over(lambda s: s.stressed_loss, _of_equity("capital_loss_stop_ratio")),
    book.permits_daily_loss_budget: _over(lambda s: s.total_risk, _budget(weekly=False)),
    book.permits_weekly_loss_budget: _over(lambda s: s.total_risk, _budget(weekly=True)),
}
