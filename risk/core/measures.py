"""What the book measures, before and with one more order (RISK.md part 1).

The terms are those of RISK.md: N_s worst-case notional, R loss at the stop, E_r equity for risk.
Nothing is netted but net exposure. An unknown price makes a measure None, and None denies.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from risk.core.bets import find_bet
from risk.core.values import Anchor, BalanceFacts, Intent, Limits, PendingFacts, PositionFacts, Snapshot
from risk.core.working import working_value
from trading.core.values import Side

ZERO = Decimal(0)
BUY = Side.BUY
# Slippage allowance of 0.2 % and gap of 10 % (RISK.md parts 1 and 3.6); others have more.
MAJOR_SYMBOLS = frozenset({"BTCUSDT", "ETHUSDT"})

Item = PositionFacts | PendingFacts


@working_value
class Holding:
    """One symbol at one venue: what it is counted at (USDT), and how far it may reach (base units).

    `high` and `low` are the signed position if every pending buy, or every pending sell, fills;
    `pending` is the notional (USDT) of those entries.
    """

    venue: str
    symbol: str
    strategies: tuple[str, ...]
    high: Decimal
    low: Decimal
    price: Decimal
    pending: Decimal

    @property
    def worst_notional(self) -> Decimal:
        """N_s in USDT: the larger side if everything pending fills."""
        return max(self.high, -self.low) * self.price


@working_value
class Rest:
    """Everything but the order's own symbol at its venue, summed up; USDT.

    `notional` is gross, of which `venue`, `strategy` and `symbol` share that with the order. `upper`
    and `lower` are the signed net if all buys, or all sells, fill; `long_stress` and `short_stress`
    what a gap would cost either side (RISK.md 3.6); `pending` is the notional of entries not yet filled.
    """

    notional: Decimal
    venue: Decimal
    strategy: Decimal
    symbol: Decimal
    upper: Decimal
    lower: Decimal
    long_stress: Decimal
    short_stress: Decimal
    pending: Decimal


@working_value
class Terms:
    """What one unit of the order counts for, whatever its quantity; USDT.

    `price` is max(mark, order price), `count` that or what the book counts the symbol at, `gap` what a
    gap would take. `risk` is R and `costs` fee and slippage as a share of notional.
    """

    price: Decimal
    count: Decimal
    gap: Decimal
    risk: Decimal
    costs: Decimal


@working_value
class OpenRisk:
    """R (USDT) of the order's symbol, of everything, and of the longs and shorts correlated with it."""

    symbol: Decimal
    total: Decimal
    long_bet: Decimal
    short_bet: Decimal


@working_value
class Book:
    """The account's book without the order in question; USDT.

    `here` is the order's symbol at its venue, `rest` everything else; `symbols` are held or pending.
    """

    here: Holding
    rest: Rest
    risk: OpenRisk
    symbols: frozenset[str]


@working_value
class Sizes:
    """The book with the order filled at its worst, USDT."""

    order_notional: Decimal
    symbol_notional: Decimal
    gross: Decimal
    net: Decimal
    venue_notional: Decimal
    strategy_notional: Decimal
    stressed_loss: Decimal
    trade_risk: Decimal
    total_risk: Decimal
    bet_risk: Decimal


def cost_ratio(symbol: str, limits: Limits) -> Decimal:
    """f + s: what leaving at a stop costs, ratio of notional."""
    if symbol in MAJOR_SYMBOLS:
        return limits.taker_fee_ratio + limits.major_slippage_ratio
    return limits.taker_fee_ratio + limits.other_slippage_ratio


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
    return quantity * unit_risk(symbol, entry, stop, limits)


def unit_risk(symbol: str, entry: Decimal, stop: Decimal | None, limits: Limits) -> Decimal:
    """R of one unit of the base asset, USDT."""
    if stop is None:
        return entry
    slippage = limits.major_slippage_ratio if symbol in MAJOR_SYMBOLS else limits.other_slippage_ratio
    return abs(entry - stop) + limits.taker_fee_ratio * (entry + stop) + slippage * stop


def position_risk(position: PositionFacts, mark: Decimal, limits: Limits) -> Decimal:
    """R of a held position from mark to its verified stop, >= 0, plus leaving costs at the stop.

    Without a verified stop the whole notional is at risk. Fees already paid are not counted.
    """
    size, stop = abs(position.quantity), position.stop_price
    if stop is None:
        return size * mark
    distance = mark - stop if position.quantity > ZERO else stop - mark
    is_major = position.symbol in MAJOR_SYMBOLS
    slippage = limits.major_slippage_ratio if is_major else limits.other_slippage_ratio
    costs = (limits.taker_fee_ratio + slippage) * stop
    return size * (distance + costs if distance > ZERO else costs)


def loss_amount(anchor: Anchor, balance: BalanceFacts) -> Decimal:
    """max(0, E_a + F - E) in USDT: what was lost since the anchor, external flows netted."""
    lost = anchor.equity + anchor.net_flow - balance.equity
    return lost if lost > ZERO else ZERO


def is_priced(mark: Decimal | None, mark_at: datetime | None, market_at: datetime, limits: Limits) -> bool:
    """Whether something in the book has a mark that is not older than the book's price age."""
    return mark is not None and mark_at is not None and market_at - mark_at <= limits.max_book_price_age


def measure_book(intent: Intent, snapshot: Snapshot, limits: Limits) -> Book | None:
    """The book without the order, or None where a price is missing or too old.

    The order's own intent is never part of the pending entries it is judged against.
    """
    own, now = intent.intent_id, snapshot.market_at
    items: list[Item] = [*snapshot.positions, *[p for p in snapshot.pending if p.intent_id != own]]
    for item in items:
        if not is_priced(item.mark, item.mark_at, now, limits):
            return None
    symbols, holdings = frozenset([item.symbol for item in items]), collect_holdings(items)
    here = holdings.pop((intent.venue, intent.symbol), None)
    bet = find_bet(intent.symbol, symbols, snapshot, limits)
    return Book(
        here or Holding(intent.venue, intent.symbol, (), ZERO, ZERO, ZERO, ZERO),
        _add_up(intent, holdings.values(), limits),
        _sum_risks(intent, items, bet, limits),
        symbols,
    )


def _sum_risks(intent: Intent, items: list[Item], bet: frozenset[str], limits: Limits) -> OpenRisk:
    here = total = long = short = ZERO
    for item in items:
        if isinstance(item, PositionFacts):
            risk, is_long = position_risk(item, item.mark or ZERO, limits), item.quantity > ZERO
        else:
            risk, is_long = _pending_risk(item, limits), item.side is BUY
        total += risk
        if item.symbol == intent.symbol:
            here += risk
        if item.symbol not in bet:
            continue
        if is_long:
            long += risk
        else:
            short += risk
    return OpenRisk(here, total, long, short)


def _pending_risk(item: PendingFacts, limits: Limits) -> Decimal:
    """R of an entry that may still fill."""
    entry = item.price
    if entry is None:
        entry = entry_price(item.side, None, item.mark or ZERO, limits)
    return item.quantity * unit_risk(item.symbol, entry, item.stop_loss, limits)


def state_terms(
    intent: Intent, book: Book, prices: tuple[Decimal, Decimal], stop: Decimal | None, limits: Limits
) -> Terms:
    """What one unit of an order counts for; `prices` are mark and max(mark, order price).

    `stop` is the one that would close it, None for none.
    """
    mark, price = prices
    entry = entry_price(intent.side, intent.price, mark, limits)
    count = _larger(price, book.here.price)
    gap, risk = gap_ratio(intent.symbol, limits) * count, unit_risk(intent.symbol, entry, stop, limits)
    return Terms(price, count, gap, risk, cost_ratio(intent.symbol, limits))


def size_order(intent: Intent, book: Book, terms: Terms, quantity: Decimal) -> Sizes:
    """Every measure that grows with the quantity (base units), with the order filled at its worst.

    net = |sum of +-N_s| and the loss of a gap through every stop are those of the worse side.
    """
    rest, risk, is_buy = book.rest, book.risk, intent.side is BUY
    high, low = book.here.high, book.here.low
    high, low = (high + quantity, low) if is_buy else (high, low - quantity)
    worst, added = _larger(high, -low) * terms.count, quantity * terms.risk
    upper, lower = rest.upper + high * terms.count, rest.lower + low * terms.count
    long_bet, short_bet = risk.long_bet, risk.short_bet
    return Sizes(
        quantity * terms.price,
        rest.symbol + worst,
        rest.notional + worst,
        _larger(upper, -lower),
        rest.venue + worst,
        rest.strategy + worst,
        _stress(rest, high, low, terms.gap),
        risk.symbol + added,
        risk.total + added,
        _larger(long_bet + added, short_bet) if is_buy else _larger(long_bet, short_bet + added),
    )


def _larger(one: Decimal, other: Decimal) -> Decimal:
    """max() of two, at a quarter of its price."""
    return one if one >= other else other


def _stress(rest: Rest, high: Decimal, low: Decimal, gap: Decimal) -> Decimal:
    """The loss (USDT) of a gap through every stop, of the worse side; `gap` is that of one unit."""
    long = rest.long_stress + high * gap if high > ZERO else rest.long_stress
    short = rest.short_stress - low * gap if low < ZERO else rest.short_stress
    return long if long >= short else short


def added_margin(book: Book, terms: Terms, notional: Decimal, leverage: Decimal) -> Decimal:
    """Margin of what is pending and of the order, with its fee and slippage (USDT); leverage > 0.

    What the venue already holds comes on top. Pending entries of other symbols count in full, as
    their leverage is not at hand.
    """
    return (book.here.pending + notional) / leverage + book.rest.pending + notional * terms.costs


def _count_price(item: PendingFacts) -> Decimal:
    """max(mark, order price, 0): what one unit is counted at."""
    mark, price = item.mark or ZERO, item.price
    highest = mark if price is None or price < mark else price
    return highest if highest > ZERO else ZERO


def collect_holdings(items: Iterable[Item]) -> dict[tuple[str, str], Holding]:
    """What is held and pending, by (venue, symbol)."""
    found: dict[tuple[str, str], Holding] = {}
    for item in items:
        key, alone = (item.venue, item.symbol), _hold(item)
        found[key] = _join(found[key], alone) if key in found else alone
    return found


def _hold(item: Item) -> Holding:
    """One position, or one entry, as if it were all there is."""
    if isinstance(item, PositionFacts):
        mark, held = item.mark or ZERO, item.quantity
        price = mark if mark > ZERO else ZERO
        return Holding(item.venue, item.symbol, (item.strategy,), held, held, price, ZERO)
    price, quantity = _count_price(item), item.quantity
    high, low = (quantity, ZERO) if item.side is BUY else (ZERO, -quantity)
    return Holding(item.venue, item.symbol, (item.strategy,), high, low, price, quantity * price)


def _join(one: Holding, other: Holding) -> Holding:
    new = tuple(name for name in other.strategies if name not in one.strategies)
    return Holding(
        one.venue,
        one.symbol,
        (*one.strategies, *new),
        one.high + other.high,
        one.low + other.low,
        max(one.price, other.price),
        one.pending + other.pending,
    )


def _add_up(intent: Intent, holdings: Iterable[Holding], limits: Limits) -> Rest:
    total = venue = strategy = symbol = upper = lower = long = short = pending = ZERO
    for held in holdings:
        price, high, low = held.price, held.high, held.low
        up, down = high * price, low * price
        is_major = held.symbol in MAJOR_SYMBOLS
        gap = (limits.major_gap_ratio if is_major else limits.other_gap_ratio) * price
        worst = up if up >= -down else -down
        total, upper, lower, pending = total + worst, upper + up, lower + down, pending + held.pending
        if held.venue == intent.venue:
            venue += worst
        if intent.strategy in held.strategies:
            strategy += worst
        if held.symbol == intent.symbol:
            symbol += worst
        if high > ZERO:
            long += high * gap
        if low < ZERO:
            short -= low * gap
    return Rest(total, venue, strategy, symbol, upper, lower, long, short, pending)
