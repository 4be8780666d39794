"""What a rule looks at, and how it states a breach."""

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar

from risk.core.measures import ZERO, Book, equity_for_risk, measure_book
from risk.core.reasons import DESCRIPTIONS, ReasonCode
from risk.core.values import Breach, Intent, Limits, Snapshot

RATIO_PLACES = Decimal("0.000001")
AnyCase = TypeVar("AnyCase", bound="Case")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An intent before the facts. `position` is signed, of the intent's symbol at its venue."""

    intent: Intent
    snapshot: Snapshot
    position: Decimal

    @property
    def reference_price(self) -> Decimal | None:
        """The limit price, or mark for a market order (USDT)."""
        if self.intent.price is not None:
            return self.intent.price
        return None if self.snapshot.prices is None else self.snapshot.prices.mark

    @property
    def count_price(self) -> Decimal | None:
        """max(mark, order price): what one unit of the order is counted at (RISK.md, N_s)."""
        if self.snapshot.prices is None:
            return None
        return max(self.snapshot.prices.mark, self.intent.price or ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedCase(Case):
    """A case with the limits it is judged by; `book` and `equity` (E_r) are None if unknown."""

    limits: Limits
    book: Book | None
    equity: Decimal | None


def open_case(intent: Intent, snapshot: Snapshot) -> Case:
    position = sum(
        (
            held.quantity
            for held in snapshot.positions
            if held.symbol == intent.symbol and held.venue == intent.venue
        ),
        ZERO,
    )
    return Case(intent=intent, snapshot=snapshot, position=position)


def limit_case(case: Case, limits: Limits) -> LimitedCase:
    balance = case.snapshot.balance
    return LimitedCase(
        intent=case.intent,
        snapshot=case.snapshot,
        position=case.position,
        limits=limits,
        book=measure_book(case.intent, case.snapshot, limits),
        equity=None if balance is None else equity_for_risk(balance, limits),
    )


def with_quantity(case: AnyCase, quantity: Decimal) -> AnyCase:
    return replace(case, intent=replace(case.intent, quantity=quantity))


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
