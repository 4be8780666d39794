"""What a rule looks at, and how it states a breach."""

from dataclasses import replace
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

from risk.core.measures import (
    BUY,
    ZERO,
    Book,
    Sizes,
    Terms,
    equity_for_risk,
    loss_amount,
    measure_book,
    size_order,
    state_terms,
)
from risk.core.reasons import DESCRIPTIONS, ReasonCode
from risk.core.values import Anchor, AnchorName, Breach, Intent, Limits, Snapshot
from risk.core.working import working_value

RATIO_PLACES = Decimal("0.000001")
# An anchor, and what was lost since it: >= 0, USDT.
Loss = tuple[Anchor, Decimal]


@working_value
class Case:
    """An intent before the facts.

    `quantity` is what is judged: the intent's, or a candidate for it (base units). `position` is
    signed, of the intent's symbol at its venue. `reference_price` is the limit price, or mark for a
    market order; `count_price` is max(mark, order price), what one unit counts at (USDT). `scopes` are
    those whose state binds the order, widest first: all, venue:V, account:A, strategy:S, symbol:X.
    """

    intent: Intent
    snapshot: Snapshot
    quantity: Decimal
    position: Decimal
    reference_price: Decimal | None
    count_price: Decimal | None
    scopes: tuple[str, str, str, str, str]


@working_value
class Ground:
    """What stays the same whatever the quantity.

    `book` is None if unknown, `terms` if the price or the book is, `least` (the smallest legal
    quantity, base units) if filters or price are, `leverage` if the venue's is not known. `losses` are
    those since the known anchors, None without a balance; `allotments` are by scope, USDT.
    """

    book: Book | None
    terms: Terms | None
    least: Decimal | None
    leverage: Decimal | None
    losses: dict[AnchorName, Loss] | None
    allotments: dict[str, Decimal]


@working_value
class LimitedCase(Case):
    """A case with the limits it is judged by; `equity` (E_r) and `sizes` are None if unknown."""

    limits: Limits
    equity: Decimal | None
    ground: Ground
    sizes: Sizes | None


def open_case(intent: Intent, snapshot: Snapshot) -> Case:
    price, symbol, venue, position = intent.price, intent.symbol, intent.venue, ZERO
    for item in snapshot.positions:
        if item.symbol == symbol and item.venue == venue:
            position += item.quantity
    mark = None if snapshot.prices is None else snapshot.prices.mark
    count = mark if mark is None or price is None or price < mark else price
    price = mark if price is None else price
    return Case(intent, snapshot, intent.quantity, position, price, count, list_scopes(intent))


def list_scopes(intent: Intent) -> tuple[str, str, str, str, str]:
    """Every scope whose state binds the order, widest first."""
    return _name_scopes(intent.venue, intent.account, intent.strategy, intent.symbol)


@lru_cache(maxsize=4096)
def _name_scopes(venue: str, account: str, strategy: str, symbol: str) -> tuple[str, str, str, str, str]:
    return "all", f"venue:{venue}", f"account:{account}", f"strategy:{strategy}", f"symbol:{symbol}"


def limit_case(case: Case, limits: Limits) -> LimitedCase:
    balance = case.snapshot.balance
    equity = None if balance is None else equity_for_risk(balance, limits)
    return _size(case, case.quantity, limits, equity, _lay_ground(case, limits))


def with_quantity(case: LimitedCase, quantity: Decimal) -> LimitedCase:
    """The same case with another quantity (base units)."""
    return _size(case, quantity, case.limits, case.equity, case.ground)


def _size(
    case: Case, quantity: Decimal, limits: Limits, equity: Decimal | None, ground: Ground
) -> LimitedCase:
    intent, book, terms = case.intent, ground.book, ground.terms
    return LimitedCase(
        intent,
        case.snapshot,
        quantity,
        case.position,
        case.reference_price,
        case.count_price,
        case.scopes,
        limits,
        equity,
        ground,
        None if book is None or terms is None else size_order(intent, book, terms, quantity),
    )


def _lay_ground(case: Case, limits: Limits) -> Ground:
    snapshot, setting = case.snapshot, case.snapshot.setting
    book = measure_book(case.intent, snapshot, limits)
    return Ground(
        book,
        None if book is None else _state_terms(case, book, limits),
        smallest_legal_quantity(case),
        Decimal(setting.leverage) if setting is not None and setting.leverage > 0 else None,
        _measure_losses(snapshot),
        {item.scope: item.max_notional for item in reversed(snapshot.allotments)},
    )


def _state_terms(case: Case, book: Book, limits: Limits) -> Terms | None:
    """What does not depend on the quantity; None where the price is unknown."""
    prices, price = case.snapshot.prices, case.count_price
    if prices is None or price is None:
        return None
    return state_terms(case.intent, book, (prices.mark, price), _stop_in_force(case), limits)


def _stop_in_force(case: Case) -> Decimal | None:
    """The worse of the order's stop and that of the position it joins: one stop closes the whole."""
    intent, worst = case.intent, case.intent.stop_loss
    if worst is None:
        return None
    for item in case.snapshot.positions:
        stop = item.stop_price
        if item.symbol == intent.symbol and stop is not None:
            worst = min(worst, stop) if intent.side is BUY else max(worst, stop)
    return worst


def _measure_losses(snapshot: Snapshot) -> dict[AnchorName, Loss] | None:
    balance = snapshot.balance
    if balance is None:
        return None
    return {anchor.name: (anchor, loss_amount(anchor, balance)) for anchor in snapshot.anchors}


def smallest_legal_quantity(case: Case) -> Decimal | None:
    """The smallest whole number of lots above both venue minima; None if filters or price are unknown."""
    instrument, price = case.snapshot.instrument, case.reference_price
    if instrument is None or price is None or price <= ZERO:
        return None
    lot = instrument.lot_size
    least = max(instrument.min_quantity, instrument.min_notional / price, lot)
    return (least / lot).to_integral_value(rounding=ROUND_CEILING) * lot


def without_instrument(case: Case) -> Case:
    """The same case as if the venue's filters were not known."""
    snapshot = replace(case.snapshot, instrument=None)
    price, count = case.reference_price, case.count_price
    return Case(case.intent, snapshot, case.quantity, case.position, price, count, case.scopes)


def breach(code: ReasonCode, *, measured: object = "", limit: object = "", text: str = "") -> Breach:
    """A breach whose text is the code's description unless a better one is given."""
    return Breach(code=code, measured=plain(measured), limit=plain(limit), text=text or DESCRIPTIONS[code])


def ratio(part: Decimal, whole: Decimal) -> Decimal:
    """part / whole for showing, six places; 0 where there is no whole."""
    return (part / whole).quantize(RATIO_PLACES) if whole > 0 else ZERO


def plain(value: object) -> str:
    """Numbers without exponent or trailing zeros, durations in seconds, anything else as text."""
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.3f} s"
    if not isinstance(value, Decimal) or not value.is_finite():
        return str(value)
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
