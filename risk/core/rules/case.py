"""What a rule looks at, and how it states a breach."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from risk.core.measures import (
    ZERO,
    Book,
    Sizes,
    Terms,
    entry_price,
    equity_for_risk,
    measure_book,
    size_order,
)
from risk.core.reasons import DESCRIPTIONS, ReasonCode
from risk.core.values import Breach, Intent, Limits, Snapshot
from trading.core.values import Side

RATIO_PLACES = Decimal("0.000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An intent before the facts.

    `quantity` is what is judged: the intent's, or a candidate for it (base units). `position` is
    signed, of the intent's symbol at its venue. `reference_price` is the limit price, or mark for a
    market order; `count_price` is max(mark, order price), what one unit counts at (USDT).
    """

    intent: Intent
    snapshot: Snapshot
    quantity: Decimal
    position: Decimal
    reference_price: Decimal | None
    count_price: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedCase(Case):
    """A case with the limits it is judged by.

    `book` and `equity` (E_r) are None if unknown, `terms` if the price is, `sizes` if either is.
    """

    limits: Limits
    book: Book | None
    terms: Terms | None
    equity: Decimal | None
    sizes: Sizes | None


def open_case(intent: Intent, snapshot: Snapshot) -> Case:
    mark = None if snapshot.prices is None else snapshot.prices.mark
    place = (intent.symbol, intent.venue)
    return Case(
        intent=intent,
        snapshot=snapshot,
        quantity=intent.quantity,
        position=sum((p.quantity for p in snapshot.positions if (p.symbol, p.venue) == place), ZERO),
        reference_price=mark if intent.price is None else intent.price,
        count_price=None if mark is None else max(mark, intent.price or ZERO),
    )


def limit_case(case: Case, limits: Limits) -> LimitedCase:
    balance = case.snapshot.balance
    book, terms = measure_book(case.intent, case.snapshot, limits), state_terms(case, limits)
    return LimitedCase(
        intent=case.intent,
        snapshot=case.snapshot,
        quantity=case.quantity,
        position=case.position,
        reference_price=case.reference_price,
        count_price=case.count_price,
        limits=limits,
        book=book,
        terms=terms,
        equity=None if balance is None else equity_for_risk(balance, limits),
        sizes=measure_sizes(case.intent, book, terms, case.quantity, limits),
    )


def state_terms(case: Case, limits: Limits) -> Terms | None:
    """What does not depend on the quantity; None where the price is unknown."""
    intent, prices, price = case.intent, case.snapshot.prices, case.count_price
    if prices is None or price is None:
        return None
    setting = case.snapshot.setting
    return Terms(
        price=price,
        entry=entry_price(intent.side, intent.price, prices.mark, limits),
        stop=_stop_in_force(case),
        leverage=None if setting is None else setting.leverage,
    )


def measure_sizes(
    intent: Intent, book: Book | None, terms: Terms | None, quantity: Decimal, limits: Limits
) -> Sizes | None:
    """The book with the order; None where a price is unknown."""
    if book is None or terms is None:
        return None
    return size_order(intent, book, terms, quantity, limits)


def _stop_in_force(case: Case) -> Decimal | None:
    """The worse of the order's stop and that of the position it joins: one stop closes the whole."""
    intent = case.intent
    if intent.stop_loss is None:
        return None
    held = [item.stop_price for item in case.snapshot.positions if item.symbol == intent.symbol]
    stops = [intent.stop_loss, *(stop for stop in held if stop is not None)]
    return min(stops) if intent.side is Side.BUY else max(stops)


def with_quantity(case: LimitedCase, quantity: Decimal) -> LimitedCase:
    """The same case with another quantity (base units)."""
    return LimitedCase(
        intent=case.intent,
        snapshot=case.snapshot,
        quantity=quantity,
        position=case.position,
        reference_price=case.reference_price,
        count_price=case.count_price,
        limits=case.limits,
        book=case.book,
        terms=case.terms,
        equity=case.equity,
        sizes=measure_sizes(case.intent, case.book, case.terms, quantity, case.limits),
    )


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
