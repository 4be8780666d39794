"""What crosses the HTTP border: money and quantities as text, times as RFC 3339 in UTC, keyset pages."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from ninja import Schema
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, PlainSerializer, WithJsonSchema

PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
LARGEST_KEY = 2**63 - 1
YEARS = range(1970, 2200)

Item = TypeVar("Item")
Row = TypeVar("Row")


def money_text(value: Decimal) -> str:
    """Plain digits without trailing zeros: 1E+2 and 100.0000000000 are both "100"."""
    return format(value.normalize() + 0, "f")


def time_text(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


# Long enough for any number a column can hold; Decimal itself would also take _, NaN and other digits.
DECIMAL_FORM = r"^[-+]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,3})?$"
NUMBER = re.compile(DECIMAL_FORM.replace("$", r"\Z"))
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}")


def _read_number(value: Any) -> Any:
    """Text or a whole number; a JSON number with a point has already lost digits when it arrives."""
    if isinstance(value, str):
        if not NUMBER.match(value):
            raise ValueError('must be a plain decimal number, like "0.25"')
        return Decimal(value)
    if isinstance(value, float | bool):
        raise ValueError('give it as text, like "0.25"')
    return value


def _read_time(value: Any) -> Any:
    """Text only: of a bare number nobody knows whether it counts seconds or milliseconds."""
    if not isinstance(value, str) or not TIME.match(value):
        raise ValueError('must be a time with its zone, like "2025-06-01T12:00:00Z"')
    return value


def _require_our_age(value: datetime) -> datetime:
    """Years that every clock and column can hold in every zone."""
    if value.year not in YEARS:
        raise ValueError(f"the year must lie between {YEARS.start} and {YEARS.stop - 1}")
    return value


DECIMAL_TEXT = {"type": "string", "format": "decimal", "pattern": DECIMAL_FORM, "examples": ["100.25"]}
Amount = Annotated[
    Decimal,
    BeforeValidator(_read_number),
    PlainSerializer(money_text, return_type=str),
    WithJsonSchema(DECIMAL_TEXT),
]
Moment = Annotated[AwareDatetime, PlainSerializer(time_text, return_type=str)]
# A time that somebody else gives.
GivenMoment = Annotated[Moment, BeforeValidator(_read_time), AfterValidator(_require_our_age)]
Name = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[-a-zA-Z0-9_]+$")]
SymbolName = Annotated[str, Field(min_length=2, max_length=20, pattern=r"^[A-Z0-9]+$", examples=["BTCUSDT"])]


class Page(Schema, Generic[Item]):
    """One page of a list; `next` goes into `after` for the following one and is null at the end."""

    items: list[Item]
    next: str | None


class PageQuery(Schema):
    """Where a page starts (after the row of this key) and how many rows it holds."""

    after: int | None = Field(None, ge=0, le=LARGEST_KEY)
    limit: int = Field(PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE)


class PlaceQuery(Schema):
    """Where a page of a list by venue and symbol starts, and how many rows it holds."""

    after: str | None = Field(None, max_length=41, pattern=r"^[-a-z0-9_]+:[A-Z0-9]+$")
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


def make_place_page(items: Iterable[Any], page: PlaceQuery) -> dict[str, Any]:
    """The page of a list that is short enough to be read whole: one item a venue and symbol."""

    def key(item: Any) -> tuple[str, str]:
        return item.venue, item.symbol

    start = ("", "") if page.after is None else tuple(page.after.split(":"))
    rows = [item for item in sorted(items, key=key) if key(item) > start]
    return make_page(rows, limit=page.limit, as_item=lambda item: item, key=lambda item: ":".join(key(item)))


def as_page(items: Iterable[Any]) -> dict[str, Any]:
    """A list that always fits on one page."""
    return {"items": list(items), "next": None}
