"""Are the facts and limits numbers at all? NaN compares with nothing and must not slip through."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from typing import Any

from risk.core.reasons import ReasonCode
from risk.core.rules.case import breach
from risk.core.values import Breach, Limits, Snapshot
from trading.core.values import Instrument

Named = tuple[str, Decimal | None]


# Which numbers of which fact are > 0, and which are only finite. None is another rule's.
_POSITIVE_PARTS = {
    "instrument": (
        "tick_size",
        "lot_size",
        "min_quantity",
        "max_quantity",
        "max_market_quantity",
        "min_notional",
        "max_price",
    ),
    "prices": ("mark", "bid", "ask", "last", "index", "reference"),
}
_POSITIVE_ITEMS = {
    "positions": ("mark", "stop_price", "target_price"),
    "pending": ("mark", "quantity", "price", "stop_loss"),
}
_FINITE_PARTS = {
    "instrument": ("min_price", "min_notional"),
    "prices": ("bid_quantity", "ask_quantity", "funding_rate"),
    "setting": ("max_stop_ratio", "leverage"),
    "balance": ("wallet", "equity", "initial_margin", "maintenance_margin"),
}
_FINITE_ITEMS = {
    "anchors": ("equity", "net_flow"),
    "positions": ("quantity", "mark"),
    "correlations": ("value", "value"),
    "allotments": ("max_notional", "max_notional"),
    "overrides": ("value", "value"),
}
Numbers = Mapping[str, tuple[str, ...]]
_Readers = tuple[tuple[str, bool, Callable[[Any], tuple[Decimal | None, ...]]], ...]


def _make_readers(parts: Numbers, items: Numbers) -> _Readers:
    one = [(name, False, attrgetter(*numbers)) for name, numbers in parts.items()]
    many = [(name, True, attrgetter(*numbers)) for name, numbers in items.items()]
    return (*one, *many)


_POSITIVE_READERS = _make_readers(_POSITIVE_PARTS, _POSITIVE_ITEMS)
_FINITE_READERS = _make_readers(_FINITE_PARTS, _FINITE_ITEMS)


def permits_real_facts(snapshot: Snapshot) -> Breach | None:
    """Every known fact is finite; prices, filters and pending quantities are also > 0."""
    if _are_real(_read(snapshot, _POSITIVE_READERS)) and _are_finite(_read(snapshot, _FINITE_READERS)):
        return None
    positive = _first(_name(snapshot, _POSITIVE_PARTS, _POSITIVE_ITEMS), lowest=Decimal(0))
    return positive or _first(_name(snapshot, _FINITE_PARTS, _FINITE_ITEMS), lowest=None)


def _read(snapshot: Snapshot, readers: _Readers) -> list[Decimal]:
    found: list[Decimal | None] = []
    for name, is_many, read in readers:
        fact = getattr(snapshot, name)
        if is_many:
            for item in fact:
                found += read(item)
        elif fact is not None:
            found += read(fact)
    return [number for number in found if number is not None]


def _name(snapshot: Snapshot, parts: Numbers, items: Numbers) -> Iterator[Named]:
    for name, numbers in parts.items():
        fact = getattr(snapshot, name)
        for number in numbers if fact is not None else ():
            yield f"{name} {number}", getattr(fact, number)
    for name, numbers in items.items():
        for place, item in enumerate(getattr(snapshot, name), start=1):
            for number in numbers:
                yield f"{name} {place} {number}", getattr(item, number)


# Fees and slippage may be 0; ages are compared as they are.
_MAY_BE_ZERO = frozenset({"taker_fee_ratio", "major_slippage_ratio", "other_slippage_ratio"})
_NAMES = tuple(field.name for field in fields(Limits) if field.name not in {"digest", "profile"})


def _reader_of(kind: type) -> Callable[[Any], tuple[Any, ...]]:
    names = (field.name for field in fields(Limits) if field.type is kind)
    return attrgetter(*(name for name in names if name not in _MAY_BE_ZERO))


_read_numbers, _read_counts, _read_ages = _reader_of(Decimal), _reader_of(int), _reader_of(timedelta)
_read_costs = attrgetter(*sorted(_MAY_BE_ZERO))


def permits_real_limits(limits: Limits) -> Breach | None:
    """Every limit is finite and > 0; fees and slippage may be 0."""
    costs = _read_costs(limits)
    are_real = _are_real(_read_numbers(limits)) and _are_finite(costs) and min(costs) >= 0
    if are_real and min(_read_counts(limits)) > 0 and min(_read_ages(limits)) > timedelta(0):
        return None
    for name in _NAMES:
        number = getattr(limits, name)
        if isinstance(number, timedelta):
            number = Decimal(number // timedelta(microseconds=1))
        is_real = Decimal(number).is_finite() and number >= 0
        if not is_real or (number == 0 and name not in _MAY_BE_ZERO):
            return breach(ReasonCode.LIMITS_INVALID, measured=f"{name} {number}", limit="finite, above 0")
    return None


def _are_real(numbers: Sequence[Decimal]) -> bool:
    """Whether all are finite and > 0: one sum and one minimum instead of many questions."""
    try:
        return not numbers or (_are_finite(numbers) and min(numbers) > 0)
    except InvalidOperation:
        # NaN compares with nothing.
        return False


def _are_finite(numbers: Sequence[Decimal]) -> bool:
    """Whether all are finite: a NaN or an infinity stays in the sum, or does not add up."""
    try:
        return Decimal(sum(numbers)).is_finite()
    except InvalidOperation:
        return False


def has_real_filters(instrument: Instrument) -> bool:
    """Whether the venue's filters can be calculated with."""
    return all(
        number.is_finite() and number > 0 for number in attrgetter(*_POSITIVE_PARTS["instrument"])(instrument)
    )


def has_real_positions(snapshot: Snapshot) -> bool:
    return all(item.quantity.is_finite() for item in snapshot.positions)


def _first(numbers: Iterable[Named], *, lowest: Decimal | None) -> Breach | None:
    for name, number in numbers:
        if number is None or isinstance(number, int):
            continue
        if not number.is_finite() or (lowest is not None and number <= lowest):
            limit = "finite" if lowest is None else "finite, above 0"
            return breach(ReasonCode.FACT_INVALID, measured=f"{name} {number}", limit=limit)
    return None
