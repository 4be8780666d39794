"""Comparing our book with the venue's (pure).

An absent reading is unknown, not zero: a difference counts only if it is there in two readings
(`confirm`), and a symbol that somebody is working on right now is left out.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

ZERO = Decimal(0)


class DifferenceKind(StrEnum):
    """The closed list of what can differ; the label `kind` of reconciliation_mismatches_total."""

    POSITION = "position"
    FOREIGN_POSITION = "foreign_position"
    FOREIGN_ORDER = "foreign_order"
    FOREIGN_FILL = "foreign_fill"
    MISSING_ORDER = "missing_order"
    ORPHAN_PROTECTION = "orphan_protection"
    UNPROTECTED = "unprotected"
    BALANCE = "balance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One mismatch; `symbol` is "" where none is concerned, `ours` and `theirs` are texts for people."""

    kind: DifferenceKind
    symbol: str
    ours: str
    theirs: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same difference in two readings."""
        return (self.kind.value, self.symbol, self.theirs)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookView:
    """One side's view: signed positions by symbol (flat ones may be absent) and resting orders.

    `orders` maps client order id to symbol; `stops` are symbols with a closing stop at rest;
    `protections` maps the client id of each resting protection to its symbol; `wallet` USDT or
    None if unknown.
    """

    positions: Mapping[str, Decimal]
    orders: Mapping[str, str]
    stops: Set[str]
    protections: Mapping[str, str]
    wallet: Decimal | None
    foreign_symbols: Set[str] = frozenset()


def compare_books(*, ours: BookView, theirs: BookView, busy: Set[str]) -> tuple[Difference, ...]:
    """Every difference outside the `busy` symbols, ordered by symbol.

    Positions, resting orders in both directions, stops of what the venue holds, protections without
    a position, the wallet.
    """
    found = [
        *_compare_positions(ours, theirs),
        *_compare_orders(ours, theirs),
        *_compare_protection(theirs),
    ]
    kept = [item for item in found if item.symbol not in busy]
    if not busy:
        kept += _compare_wallets(ours, theirs)
    return tuple(sorted(kept, key=lambda item: item.key))


def _compare_positions(ours: BookView, theirs: BookView) -> list[Difference]:
    found = []
    for symbol in sorted(ours.positions.keys() | theirs.positions.keys()):
        mine, venue = ours.positions.get(symbol, ZERO), theirs.positions.get(symbol, ZERO)
        if mine != venue:
            found.append(_difference(DifferenceKind.POSITION, symbol, mine, venue))
        elif venue and symbol in ours.foreign_symbols:
            found.append(_difference(DifferenceKind.FOREIGN_POSITION, symbol, mine, venue))
    return found


def _compare_orders(ours: BookView, theirs: BookView) -> list[Difference]:
    missing = [
        _difference(DifferenceKind.MISSING_ORDER, symbol, client_id, "not resting")
        for client_id, symbol in ours.orders.items()
        if client_id not in theirs.orders
    ]
    foreign = [
        _difference(DifferenceKind.FOREIGN_ORDER, symbol, "not ours", client_id)
        for client_id, symbol in theirs.orders.items()
        if client_id not in ours.orders
    ]
    return missing + foreign


def _compare_protection(theirs: BookView) -> list[Difference]:
    held = {symbol for symbol, quantity in theirs.positions.items() if quantity}
    unprotected = [
        _difference(DifferenceKind.UNPROTECTED, symbol, theirs.positions[symbol], "no stop")
        for symbol in held - set(theirs.stops)
    ]
    orphans = [
        _difference(DifferenceKind.ORPHAN_PROTECTION, symbol, "flat", client_id)
        for client_id, symbol in theirs.protections.items()
        if symbol not in held
    ]
    return unprotected + orphans


def _compare_wallets(ours: BookView, theirs: BookView) -> list[Difference]:
    if ours.wallet is None or theirs.wallet is None or ours.wallet == theirs.wallet:
        return []
    return [_difference(DifferenceKind.BALANCE, "", ours.wallet, theirs.wallet)]


def _difference(kind: DifferenceKind, symbol: str, ours: object, theirs: object) -> Difference:
    return Difference(kind=kind, symbol=symbol, ours=str(ours), theirs=str(theirs))


def confirm(first: tuple[Difference, ...], second: tuple[Difference, ...]) -> tuple[Difference, ...]:
    """What differs in the same way in both readings."""
    keys = {item.key for item in first}
    return tuple(item for item in second if item.key in keys)
