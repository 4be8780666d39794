"""What crosses the HTTP border: money and quantities as text, times as RFC 3339 in UTC, keyset pages."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from ninja import Schema
from pydantic import AwareDatetime, BeforeValidator, Field, PlainSerializer, WithJsonSchema

PAGE_SIZE = 50
MAX_PAGE_SIZE = 200

Item = TypeVar("Item")
Row = TypeVar("Row")


def money_text(value: Decimal) -> str:
    """Plain digits without trailing zeros: 1E+2 and 100.0000000000 are both "100"."""
    return format(value.normalize() + 0, "f")


def time_text(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _refuse_binary_fractions(value: Any) -> Any:
    """A JSON number with a point has already lost digits when it arrives."""
    if isinstance(value, float | bool):
        raise ValueError('give it as text, like "0.25"')
    return value


DECIMAL_TEXT = {"type": "string", "format": "decimal", "examples": ["100.25"]}
Amount = Annotated[
    Decimal,
    BeforeValidator(_refuse_binary_fractions),
    PlainSerializer(money_text, return_type=str),
    WithJsonSchema(DECIMAL_TEXT),
]
Moment = Annotated[AwareDatetime, PlainSerializer(time_text, return_type=str)]
Name = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[-a-zA-Z0-9_]+$")]
SymbolName = Annotated[str, Field(min_length=2, max_length=20, pattern=r"^[A-Z0-9]+$", examples=["BTCUSDT"])]


class Page(Schema, Generic[Item]):
    """One page of a list; `next` goes into `after` for the following one and is null at the end."""

    items: list[Item]
    next: str | None


class PageQuery(Schema):
    """Where a page starts (after the row of this key) and how many rows it holds."""

    after: int | None = Field(None, ge=0)
    limit: int = Field(PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE)


def make_page(
    rows: Sequence[Row], *, limit: int, as_item: Callable[[Row], Any], key: Callable[[Row], object]
) -> dict[str, Any]:
    """The page of rows that were read one more than `limit`, so that the end is known."""
    shown = rows[:limit]
    return {
        "items": [as_item(row) for row in shown],
        "next": str(key(shown[-1])) if len(rows) > limit else None,
    }


def as_page(items: Iterable[Any]) -> dict[str, Any]:
    """A list that always fits on one page."""
    return {"items": list(items), "next": None}
