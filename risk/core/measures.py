"""What the book measures, before and with one more order (RISK.md part 1).

The terms are those of RISK.md: N_s worst-case notional, R loss at the stop, E_r equity for risk.
Nothing is netted. An unknown price makes a measure None, and None denies.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from risk.core.values import Anchor, BalanceFacts, Intent, Limits, PendingFacts, PositionFacts, Snapshot
from trading.core.values import Side

ZERO = Decimal(0)
# Slippage allowance of 0.2 % (RISK.md part 1); every other symbol has 0.5 %.
MAJOR_SYMBOLS = frozenset({"BTCUSDT", "ETHUSDT"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One symbol at one venue: signed position, pending quantities, the highest price to count at."""

    venue: str
    symbol: str
    position: Decimal
    pending_buys: Decimal
    pending_sells: Decimal
    price: Decimal

    def worst_notional(self, side: Side | None, quantity: Decimal, price: Decimal) -> Decimal:
        """N_s in USDT: the larger side if everything pending, and the given order, fills."""
        buys = self.pending_buys + (quantity if side is Side.BUY else ZERO)
        sells = self.pending_sells + (quantity if side is Side.SELL else ZERO)
        worst = max(abs(self.position + buys), abs(self.position - sells))
        return worst * max(self.price, price)


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """The account's book without the order in question; USDT.

    `other_notional` is gross over the symbols that the order is not about; `pending_notional` is of
    entries that have not filled in the order's symbol at its venue, `other_pending_notional` of all
    others; `symbols` are held or pending.
    """

    holdings: tuple[Holding, ...]
    other_notional: Decimal
    symbol_risk: Decimal
    total_risk: Decimal
    pending_notional: Decimal
    other_pending_notional: Decimal
    symbols: frozenset[str]


def slippage_ratio(symbol: str, limits: Limits) -> Decimal:
    """s of RISK.md: the allowance for a stop that fills worse than its trigger."""
    return limits.major_slippage_ratio if symbol in MAJOR_SYMBOLS else limits.other_slippage_ratio


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


def measure_book(intent: Intent, snapshot: Snapshot, limits: Limits) -> Book | None:
    """The book without the order, or None where a price is missing or too old.

    The order's own intent is never part of the pending entries it is judged against.
    """
    pending = [item for item in snapshot.pending if item.intent_id != intent.intent_id]
    everything: list[PositionFacts | PendingFacts] = [*snapshot.positions, *pending]
    if not all(is_priced(item.mark, item.mark_at, snapshot.market_at, limits) for item in everything):
        return None
    holdings = tuple(_collect(snapshot.positions, pending))
    here, elsewhere = _split_pending(intent, pending)
    risks = [(item.symbol, _risk_of(item, limits)) for item in everything]
    return Book(
        holdings=holdings,
        other_notional=sum(
            (held.worst_notional(None, ZERO, ZERO) for held in holdings if held.symbol != intent.symbol), ZERO
        ),
        symbol_risk=sum((risk for symbol, risk in risks if symbol == intent.symbol), ZERO),
        total_risk=sum((risk for _, risk in risks), ZERO),
        pending_notional=here,
        other_pending_notional=elsewhere,
        symbols=frozenset(item.symbol for item in everything),
    )


def _split_pending(intent: Intent, pending: Iterable[PendingFacts]) -> tuple[Decimal, Decimal]:
    """Notional (USDT) pending in the order's symbol at its venue, and everywhere else."""
    here = elsewhere = ZERO
    for item in pending:
        notional = item.quantity * _count_price(item)
        if (item.symbol, item.venue) == (intent.symbol, intent.venue):
            here += notional
        else:
            elsewhere += notional
    return here, elsewhere


def is_priced(mark: Decimal | None, mark_at: datetime | None, market_at: datetime, limits: Limits) -> bool:
    """Whether something in the book has a mark that is not older than the book's price age."""
    return mark is not None and mark_at is not None and market_at - mark_at <= limits.max_book_price_age


def symbol_notional(intent: Intent, book: Book, quantity: Decimal, price: Decimal) -> Decimal:
    """N_s of the order's symbol over all venues with the order filled, USDT."""
    same = [held for held in book.holdings if held.symbol == intent.symbol]
    here = [held for held in same if held.venue == intent.venue]
    elsewhere = sum(
        (held.worst_notional(None, ZERO, ZERO) for held in same if held.venue != intent.venue), ZERO
    )
    if not here:
        return elsewhere + quantity * price
    return elsewhere + here[0].worst_notional(intent.side, quantity, price)


def _risk_of(item: PositionFacts | PendingFacts, limits: Limits) -> Decimal:
    mark = item.mark or ZERO
    if isinstance(item, PositionFacts):
        return position_risk(item, mark, limits)
    entry = entry_price(item.side, item.price, mark, limits)
    return entry_risk(item.symbol, item.quantity, entry, item.stop_loss, limits)


def _count_price(item: PositionFacts | PendingFacts) -> Decimal:
    """max(mark, order price): what one unit is counted at."""
    mark = item.mark or ZERO
    return max(mark, item.price or ZERO) if isinstance(item, PendingFacts) else mark


def _collect(positions: Iterable[PositionFacts], pending: Iterable[PendingFacts]) -> Iterable[Holding]:
    keys: dict[tuple[str, str], list[PositionFacts | PendingFacts]] = {}
    everything: list[PositionFacts | PendingFacts] = [*positions, *pending]
    for item in everything:
        keys.setdefault((item.venue, item.symbol), []).append(item)
    for (venue, symbol), items in keys.items():
        waiting = [item for item in items if isinstance(item, PendingFacts)]
        yield Holding(
            venue=venue,
            symbol=symbol,
            position=sum((item.quantity for item in items if isinstance(item, PositionFacts)), ZERO),
            pending_buys=sum((item.quantity for item in waiting if item.side is Side.BUY), ZERO),
            pending_sells=sum((item.quantity for item in waiting if item.side is Side.SELL), ZERO),
            price=max(_count_price(item) for item in items),
        )
