"""Are the facts and limits numbers at all? NaN compares with nothing and must not slip through."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from operator import attrgetter

from risk.core.measures import ZERO
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
    "correlations": ("value",),
    "allotments": ("max_notional",),
    "overrides": ("value",),
}
Numbers = Mapping[str, tuple[str, ...]]
# What the tables above name, read as tuples.
_read_filters = attrgetter(*_POSITIVE_PARTS["instrument"])
_read_prices = attrgetter(*_POSITIVE_PARTS["prices"])
_read_position = attrgetter(*_POSITIVE_ITEMS["positions"])
_read_pending = attrgetter(*_POSITIVE_ITEMS["pending"])
_read_depth = attrgetter(*_FINITE_PARTS["prices"])
_read_balance = attrgetter(*_FINITE_PARTS["balance"])
_read_value, _read_quantity = attrgetter("value"), attrgetter("quantity")
_read_allotment = attrgetter("max_notional")
_is_finite = Decimal.is_finite


def permits_real_facts(snapshot: Snapshot) -> Breach | None:
    """Every known fact is finite; prices, filters and pending quantities are also > 0."""
    try:
        if _is_positive(_list_positive(snapshot)) and all(map(_is_finite, _list_finite(snapshot))):
            return None
    except TypeError:
        # Something that is not even a Decimal: the slow way knows what may be.
        pass
    positive = _first(_name(snapshot, _POSITIVE_PARTS, _POSITIVE_ITEMS), lowest=ZERO)
    return positive or _first(_name(snapshot, _FINITE_PARTS, _FINITE_ITEMS), lowest=None)


def _is_positive(numbers: list[Decimal]) -> bool:
    return not numbers or (all(map(_is_finite, numbers)) and min(numbers) > ZERO)


def _list_positive(snapshot: Snapshot) -> list[Decimal]:
    """The known numbers that must be > 0."""
    found: list[Decimal | None] = []
    if snapshot.instrument is not None:
        found += _read_filters(snapshot.instrument)
    if snapshot.prices is not None:
        found += _read_prices(snapshot.prices)
    for position in snapshot.positions:
        found += _read_position(position)
    for pending in snapshot.pending:
        found += _read_pending(pending)
    return [number for number in found if number is not None]


def _list_finite(snapshot: Snapshot) -> Iterable[Decimal]:
    """The other known numbers, without the zeros."""
    found: list[Decimal | None] = [*map(_read_value, snapshot.correlations)]
    found += map(_read_allotment, snapshot.allotments)
    found += map(_read_value, snapshot.overrides)
    found += map(_read_quantity, snapshot.positions)
    for anchor in snapshot.anchors:
        found += (anchor.equity, anchor.net_flow)
    if snapshot.instrument is not None:
        found.append(snapshot.instrument.min_price)
    if snapshot.prices is not None:
        found += _read_depth(snapshot.prices)
    if snapshot.setting is not None:
        found += (snapshot.setting.max_stop_ratio, Decimal(snapshot.setting.leverage))
    if snapshot.balance is not None:
        found += _read_balance(snapshot.balance)
    return filter(None, found)


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


def permits_real_limits(limits: Limits) -> Breach | None:
    """Every limit is finite and > 0; fees and slippage may be 0."""
    if limits.is_proven:
        return None
    found = _find_unreal(limits)
    if found is None:
        limits.prove()
    return found


def _find_unreal(limits: Limits) -> Breach | None:
    for name in _NAMES:
        number = getattr(limits, name)
        if isinstance(number, timedelta):
            number = Decimal(number // timedelta(microseconds=1))
        is_real = Decimal(number).is_finite() and number >= 0
        if not is_real or (number == 0 and name not in _MAY_BE_ZERO):
            return breach(ReasonCode.LIMITS_INVALID, measured=f"{name} {number}", limit="finite, above 0")
    return None


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
