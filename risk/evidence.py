"""Frozen values as text and back: what a decision was made of, complete enough to make it again."""

import dataclasses
import json
import types
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

Value = TypeVar("Value")
Build = Callable[[Any], Any]


def to_text(value: object) -> str:
    """JSON: fields as declared, keys sorted, decimals as plain texts, times by RFC 3339, enums by value."""
    return orjson.dumps(value, default=_as_text, option=orjson.OPT_SORT_KEYS).decode()


def _as_text(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} cannot be written as evidence")


def from_text(cls: type[Value], text: str) -> Value:
    """The value that `to_text` wrote."""
    return build(cls, parse_text(text))


def parse_text(text: str) -> Any:
    """Plain data of a JSON text; numbers with a point become Decimal."""
    return json.loads(text, parse_float=Decimal)


def build(cls: type[Value], data: Any) -> Value:
    """A dataclass from plain data, by its annotations; a missing or unknown key is an error."""
    hint: Any = cls
    inner = _builder(hint)
    made: Value = data if inner is None else inner(data)
    return made


@lru_cache(maxsize=128)
def _builder(hint: Any) -> Build | None:
    """What makes a value of plain data; None where the data is the value."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return _optional(next(part for part in arguments if part is not type(None)))
    if origin is tuple:
        item = _builder(arguments[0])
        return tuple if item is None else lambda data: tuple(map(item, data))
    if hint is datetime:
        return datetime.fromisoformat
    if hint is Decimal:
        return Decimal
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member(hint)
    return _dataclass(hint) if dataclasses.is_dataclass(hint) else None


def _optional(hint: Any) -> Build | None:
    inner = _builder(hint)
    return inner and (lambda data: None if data is None else inner(data))


def _member(hint: type[Enum]) -> Build:
    members = {member.value: member for member in hint}

    def find(data: Any) -> Enum:
        known = members.get(data)
        return hint(data) if known is None else known

    return find


def _dataclass(cls: Any) -> Build:
    hints = get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(cls)}
    inners = {name: _builder(hints[name]) for name in names}
    made = [(name, inner) for name, inner in inners.items() if inner is not None]

    def make(data: Any) -> Any:
        if data.keys() != names:
            raise KeyError(f"{cls.__name__}: {', '.join(sorted(data.keys() ^ names))}")
        values = dict(data)
        for name, inner in made:
            values[name] = inner(values[name])
        return cls(**values)

    return make
