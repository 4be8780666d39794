"""How two values of JSON differ, place by place. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

ABSENT = "absent"
WORDS = {None: "none", True: "true", False: "false"}


class Change(NamedTuple):
    """One place ("triggers.losing_run"), as it was and as it is; "absent" where it is not."""

    place: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.place}: {self.before} -> {self.after}"


def list_changes(before: object, after: object) -> list[Change]:
    """Every place that differs, in the order of the places' names."""
    old, new = _flatten(before, ""), _flatten(after, "")
    places = sorted(old.keys() | new.keys())
    pairs = [(place, old.get(place, ABSENT), new.get(place, ABSENT)) for place in places]
    return [Change(place, was, now) for place, was, now in pairs if was != now]


def _flatten(value: object, place: str) -> dict[str, str]:
    """Every leaf by its place; a list of texts and numbers is one leaf."""
    if isinstance(value, Mapping) and value:
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str) and _is_deep(value):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {place or "all": _text(value)}
    flat: dict[str, str] = {}
    for key, item in items:
        flat |= _flatten(item, f"{place}.{key}" if place else key)
    return flat


def _is_deep(value: Sequence[object]) -> bool:
    return any(isinstance(item, Mapping | list | tuple) for item in value)


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "[]"
    if isinstance(value, Mapping):
        return "{}"
    return WORDS[value] if value is None or isinstance(value, bool) else str(value)
