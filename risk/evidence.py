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
    made: Value = _builder(hint)(data)
    return made


@lru_cache(maxsize=128)
def _builder(hint: Any) -> Build:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return _optional(next(part for part in arguments if part is not type(None)))
    if origin is tuple:
        item = _builder(arguments[0])
        return lambda data: tuple(item(part) for part in data)
    if hint is datetime:
        return lambda data: datetime.fromisoformat(data)
    if hint is Decimal or (isinstance(hint, type) and issubclass(hint, Enum)):
        return lambda data: hint(data)
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint)
    return lambda data: data


def _optional(hint: Any) -> Build:
    inner = _builder(hint)
    return lambda data: None if data is None else inner(data)


def _dataclass(cls: Any) -> Build:
    hints = get_type_hints(cls)
    builders = {field.name: _builder(hints[field.name]) for field in dataclasses.fields(cls)}

    def make(data: Any) -> Any:
        if data.keys() != builders.keys():
            difference = sorted(data.keys() ^ builders.keys())
            raise KeyError(f"{cls.__name__}: {', '.join(difference)}")
        return cls(**{name: inner(data[name]) for name, inner in builders.items()})

    return make
