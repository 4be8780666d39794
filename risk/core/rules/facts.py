"""Are the facts fresh enough to judge by: prices, signal, balance, reconciliation, settings?"""

from datetime import timedelta

from risk.core.measures import BUY, ZERO
from risk.core.reasons import ReasonCode
from risk.core.rules.case import LimitedCase, breach, ratio
from risk.core.values import Breach

ISOLATED = "isolated"
# A signal may be stamped by another computer's clock.
CLOCK_TOLERANCE = timedelta(seconds=5)
EARLIEST = -CLOCK_TOLERANCE


def permits_fresh_prices(case: LimitedCase) -> Breach | None:
    """|market time - price time| <= max_price_age. Source: RTS 6 art. 15; unknown denies."""
    prices = case.snapshot.prices
    if prices is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=case.intent.symbol)
    age = abs(case.snapshot.market_at - prices.at)
    if age <= case.limits.max_price_age:
        return None
    return breach(ReasonCode.PRICE_STALE, measured=age, limit=case.limits.max_price_age)


def permits_prices_inside_the_collar(case: LimitedCase) -> Breach | None:
    """A limit price may be collar_ratio through mark and passive_collar_ratio away from it.

    A market order is measured by the price it would take (ask for a buy, bid for a sell) on both
    sides of mark by collar_ratio. Ratios of mark. Source: RTS 6 art. 15 (1) (a).
    """
    prices, intent = case.snapshot.prices, case.intent
    if prices is None:
        return breach(ReasonCode.PRICE_UNKNOWN, measured=intent.symbol)
    buys, mark, asked = intent.side is BUY, prices.mark, intent.price
    price = (prices.ask if buys else prices.bid) if asked is None else asked
    towards = price - mark if buys else mark - price
    passive = asked is not None and towards < ZERO
    limit = case.limits.passive_collar_ratio if passive else case.limits.collar_ratio
    distance = abs(towards)
    if distance <= limit * mark:
        return None
    return breach(ReasonCode.PRICE_COLLAR, measured=ratio(distance, mark), limit=limit)


def permits_fresh_signals(case: LimitedCase) -> Breach | None:
    """0 <= market time - signal time <= max_signal_age; five seconds of another clock are forgiven."""
    age = case.snapshot.market_at - case.intent.signal_at
    if age < EARLIEST:
        return breach(ReasonCode.SIGNAL_IN_FUTURE, measured=age, limit=EARLIEST)
    if age <= case.limits.max_signal_age:
        return None
    return breach(ReasonCode.SIGNAL_STALE, measured=age, limit=case.limits.max_signal_age)


def permits_fresh_balances(case: LimitedCase) -> Breach | None:
    """Equity is known, above zero, and at most max_balance_age old (wall time)."""
    balance = case.snapshot.balance
    if balance is None or case.equity is None:
        return breach(ReasonCode.BALANCE_UNKNOWN, measured=case.intent.account)
    if case.equity <= ZERO:
        return breach(ReasonCode.NO_EQUITY, measured=case.equity, limit="above 0")
    age = case.snapshot.wall_at - balance.read_at
    if age <= case.limits.max_balance_age:
        return None
    return breach(ReasonCode.BALANCE_STALE, measured=age, limit=case.limits.max_balance_age)


def permits_reconciled_books(case: LimitedCase) -> Breach | None:
    """The book was compared at most max_reconciliation_age ago (wall time), the symbol without difference."""
    last = case.snapshot.reconciliation
    if last is None:
        return breach(ReasonCode.RECONCILIATION_UNKNOWN, measured=case.intent.account)
    if case.intent.symbol in last.symbols or "" in last.symbols:
        return breach(ReasonCode.RECONCILIATION_MISMATCH, measured=", ".join(last.symbols), limit="none")
    age = case.snapshot.wall_at - last.finished_at
    if age <= case.limits.max_reconciliation_age:
        return None
    return breach(ReasonCode.RECONCILIATION_STALE, measured=age, limit=case.limits.max_reconciliation_age)


def permits_known_venue_settings(case: LimitedCase) -> Breach | None:
    """Margin is isolated and leverage <= the profile's, as read back lately (RISK.md rule 8)."""
    setting = case.snapshot.setting
    if setting is None or case.snapshot.wall_at - setting.read_at > case.limits.max_setting_age:
        return breach(ReasonCode.VENUE_SETTING_UNKNOWN, measured=case.intent.symbol)
    if setting.margin_mode != ISOLATED:
        return breach(ReasonCode.MARGIN_MODE_NOT_ISOLATED, measured=setting.margin_mode, limit=ISOLATED)
    if setting.leverage <= case.limits.max_leverage:
        return None
    return breach(
        ReasonCode.VENUE_LEVERAGE_TOO_HIGH, measured=setting.leverage, limit=case.limits.max_leverage
    )


def permits_plain_account_modes(case: LimitedCase) -> Breach | None:
    """One-way positions and a single margin asset, as read back (RISK.md rules 8 and 18)."""
    setting = case.snapshot.setting
    if setting is not None and setting.is_one_way and setting.is_single_asset:
        return None
    is_one_way = None if setting is None else setting.is_one_way
    is_single_asset = None if setting is None else setting.is_single_asset
    name, is_so = ("single-asset", is_single_asset) if is_one_way else ("one-way", is_one_way)
    code = ReasonCode.ACCOUNT_MODE_UNKNOWN if is_so is None else ReasonCode.ACCOUNT_MODE
    return breach(code, measured=f"{name} {'unknown' if is_so is None else 'off'}", limit=name)


def permits_a_priced_book(case: LimitedCase) -> Breach | None:
    """Everything held or pending has a mark at most max_book_price_age old (market time)."""
    if case.ground.book is not None:
        return None
    return breach(ReasonCode.BOOK_PRICE_UNKNOWN, limit=case.limits.max_book_price_age)
