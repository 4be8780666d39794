"""What the book measures, before and with one more order (RISK.md part 1).

The terms are those of RISK.md: N_s worst-case notional, R loss at the stop, E_r equity for risk.
Nothing is netted but net exposure. An unknown price makes a measure None, and None denies.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from risk.core.bets import find_bet
from risk.core.values import Anchor, BalanceFacts, Intent, Limits, PendingFacts, PositionFacts, Snapshot
from trading.core.values import Side

ZERO = Decimal(0)
# Slippage allowance of 0.2 % and gap of 10 % (RISK.md parts 1 and 3.6); others have more.
MAJOR_SYMBOLS = frozenset({"BTCUSDT", "ETHUSDT"})

Item = PositionFacts | PendingFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One symbol at one venue: signed position, pending quantities, the highest price to count at."""

    venue: str
    symbol: str
    strategies: frozenset[str]
    position: Decimal
    pending_buys: Decimal
    pending_sells: Decimal
    price: Decimal

    def reach(self, side: Side | None, quantity: Decimal) -> tuple[Decimal, Decimal]:
        """The highest and the lowest signed position if everything pending, and the order, fills."""
        buys = self.pending_buys + (quantity if side is Side.BUY else ZERO)
        sells = self.pending_sells + (quantity if side is Side.SELL else ZERO)
        return self.position + buys, self.position - sells

    def worst_notional(self, side: Side | None, quantity: Decimal, price: Decimal) -> Decimal:
        """N_s in USDT: the larger side if everything pending, and the given order, fills."""
        high, low = self.reach(side, quantity)
        return max(abs(high), abs(low)) * max(self.price, price)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Everything but the order's own symbol at its venue, summed up; USDT.

    `notional` is gross, of which `venue`, `strategy` and `symbol` share that with the order. `upper`
    and `lower` are the signed net if all buys, or all sells, fill; `long_stress` and `short_stress`
    what a gap would cost either side (RISK.md 3.6).
    """

    notional: Decimal = ZERO
    venue: Decimal = ZERO
    strategy: Decimal = ZERO
    symbol: Decimal = ZERO
    upper: Decimal = ZERO
    lower: Decimal = ZERO
    long_stress: Decimal = ZERO
    short_stress: Decimal = ZERO


# In the order of `_weigh`.
_REST_FIELDS = tuple(Rest.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one unit of the order counts at (`price`), P_in (`entry`) and the stop that would close it.

    Prices in USDT; `stop` None is no stop, `leverage` None is not known.
    """

    price: Decimal
    entry: Decimal
    stop: Decimal | None
    leverage: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRisk:
    """R (USDT) of the order's symbol, of everything, and of the longs and shorts correlated with it."""

    symbol: Decimal
    total: Decimal
    long_bet: Decimal
    short_bet: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingNotional:
    """Notional (USDT) of entries not yet filled in the order's symbol at its venue, and elsewhere."""

    here: Decimal
    elsewhere: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The account's book without the order in question; USDT.

    `here` is the order's symbol at its venue, `rest` everything else; `symbols` are held or pending.
    """

    here: Holding
    rest: Rest
    risk: OpenRisk
    pending: PendingNotional
    symbols: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The book with the order filled at its worst, USDT; `margin` None where leverage is not known."""

    order_notional: Decimal
    symbol_notional: Decimal
    gross: Decimal
    net: Decimal
    venue_notional: Decimal
    strategy_notional: Decimal
    stressed_loss: Decimal
    margin: Decimal | None
    trade_risk: Decimal
    total_risk: Decimal
    bet_risk: Decimal


def slippage_ratio(symbol: str, limits: Limits) -> Decimal:
    """s of RISK.md: the allowance for a stop that fills worse than its trigger."""
    return limits.major_slippage_ratio if symbol in MAJOR_SYMBOLS else limits.other_slippage_ratio


def gap_ratio(symbol: str, limits: Limits) -> Decimal:
    """How far a price may gap through every stop in a cascade (RISK.md 3.6), ratio of notional."""
    return limits.major_gap_ratio if symbol in MAJOR_SYMBOLS else limits.other_gap_ratio


def equity_for_risk(balance: BalanceFacts, limits: Limits) -> Decimal:
    """E_r = min(equity, wallet, approved capital), USDT; may be <= 0, which denies."""
    return min(balance.equity, balance.wallet, limits.reference_capital)


def entry_price(side: Side, price: Decimal | None, mark: Decimal, limits: Limits) -> Decimal:
    """P_in: the limit price, or for a market order the far edge of the collar around mark."""
    if price is not None:
        return price
    return mark * (1 + side.sign * limits.collar_ratio)


def entry_risk(
    symbol: str, quantity: Decimal, entry: Decimal, stop: Decimal | None, limits: Limits
) -> Decimal:
    """R = Q (|P_in - P_stop| + f (P_in + P_stop) + s P_stop), USDT; without a stop Q x P_in."""
    if stop is None:
        return quantity * entry
    fees = limits.taker_fee_ratio * (entry + stop)
    return quantity * (abs(entry - stop) + fees + slippage_ratio(symbol, limits) * stop)


def position_risk(position: PositionFacts, mark: Decimal, limits: Limits) -> Decimal:
    """R of a held position from mark to its verified stop, >= 0, plus leaving costs at the stop.

    Without a verified stop the whole notional is at risk. Fees already paid are not counted.
    """
    size, stop = abs(position.quantity), position.stop_price
    if stop is None:
        return size * mark
    distance = mark - stop if position.quantity > 0 else stop - mark
    costs = (limits.taker_fee_ratio + slippage_ratio(position.symbol, limits)) * stop
    return size * (max(ZERO, distance) + costs)


def loss_amount(anchor: Anchor, balance: BalanceFacts) -> Decimal:
    """max(0, E_a + F - E) in USDT: what was lost since the anchor, external flows netted."""
    return max(ZERO, anchor.equity + anchor.net_flow - balance.equity)


def is_priced(mark: Decimal | None, mark_at: datetime | None, market_at: datetime, limits: Limits) -> bool:
    """Whether something in the book has a mark that is not older than the book's price age."""
    return mark is not None and mark_at is not None and market_at - mark_at <= limits.max_book_price_age


def measure_book(intent: Intent, snapshot: Snapshot, limits: Limits) -> Book | None:
    """The book without the order, or None where a price is missing or too old.

    The order's own intent is never part of the pending entries it is judged against.
    """
    own = intent.intent_id
    items: list[Item] = [*snapshot.positions, *(p for p in snapshot.pending if p.intent_id != own)]
    for item in items:
        if not is_priced(item.mark, item.mark_at, snapshot.market_at, limits):
            return None
    symbols = frozenset([item.symbol for item in items])
    holdings = collect_holdings(items)
    here = holdings.pop((intent.venue, intent.symbol), None) or _empty(intent)
    bet = find_bet(intent.symbol, symbols, snapshot, limits)
    return Book(
        here=here,
        rest=_add_up(intent, holdings.values(), limits),
        risk=_sum_risks(intent, items, bet, limits),
        pending=_sum_pending(intent, items),
        symbols=symbols,
    )


def _sum_risks(intent: Intent, items: list[Item], bet: frozenset[str], limits: Limits) -> OpenRisk:
    here = total = long = short = ZERO
    for item in items:
        risk = _risk_of(item, limits)
        total += risk
        if item.symbol == intent.symbol:
            here += risk
        if item.symbol in bet:
            is_long = _is_long(item)
            long, short = (long + risk, short) if is_long else (long, short + risk)
    return OpenRisk(symbol=here, total=total, long_bet=long, short_bet=short)


def size_order(intent: Intent, book: Book, terms: Terms, quantity: Decimal, limits: Limits) -> Sizes:
    """Every measure that grows with the quantity (base units), with the order filled at its worst.

    Margin is that of what is pending and of the order, with its fee and slippage; what the venue
    already holds comes on top. Pending entries of other symbols count in full, as their leverage is
    not at hand.
    """
    worst = book.here.worst_notional(intent.side, quantity, terms.price)
    risk = entry_risk(intent.symbol, quantity, terms.entry, terms.stop, limits)
    net, stressed = _reach_out(intent, book, quantity, terms.price, limits)
    long, short = (risk, ZERO) if intent.side is Side.BUY else (ZERO, risk)
    return Sizes(
        order_notional=quantity * terms.price,
        symbol_notional=book.rest.symbol + worst,
        gross=book.rest.notional + worst,
        net=net,
        venue_notional=book.rest.venue + worst,
        strategy_notional=book.rest.strategy + worst,
        stressed_loss=stressed,
        margin=_added_margin(intent, book, terms, quantity, limits),
        trade_risk=book.risk.symbol + risk,
        total_risk=book.risk.total + risk,
        bet_risk=max(book.risk.long_bet + long, book.risk.short_bet + short),
    )


def _reach_out(
    intent: Intent, book: Book, quantity: Decimal, price: Decimal, limits: Limits
) -> tuple[Decimal, Decimal]:
    """Net exposure |sum of +-N_s| at its worst, and the loss of a gap through every stop."""
    count, rest = max(book.here.price, price), book.rest
    high, low = book.here.reach(intent.side, quantity)
    gap = gap_ratio(intent.symbol, limits) * count
    net = max(abs(rest.upper + high * count), abs(rest.lower + low * count))
    long = rest.long_stress + max(ZERO, high) * gap
    return net, max(long, rest.short_stress + max(ZERO, -low) * gap)


def _added_margin(
    intent: Intent, book: Book, terms: Terms, quantity: Decimal, limits: Limits
) -> Decimal | None:
    if terms.leverage is None or terms.leverage <= 0:
        return None
    notional = quantity * terms.price
    costs = notional * (limits.taker_fee_ratio + slippage_ratio(intent.symbol, limits))
    return (book.pending.here + notional) / terms.leverage + book.pending.elsewhere + costs


def _risk_of(item: Item, limits: Limits) -> Decimal:
    mark = item.mark or ZERO
    if isinstance(item, PositionFacts):
        return position_risk(item, mark, limits)
    entry = entry_price(item.side, item.price, mark, limits)
    return entry_risk(item.symbol, item.quantity, entry, item.stop_loss, limits)


def _is_long(item: Item) -> bool:
    return item.quantity > 0 if isinstance(item, PositionFacts) else item.side is Side.BUY


def _count_price(item: Item) -> Decimal:
    """max(mark, order price): what one unit is counted at."""
    mark = item.mark or ZERO
    return max(mark, item.price or ZERO) if isinstance(item, PendingFacts) else mark


def _sum_pending(intent: Intent, items: list[Item]) -> PendingNotional:
    here = elsewhere = ZERO
    for item in items:
        if isinstance(item, PositionFacts):
            continue
        notional = item.quantity * _count_price(item)
        if item.symbol == intent.symbol and item.venue == intent.venue:
            here += notional
        else:
            elsewhere += notional
    return PendingNotional(here=here, elsewhere=elsewhere)


def _empty(intent: Intent) -> Holding:
    return Holding(
        venue=intent.venue,
        symbol=intent.symbol,
        strategies=frozenset(),
        position=ZERO,
        pending_buys=ZERO,
        pending_sells=ZERO,
        price=ZERO,
    )


def collect_holdings(items: Iterable[Item]) -> dict[tuple[str, str], Holding]:
    """What is held and pending, by (venue, symbol)."""
    keys: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        keys.setdefault((item.venue, item.symbol), []).append(item)
    return {key: _hold(*key, together) for key, together in keys.items()}


def _hold(venue: str, symbol: str, items: list[Item]) -> Holding:
    position = buys = sells = price = ZERO
    for item in items:
        price = max(price, _count_price(item))
        if isinstance(item, PositionFacts):
            position += item.quantity
        elif item.side is Side.BUY:
            buys += item.quantity
        else:
            sells += item.quantity
    return Holding(
        venue=venue,
        symbol=symbol,
        strategies=frozenset([item.strategy for item in items]),
        position=position,
        pending_buys=buys,
        pending_sells=sells,
        price=price,
    )


def _add_up(intent: Intent, holdings: Iterable[Holding], limits: Limits) -> Rest:
    parts = [_weigh(intent, held, limits) for held in holdings]
    totals = [sum(column, ZERO) for column in zip(*parts, strict=True)]
    return Rest(**dict(zip(_REST_FIELDS, totals, strict=False)))


def _weigh(intent: Intent, held: Holding, limits: Limits) -> tuple[Decimal, ...]:
    """What one holding adds to each field of Rest."""
    high, low = held.reach(None, ZERO)
    worst = max(abs(high), abs(low)) * held.price
    gap = gap_ratio(held.symbol, limits) * held.price
    return (
        worst,
        worst if held.venue == intent.venue else ZERO,
        worst if intent.strategy in held.strategies else ZERO,
        worst if held.symbol == intent.symbol else ZERO,
        high * held.price,
        low * held.price,
        max(ZERO, high) * gap,
        max(ZERO, -low) * gap,
    )
