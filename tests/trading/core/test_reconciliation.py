"""Two views of one book."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.core.reconciliation import BookView, Difference, DifferenceKind, compare_books, confirm

ONE, TWO = Decimal(1), Decimal(2)


def view(**changes: Any) -> BookView:
    facts: dict[str, Any] = {
        "positions": {},
        "orders": {},
        "stops": frozenset(),
        "protections": {},
        "wallet": Decimal(100),
    }
    return BookView(**(facts | changes))


HELD = view(positions={"A": ONE}, orders={"s": "A"}, stops=frozenset({"A"}), protections={"s": "A"})


def find(ours: BookView, theirs: BookView, busy: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    return [(d.kind.value, d.symbol) for d in compare_books(ours=ours, theirs=theirs, busy=busy)]


def test_equal_books_do_not_differ() -> None:
    assert find(HELD, HELD) == []
    assert find(view(positions={"A": Decimal(0)}), view()) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (view(), HELD, [("foreign_order", "A"), ("position", "A")]),
        (HELD, view(), [("missing_order", "A"), ("position", "A")]),
        (view(positions={"A": ONE}), view(positions={"A": ONE}), [("unprotected", "A")]),
        (
            view(orders={"s": "A"}),
            view(orders={"s": "A"}, protections={"s": "A"}),
            [("orphan_protection", "A")],
        ),
        (view(wallet=Decimal(99)), view(), [("balance", "")]),
        (view(wallet=None), view(), []),
        (view(), view(wallet=None), []),
        (
            view(positions={"A": ONE}, foreign_symbols=frozenset({"A"})),
            view(positions={"A": ONE}, stops=frozenset({"A"})),
            [("foreign_position", "A")],
        ),
    ],
)
def test_each_kind_of_difference_is_found(
    ours: BookView, theirs: BookView, expected: list[tuple[str, str]]
) -> None:
    assert find(ours, theirs) == expected


def test_busy_symbols_are_left_out_and_with_them_the_wallet() -> None:
    assert find(view(wallet=Decimal(1)), HELD, frozenset({"A"})) == []


def difference(kind: DifferenceKind, symbol: str, theirs: str) -> Difference:
    return Difference(kind=kind, symbol=symbol, ours="", theirs=theirs)


def test_only_what_differs_in_the_same_way_twice_is_confirmed() -> None:
    first = (difference(DifferenceKind.POSITION, "A", "1"), difference(DifferenceKind.POSITION, "B", "1"))
    second = (difference(DifferenceKind.POSITION, "A", "2"), difference(DifferenceKind.POSITION, "B", "1"))
    assert confirm(first, second) == second[1:]
    assert confirm((), second) == ()


@given(st.dictionaries(st.sampled_from("ABC"), st.integers(-3, 3).map(Decimal)))
def test_a_book_compared_with_itself_differs_in_nothing_but_protection(held: dict[str, Decimal]) -> None:
    same = view(positions=held)
    assert {kind for kind, _ in find(same, same)} <= {"unprotected"}
