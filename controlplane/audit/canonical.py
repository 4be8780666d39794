"""One text for one value, so that a digest means the same everywhere and for ever.

The text is JSON without whitespace, keys sorted by code point, strings in NFC, non-ASCII as itself.
Decimals are strings without exponent and without trailing zeros ("1000", "0.1", never "-0");
times are UTC to the microsecond; durations are seconds as a decimal string. Floats are refused,
because their text is not their value.
"""

import dataclasses
import hashlib
import json
import unicodedata
from collections.abc import Callable, Mapping, Set
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from controlplane.errors import InvalidInput


class NotCanonical(InvalidInput):
    """A value has no canonical text."""

    code = "not_canonical"


def canonical_text(value: object) -> str:
    """Return the canonical JSON text of a value; raises NotCanonical naming the place."""
    return json.dumps(_plain(value, "$"), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def digest_of(domain: str, value: object) -> str:
    """Return SHA-256(domain ‖ NUL ‖ canonical text) as 64 lower-case hex digits."""
    return hashlib.sha256(f"{domain}\0{canonical_text(value)}".encode()).hexdigest()


def decimal_text(value: Decimal) -> str:
    """Return the shortest plain text of a finite decimal: equal numbers have equal texts."""
    if not value.is_finite():
        raise NotCanonical(f"{value} is not a number")
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def time_text(value: datetime) -> str:
    """Return an aware time as UTC with six fraction digits, 2026-01-31T23:59:59.000001Z."""
    if value.tzinfo is None:
        raise NotCanonical(f"{value.isoformat()} has no time zone")
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def duration_text(value: timedelta) -> str:
    """Return seconds as a decimal text, exact to the microsecond."""
    microseconds = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    return decimal_text(Decimal(microseconds).scaleb(-6))


def _string(value: str, place: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotCanonical(f"{place}: a lone surrogate is not text") from None
    if "\0" in value:
        raise NotCanonical(f"{place}: NUL is not text")
    return unicodedata.normalize("NFC", value)


# In this order: a bool is an int, a datetime is a date, and an Enum may be a str.
_SCALARS: tuple[tuple[type | tuple[type, ...], Callable[[Any, str], object]], ...] = (
    ((bool, type(None)), lambda value, place: value),
    (Enum, lambda value, place: _plain(value.value, place)),
    (int, lambda value, place: int(value)),
    (str, lambda value, place: _string(value, place)),
    (Decimal, lambda value, place: decimal_text(value)),
    (datetime, lambda value, place: time_text(value)),
    (date, lambda value, place: value.isoformat()),
    (timedelta, lambda value, place: duration_text(value)),
    (UUID, lambda value, place: str(value)),
)


def _plain(value: object, place: str) -> object:
    for types, convert in _SCALARS:
        if isinstance(value, types):
            return convert(value, place)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name), f"{place}.{name}") for name in names}
    if isinstance(value, Mapping):
        return _plain_mapping(value, place)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Set):
        return sorted((_plain(item, place) for item in value), key=canonical_text)
    raise NotCanonical(f"{place}: a {type(value).__name__} has no canonical text")


def _plain_mapping(value: Mapping[object, object], place: str) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, item in value.items():
        name = key.value if isinstance(key, Enum) else key
        if not isinstance(name, str):
            raise NotCanonical(f"{place}: key {name!r} is not text")
        name = _string(name, place)
        if name in plain:
            raise NotCanonical(f"{place}: key {name!r} appears twice")
        plain[name] = _plain(item, f"{place}.{name}")
    return plain
